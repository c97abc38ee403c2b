#include "tools/govtrain/data/prepare.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/parallel.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/format.h"
#include "tools/govtrain/data/input.h"
#include "tools/govtrain/data/shards.h"
#include "tools/govtrain/io/human.h"

namespace govtrain {

using nlohmann::json;

namespace {

struct Document {
  std::string text;
  std::map<std::string, std::optional<std::vector<Claim>>> provenance;  // metadata as canonical JSON -> claims
  int64_t records = 0;

  std::vector<Origin> origins() const {
    std::vector<Origin> out;
    for (const auto& [meta, claims] : provenance) out.push_back({json::parse(meta), claims});
    return out;
  }
};

void check(const PrepareOptions& options) {
  check_tokenizer_options(options.tokenizer);
  if (!(options.validation_fraction >= 0 && options.validation_fraction < 1)) {
    throw Error("data", "validation_fraction is {}; expected 0 <= fraction < 1", options.validation_fraction);
  }
  if (options.cleaning.min_chars < 1) {
    throw Error("data", "min_chars is {}; expected at least 1", options.cleaning.min_chars);
  }
  if (options.cleaning.max_blank_lines < -1) {
    throw Error("data", "max_blank_lines is {}; expected -1 (keep all) or more", options.cleaning.max_blank_lines);
  }
}

json options_json(const PrepareOptions& options, const DocumentClassifier* classifier) {
  json tokenizer = {{"kind", options.tokenizer.kind}};
  if (options.tokenizer.kind == "sentencepiece") {
    tokenizer["vocab_size"] = options.tokenizer.vocab_size;
    tokenizer["training_bytes"] = options.tokenizer.training_bytes;
  }
  const CleaningOptions& c = options.cleaning;
  json out = {{"tokenizer", tokenizer},
              {"cleaning",
               {{"normalize_newlines", c.normalize_newlines},
                {"strip_control", c.strip_control},
                {"max_blank_lines", c.max_blank_lines},
                {"min_chars", c.min_chars}}},
              {"validation_fraction", options.validation_fraction}};
  if (classifier != nullptr) {
    out["classification"] = {{"id", classifier->classification().id()}, {"sha256", classifier->sha256()}};
  }
  return out;
}

// What is left of the input after cleaning and exclusion; ordered by digest, whatever the order of the input was.
struct Selected {
  std::map<Digest, Document> documents;
  std::string excluded;  // lines of excluded.jsonl, sorted
};

// A single record is told as an object, joined ones as a list.
std::string excluded_line(const Digest& id, const std::vector<Origin>& origins, const std::string& reason) {
  json line = {{"id", hex(id)}, {"provenance", json::array()}, {"reason", reason}};
  for (const Origin& origin : origins) {
    line["provenance"].push_back(origin.meta);
    if (origin.claims) line["claims"].push_back(claims_json(*origin.claims));
  }
  if (origins.size() == 1) line["provenance"] = origins.front().meta;
  return line.dump() + "\n";
}

// Records that are admitted one by one may leave nothing for their common text to teach when they are joined.
void exclude_joined(Selected& selected, const Exclude& exclude, std::vector<std::string>& excluded,
                    PrepareReport& report) {
  for (auto it = selected.documents.begin(); it != selected.documents.end();) {
    const Document& document = it->second;
    const std::vector<Origin> origins = document.origins();
    const auto reason = origins.size() > 1 ? exclude(origins, it->first) : std::nullopt;
    if (!reason) {
      ++it;
      continue;
    }
    excluded.push_back(excluded_line(it->first, origins, *reason));
    report.excluded += document.records;
    report.duplicates -= document.records - 1;
    it = selected.documents.erase(it);
  }
}

Selected select(std::vector<Record> records, const PrepareOptions& options, const Exclude& exclude,
                DocumentClassifier* classifier, PrepareReport& report) {
  std::vector<std::string> texts(records.size());
  std::vector<Digest> digests(records.size());
  std::vector<std::optional<std::vector<Claim>>> claims(records.size());
  parallel_for(static_cast<int64_t>(records.size()), [&](int64_t n) {
    const auto i = static_cast<size_t>(n);
    texts[i] = clean(records[i].text, options.cleaning);
    digests[i] = sha256(texts[i]);
    if (classifier != nullptr) claims[i] = classifier->claims(records[i].meta, digests[i], texts[i]);
  });
  if (classifier != nullptr) {
    classifier->check();
    report.notes = classifier->notes();
  }
  Selected out;
  std::vector<std::string> excluded;
  report.records = static_cast<int64_t>(records.size());
  for (size_t i = 0; i < records.size(); ++i) {
    const std::vector<Origin> origin = {{records[i].meta, claims[i]}};
    if (const auto reason = exclude ? exclude(origin, digests[i]) : std::nullopt) {
      excluded.push_back(excluded_line(digests[i], origin, *reason));
      ++report.excluded;
    } else if (count_chars(texts[i]) < options.cleaning.min_chars) {
      ++report.too_short;
    } else {
      const auto [at, fresh] = out.documents.try_emplace(digests[i]);
      if (fresh) at->second.text = std::move(texts[i]);
      report.duplicates += !fresh;
      ++at->second.records;
      at->second.provenance.emplace(records[i].meta.dump(), claims[i]);
    }
  }
  if (exclude) exclude_joined(out, exclude, excluded, report);
  std::sort(excluded.begin(), excluded.end());
  for (const std::string& line : excluded) out.excluded += line;
  report.documents = static_cast<int64_t>(out.documents.size());
  return out;
}

std::string cache_key(const Selected& selected, const json& options, const PrepareReport& report) {
  Sha256 hash;
  const auto field = [&](std::string_view text) { hash.update(fmt::format("{}:", text.size())).update(text); };
  field(fmt::format("{} {} govtrain {}", data_format::format_name, data_format::version, GOVTRAIN_VERSION));
  field(options.dump());
  for (const auto& [digest, document] : selected.documents) {
    field(hex(digest));
    for (const auto& [meta, claims] : document.provenance) field(meta);
  }
  field(hex(sha256(selected.excluded)));
  field(fmt::format("{} {} {}", report.records, report.too_short, report.duplicates));
  return hex(hash.finish());
}

std::unique_ptr<Tokenizer> make_tokenizer(const Selected& selected, const PrepareOptions& options) {
  if (options.tokenizer.kind == "bytes") return byte_tokenizer();
  std::vector<TrainingText> texts;
  for (const auto& [digest, document] : selected.documents) {
    if (!in_validation(digest, options.validation_fraction)) texts.push_back({digest, document.text});
  }
  return train_sentencepiece(texts, options.tokenizer);
}

std::vector<ShardDocument> encode(const Selected& selected, const PrepareOptions& options, const Tokenizer& tokenizer,
                                  PrepareReport& report) {
  std::vector<ShardDocument> out;
  std::vector<const std::string*> texts;
  for (const auto& [digest, document] : selected.documents) {
    const Split split = in_validation(digest, options.validation_fraction) ? Split::validation : Split::train;
    out.push_back({digest, split, {}, "", {}});
    json all = json::array();
    for (const auto& [meta, claims] : document.provenance) {
      out.back().provenance.push_back(meta);
      if (claims) all.push_back(claims_json(*claims));
    }
    if (!all.empty()) out.back().claims = all.dump();
    texts.push_back(&document.text);
    report.train_documents += split == Split::train;
  }
  parallel_for(static_cast<int64_t>(out.size()), [&](int64_t n) {
    const auto i = static_cast<size_t>(n);
    out[i].tokens = tokenizer.encode(*texts[i]);
  });
  for (const ShardDocument& d : out) report.tokens += static_cast<int64_t>(d.tokens.size());
  return out;
}

// A folder of this key that is there already: checked, and its counts.
Result<PrepareReport> hit(PrepareReport report) {
  Result<Dataset> set = Dataset::open(report.folder);
  if (!set.ok()) return set.status();
  report.hit = true;
  report.tokens = static_cast<int64_t>(set.value().tokens());
  for (const DatasetDocument& d : set.value().documents()) report.train_documents += d.split == Split::train;
  return report;
}

}  // namespace

std::vector<SelectedDocument> select_documents(const PrepareOptions& options, const Exclude& exclude,
                                               DocumentClassifier* classifier) {
  check(options);
  PrepareReport report;
  Selected selected = select(read_inputs(options.inputs), options, exclude, classifier, report);
  std::vector<SelectedDocument> out;
  for (auto& [digest, document] : selected.documents) {
    out.push_back({digest, std::move(document.text), document.origins(),
                   in_validation(digest, options.validation_fraction) ? Split::validation : Split::train});
  }
  return out;
}

Result<PrepareReport> prepare(FileSystem& fs, const PrepareOptions& options, const Exclude& exclude,
                              DocumentClassifier* classifier) {
  check(options);
  PrepareReport report;
  const Selected selected = select(read_inputs(options.inputs), options, exclude, classifier, report);
  if (selected.documents.empty()) {
    throw Error("data", "no document is left of {} records: {} are excluded by the policy and {} are too short",
                report.records, report.excluded, report.too_short);
  }
  const json made_with = options_json(options, classifier);
  report.key = cache_key(selected, made_with, report);
  report.folder = join_path(options.cache, report.key);
  if (fs.exists(report.folder)) return hit(report);
  if (const Status made = fs.make_dirs(options.cache); !made.ok()) return made;
  Result<FileLock> lock = FileLock::acquire(join_path(options.cache, ".lock"));
  if (!lock.ok()) return lock.status();
  if (fs.exists(report.folder)) return hit(report);

  // Under the lock, so these belong to nobody: a prepare that was killed left them.
  Result<std::vector<std::string>> names = fs.list(options.cache);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    if (name.rfind(".tmp-", 0) != 0) continue;
    if (const Status removed = fs.remove_all(join_path(options.cache, name)); !removed.ok()) return removed;
  }

  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(selected, options);
  ShardContents contents;
  contents.tokenizer = tokenizer.get();
  contents.documents = encode(selected, options, *tokenizer, report);
  contents.options = made_with;
  contents.excluded = selected.excluded;
  contents.prepare = {{"key", report.key},
                      {"records", report.records},
                      {"excluded", report.excluded},
                      {"too_short", report.too_short},
                      {"duplicates", report.duplicates}};
  const Status written = write_shards(fs, report.folder, contents);
  if (!written.ok()) return written;
  return report;
}

std::string describe(const PrepareReport& r) {
  std::string out = fmt::format(
      "data cache {}: {} ({})\n{} {}: {} excluded, {} {} joined, {} too short; {} {} ({} train, {} "
      "validation), {} tokens",
      r.hit ? "hit" : "miss", r.key, r.folder, r.records, noun(r.records, "record"), r.excluded, r.duplicates,
      noun(r.duplicates, "duplicate"), r.too_short, r.documents, noun(r.documents, "document"), r.train_documents,
      r.documents - r.train_documents, r.tokens);
  for (const std::string& note : r.notes) out += "\nnote: " + note;
  return out;
}

}  // namespace govtrain
