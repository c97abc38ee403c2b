#include "tools/govtrain/train/band_replay.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <optional>

#include "core/hash.h"
#include "lineage/log_format.h"
#include "lineage/record.h"
#include "routing/bands.h"
#include "routing/policy.h"
#include "routing/resolve.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/data/sampler.h"
#include "tools/govtrain/train/entropy_router.h"
#include "tools/govtrain/train/run_head.h"

namespace govtrain {
namespace {

using nlohmann::json;

constexpr size_t max_listed = 20;

class Replay {
 public:
  Replay(FileSystem& fs, const std::string& folder) {
    const std::string prov = join_path(folder, provenance_dir);
    for (const std::string& name : require(fs.list(prov))) {
      const json object = json::parse(require(fs.read(join_path(prov, name))), nullptr, false);
      if (object.is_object() && object.contains("provenance")) provenance_[name.substr(0, 16)] = object["provenance"];
    }
  }

  void add(uint64_t index, std::string_view leaf) {
    index_ = index;
    const std::string kind = require(leaf_kind(leaf), exit_unverified);
    if (kind == "ex") {
      const ExampleRecord record = require(parse_example(leaf), exit_unverified);
      if (record.place) step_.emplace_back(index, record);
      return;
    }
    const json payload = require(parse_control(leaf), exit_unverified).payload;
    try {
      if (kind == "policy") policy(payload);
      if (kind == "profile") profiles_[payload.at("id")] = payload.at("w").get<std::vector<float>>();
      if (kind == "bands") edges(payload);
      if (kind == "step") step(payload);
    } catch (const json::exception& e) {
      problem(fmt::format("entry {}: {}", index, e.what()));
    }
  }

  BandReplay finish() {
    if (!bands_)
      throw Failure(exit_usage, "the policy of this log has no section 'entropy': there is nothing to replay");
    if (changed_) problem("the edges changed at the last step, but no record says so");
    return std::move(report_);
  }

 private:
  void policy(const json& payload) {
    if (!add_policy_text(payload, policy_text_)) return;  // not all of it yet, or a newer version that was refused
    Diagnostics diagnostics;
    policy_ = Policy::parse("the policy in the log", policy_text_, diagnostics);
    if (!policy_) throw Failure(exit_unverified, "the policy in the log cannot be read\n" + diagnostics.render());
    if (policy_->entropy && !bands_) bands_.emplace(*policy_->entropy);
  }

  // As of now. What several profiles decided together ("a+b") follows when one of them changes.
  std::vector<float> weights(const std::string& profile) {
    std::vector<float> out;
    for (size_t at = 0; at <= profile.size();) {
      const size_t end = std::min(profile.find('+', at), profile.size());
      const auto found = profiles_.find(profile.substr(at, end - at));
      at = end + 1;
      if (found == profiles_.end()) {
        problem(fmt::format("entry {}: no record holds the weights of profile '{}'", index_, profile));
        return {};
      }
      if (out.empty()) out = found->second;
      std::vector<int32_t> ignored(out.size(), 0);
      restrict_row(out, ignored, found->second, 0);
    }
    return out;
  }

  std::vector<std::vector<float>> cells() {
    std::vector<std::vector<float>> out;
    for (int c = 0; c < bands_->rules().cells(); ++c) {
      out.push_back(weights(policy_->profiles[static_cast<size_t>(bands_->rules().profile(c))].name));
      if (out.back().size() != out.front().size())
        throw Failure(exit_unverified, "the profiles of the bands are not all recorded");
    }
    return out;
  }

  void edges(const json& recorded) {
    if (!bands_) return problem(fmt::format("entry {}: bands of a policy that has none", index_));
    const std::vector<bool> before = std::exchange(differing_, differing_blocks(cells()));
    bool restart = false;
    for (size_t b = 0; b < before.size(); ++b) restart = restart || (differing_[b] && !before[b]);
    if (restart != recorded.value("restart", false)) {
      problem(fmt::format("entry {}: what was observed is {}, the profiles say otherwise", index_,
                          restart ? "kept" : "forgotten"));
    }
    if (restart) bands_.emplace(EntropyRules(bands_->rules()));
    json expected = bands_->describe();
    expected["differ"] = json::array();
    for (size_t b = 0; b < differing_.size(); ++b) {
      if (differing_[b]) expected["differ"].push_back(b);
    }
    for (const auto& [key, value] : expected.items()) {
      if (recorded.contains(key) && recorded.at(key) == value) continue;
      problem(fmt::format("entry {}: {} is {}, the recorded surprisals give {}", index_, key,
                          recorded.value(key, json()).dump(), value.dump()));
    }
    ++report_.edges;
    changed_ = false;
  }

  void step(const json& payload) {
    std::vector<std::pair<uint64_t, ExampleRecord>> examples = std::exchange(step_, {});
    if (!bands_) return;
    if (changed_) problem(fmt::format("entry {}: the edges changed before this step, but no record says so", index_));
    changed_ = false;
    const std::vector<std::vector<float>> cell_weights = cells();
    const std::vector<bool> differing = differing_blocks(cell_weights);
    struct Observed {
      EntropyMark mark;
      std::string key;
    };
    std::vector<Observed> observed;
    for (const auto& [index, record] : examples) {
      const std::string key = slope_key_of(record);
      const EntropyMark mark = bands_->judge(record.ent, key);
      if (mark.band != record.band)
        problem(fmt::format("entry {}: band is {}, the edges give {}", index, text(record.band), text(mark.band)));
      if (mark.slope != record.slope)
        problem(
            fmt::format("entry {}: slope is {}, the history gives {}", index, text(record.slope), text(mark.slope)));
      check_weights(index, record, mark, cell_weights);
      if (record.ent) ++report_.examples;
      if (mark.band) ++report_.banded;
      const std::vector<float> base = weights(record.prof);
      if (base.size() != differing.size() || !may_teach_bands(base, differing)) continue;
      if (record.ent) ++report_.observed;
      observed.push_back({mark, key});
    }
    const auto number = payload.at("step").get<int64_t>();
    const bool epochs = bands_->rules().slope && bands_->rules().slope->over_epochs;
    const double time = epochs ? payload.at("epoch").get<double>() : static_cast<double>(number);
    for (const Observed& o : observed) bands_->observe(o.mark, o.key, time);
    changed_ = bands_->end_step(number);
    ++report_.steps;
  }

  template <class T>
  static std::string text(const std::optional<T>& value) {
    return value ? fmt::format("{}", *value) : "absent";
  }

  void check_weights(uint64_t index, const ExampleRecord& record, const EntropyMark& mark,
                     const std::vector<std::vector<float>>& cell_weights) {
    std::vector<float> w = weights(record.prof);
    if (w.size() != record.w.size()) return;  // already reported
    std::vector<int32_t> rules(w.size(), -1);
    const std::optional<int> cell = bands_->cell(mark);
    if (cell) {
      const int32_t entry = policy_->entropy_index(*cell);
      restrict_row(w, rules, cell_weights[static_cast<size_t>(*cell)], entry);
    }
    bool lowered = false;
    for (size_t b = 0; b < w.size(); ++b) {
      lowered = lowered || rules[b] >= 0;
      if (w[b] != record.w[b]) {
        problem(fmt::format("entry {}: the weight of block {} is {}, profile '{}' and band {} give {}", index, b,
                            record.w[b], record.prof, text(mark.band), w[b]));
      } else if (rules[b] >= 0 ? record.r[b] != rules[b] : is_band(record.r[b])) {
        problem(fmt::format("entry {}: block {} is said to be decided by rule {}, the bands give {}", index, b,
                            record.r[b], rules[b] < 0 ? "none of theirs" : std::to_string(rules[b])));
      }
    }
    if (lowered) ++report_.lowered;
  }

  bool is_band(int32_t rule) const {
    return rule >= policy_->entropy_index(0) && rule < policy_->entropy_index(bands_->rules().cells());
  }

  std::string slope_key_of(const ExampleRecord& record) {
    if (!bands_->rules().slope) return "";
    const auto found = provenance_.find(record.prov);
    if (found == provenance_.end()) problem(fmt::format("the provenance object {} is not stored", record.prov));
    const std::optional<Digest> digest = parse_hex(record.ex.substr(record.ex.find(':') + 1));
    const uint64_t id = digest ? example_id(*digest, static_cast<uint64_t>(record.span_begin)) : 0;
    return slope_key(bands_->rules().slope->by, id, found == provenance_.end() ? json::array() : found->second,
                     record.clv ? std::optional(record.cls) : std::nullopt);
  }

  static std::optional<Digest> parse_hex(const std::string& text) {
    Digest out{};
    if (text.size() != 2 * out.size()) return std::nullopt;
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = static_cast<std::remove_reference_t<decltype(out[i])>>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
    }
    return out;
  }

  void problem(const std::string& text) {
    if (report_.problem_count++ < max_listed) report_.problems.push_back(text);
  }

  std::map<std::string, json> provenance_;  // by the first 16 digits of the name
  std::string policy_text_;
  std::optional<Policy> policy_;
  std::optional<EntropyBands> bands_;
  std::vector<bool> differing_;  // [B] as of the last record of edges
  std::map<std::string, std::vector<float>> profiles_;
  std::vector<std::pair<uint64_t, ExampleRecord>> step_;  // records of the step that is being read
  bool changed_ = false;  // edges have changed: a record must say so before the next step
  uint64_t index_ = 0;
  BandReplay report_;
};

}  // namespace

BandReplay replay_bands(FileSystem& fs, const std::string& folder, LogReader& log) {
  Replay replay(fs, folder);
  require(log.visit_effective(0, log.size(),
                              [&](uint64_t index, std::string_view leaf) {
                                replay.add(index, leaf);
                                return true;
                              }),
          exit_unverified);
  return replay.finish();
}

}  // namespace govtrain
