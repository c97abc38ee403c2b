#include "lineage/verify_records.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "core/hash.h"

namespace govtrain {
namespace {

constexpr size_t max_recent = 1 << 20;

std::optional<uint64_t> number(const nlohmann::json& payload, const char* key) {
  const auto it = payload.find(key);
  if (it == payload.end() || !it->is_number_unsigned()) return std::nullopt;
  return it->get<uint64_t>();
}

// A replay must repeat the example, its weights and its policy.
uint64_t replay_digest(const ExampleRecord& record) {
  std::string bytes = record.ex + "\n" + record.pol + "\n";
  bytes.append(reinterpret_cast<const char*>(record.w.data()), record.w.size() * sizeof(float));
  const Digest digest = sha256(bytes);
  uint64_t out = 0;
  std::memcpy(&out, digest.data(), sizeof(out));
  return out;
}

}  // namespace

void RecordChecker::add(uint64_t index, std::string_view leaf) {
  // Nearly all entries are examples: try that before finding out the kind, which parses the leaf once more.
  if (index > 0 && leaf.find(",\"k\":\"ex\",") != std::string_view::npos) {
    if (const Result<ExampleRecord> parsed = parse_example(leaf); parsed.ok()) return add_example(index, parsed);
  }
  const Result<std::string> kind = leaf_kind(leaf);
  if (!kind.ok()) {
    findings_.problem(fmt::format("entry {}: {}", index, kind.status().message()));
    return;
  }
  if (index == 0 && kind.value() != "run") {
    findings_.problem(fmt::format("entry 0: its kind is '{}'; expected 'run'", kind.value()));
  }
  if (kind.value() == "ex") {
    add_example(index, parse_example(leaf));
  } else {
    add_control(index, leaf);
  }
}

void RecordChecker::add_example(uint64_t index, const Result<ExampleRecord>& parsed) {
  ++findings_.report().examples;
  if (!parsed.ok()) {
    findings_.problem(fmt::format("entry {}: {}", index, parsed.status().message()));
    return;
  }
  const ExampleRecord& record = parsed.value();
  const auto policy = policies_.find(record.pol);
  if (policy == policies_.end()) {
    findings_.problem(fmt::format("entry {}: no earlier policy record has the id '{}'", index, record.pol));
  } else if (policy->second) {
    const int32_t highest = *std::max_element(record.r.begin(), record.r.end());
    if (static_cast<uint64_t>(highest) >= *policy->second) {
      findings_.problem(
          fmt::format("entry {}: rule {} of policy '{}', which has {}", index, highest, record.pol, *policy->second));
    }
  }
  if (!profiles_.contains(record.prof) && warned_profiles_.insert(record.prof).second) {
    findings_.warning(fmt::format("entry {}: no earlier profile record has the id '{}'", index, record.prof));
  }
  if (!provenance_.contains(record.prov)) {
    findings_.problem(fmt::format("entry {}: provenance object {} is not stored", index, record.prov));
  }
  if (record.place) {
    check_place(index, record);
  } else {
    ++findings_.report().excluded;
  }
}

void RecordChecker::check_place(uint64_t index, const ExampleRecord& record) {
  const Place& place = *record.place;
  if (last_ && place <= *last_) {
    findings_.problem(fmt::format("entry {}: step {}, mb {}, i {} does not come after step {}, mb {}, i {}", index,
                                  place.step, place.mb, place.i, last_->step, last_->mb, last_->i));
    return;
  }
  last_ = place;
  if (steps_.empty() || steps_.back().step != place.step) steps_.push_back({place.step, index, index});
  steps_.back().last = index;
  const uint64_t digest = replay_digest(record);
  if (const auto before = replay_.find(place); before != replay_.end()) {
    ++findings_.report().replayed;
    if (before->second != digest) {
      findings_.warning(
          fmt::format("entry {}: step {}, mb {}, i {} was run again with another example, policy or weights", index,
                      place.step, place.mb, place.i));
    }
    replay_.erase(before);
  }
  recent_.push_back({index, place, digest});
  if (recent_.size() > max_recent) recent_.pop_front();
}

void RecordChecker::add_control(uint64_t index, std::string_view leaf) {
  const Result<ControlRecord> parsed = parse_control(leaf);
  if (!parsed.ok()) {
    findings_.problem(fmt::format("entry {}: {}", index, parsed.status().message()));
    return;
  }
  const ControlRecord& record = parsed.value();
  ++findings_.report().controls[record.kind];
  if (record.kind == "rewind") rewind(index, record.payload);
  if (record.kind != "policy" && record.kind != "profile") return;
  const auto id = record.payload.find("id");
  if (id == record.payload.end() || !id->is_string()) {
    findings_.problem(fmt::format("entry {}: a {} record without a string \"id\"", index, record.kind));
  } else if (record.kind == "profile") {
    profiles_.insert(id->get<std::string>());
  } else {
    const auto rules = record.payload.find("rules");
    std::optional<uint64_t>& count = policies_[id->get<std::string>()];
    if (rules != record.payload.end() && rules->is_array()) count = rules->size();
  }
}

void RecordChecker::rewind(uint64_t index, const nlohmann::json& payload) {
  const std::optional<uint64_t> from = number(payload, "from");
  const std::optional<uint64_t> to = number(payload, "to_step");
  if (!from || !to || *from > index || *to > static_cast<uint64_t>(INT64_MAX)) {
    findings_.problem(fmt::format("entry {}: a rewind needs \"from\", at most its own index, and \"to_step\"", index));
    return;
  }
  const int64_t step = static_cast<int64_t>(*to);
  const auto first_after = std::find_if(steps_.begin(), steps_.end(), [&](const Step& s) { return s.step > step; });
  if (first_after != steps_.end() && first_after->first < *from) {
    findings_.problem(fmt::format("entry {}: rewinds to step {} from entry {}, but step {} begins at entry {}", index,
                                  step, *from, first_after->step, first_after->first));
  }
  if (first_after != steps_.begin() && std::prev(first_after)->last >= *from) {
    findings_.problem(fmt::format("entry {}: rewinds to step {} from entry {}, but that step ends at entry {}", index,
                                  step, *from, std::prev(first_after)->last));
  }
  steps_.erase(first_after, steps_.end());
  last_.reset();
  if (!steps_.empty()) last_ = Place{steps_.back().step, INT64_MAX, INT64_MAX};
  while (!recent_.empty() && recent_.back().index >= *from) {
    replay_.insert_or_assign(recent_.back().place, recent_.back().digest);
    recent_.pop_back();
  }
  while (!superseded_.empty() && superseded_.back().first >= *from) superseded_.pop_back();
  if (!superseded_.empty()) superseded_.back().second = std::min(superseded_.back().second, *from);
  if (*from < index) superseded_.emplace_back(*from, index);
  findings_.report().superseded = 0;
  for (const auto& [first, last] : superseded_) findings_.report().superseded += last - first;
}

}  // namespace govtrain
