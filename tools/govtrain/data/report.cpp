#include "tools/govtrain/data/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "tools/govtrain/data/format.h"
#include "tools/govtrain/data/sampler.h"

namespace govtrain {

using nlohmann::json;

namespace {

// A token as it may be printed on one line.
std::string show(const Tokenizer& tokenizer, int32_t id) {
  if (id == tokenizer.bos()) return "<bos>";
  if (id == tokenizer.eos()) return "<eos>";
  return json(tokenizer.decode(&id, 1)).dump(-1, ' ', false, json::error_handler_t::replace);
}

struct Sums {
  int64_t documents = 0, tokens = 0, validation = 0;
};

std::string table(const std::string& title, const std::map<std::string, Sums>& rows) {
  size_t width = title.size();
  for (const auto& [name, sums] : rows) width = std::max(width, name.size());
  std::string out = fmt::format("\n{:<{}} {:>10} {:>12} {:>11}\n", title, width, "documents", "tokens", "validation");
  for (const auto& [name, s] : rows) {
    out += fmt::format("{:<{}} {:>10} {:>12} {:>11}\n", name, width, s.documents, s.tokens, s.validation);
  }
  return out;
}

std::map<std::string, Sums> sums_by(const Dataset& dataset, const std::string& key) {
  std::vector<int32_t> all;
  for (size_t d = 0; d < dataset.documents().size(); ++d) all.push_back(static_cast<int32_t>(d));
  std::map<std::string, Sums> out;
  for (const auto& [name, documents] : group_documents(dataset, all, key)) {
    for (int32_t d : documents) {
      const DatasetDocument& doc = dataset.documents()[static_cast<size_t>(d)];
      out[name].documents += 1;
      out[name].tokens += static_cast<int64_t>(doc.tokens);
      out[name].validation += doc.split == Split::validation;
    }
  }
  return out;
}

std::string excluded_table(const Dataset& dataset) {
  const auto bytes = real_file_system().read(join_path(dataset.folder(), data_format::excluded_file));
  if (!bytes.ok()) return "\nexcluded: not known (" + bytes.status().message() + ")\n";
  std::map<std::string, int64_t> reasons;
  for (std::string_view rest = bytes.value(); !rest.empty();) {
    const size_t end = rest.find('\n');
    const json line = json::parse(rest.substr(0, end), nullptr, false);
    const bool good = line.is_object() && line.contains("reason") && line["reason"].is_string();
    ++reasons[good ? line["reason"].get<std::string>() : "(unreadable line)"];
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  if (reasons.empty()) return "\nexcluded: none\n";
  std::string out = "\nexcluded records, by reason\n";
  for (const auto& [reason, count] : reasons) out += fmt::format("{:>10}  {}\n", count, reason);
  return out;
}

}  // namespace

std::string inspect_example(const Dataset& dataset, Split split, uint64_t index, int context) {
  const std::vector<Example> examples = examples_of(dataset, documents_of(dataset, split), context);
  if (index >= examples.size()) {
    throw Error("data", "there is no {} example {}; the split has {} examples at context {}", split_name(split), index,
                examples.size(), context);
  }
  const Example& e = examples[index];
  const DatasetDocument& doc = dataset.documents()[static_cast<size_t>(e.document)];
  const Tokenizer& tokenizer = dataset.tokenizer();
  std::string out =
      fmt::format("{} example {} of {}\nexample id  {:016x}\ndocument    {}\nrows        {} to {} of {}\n",
                  split_name(split), index, examples.size(), e.id, hex(doc.digest), e.begin, e.end, doc.tokens + 1);
  for (const json& meta : doc.provenance) out += "provenance  " + meta.dump() + "\n";
  std::vector<int32_t> text;
  std::string rows;
  for (uint64_t r = e.begin; r < e.end; ++r) {
    const int32_t input = r == 0 ? tokenizer.bos() : dataset.token(doc.begin + r - 1);
    const int32_t target = r == doc.tokens ? tokenizer.eos() : dataset.token(doc.begin + r);
    text.push_back(input);
    rows += fmt::format("{:>8} {:>7} {:<24} -> {:>7} {}\n", r, input, show(tokenizer, input), target,
                        show(tokenizer, target));
  }
  if (e.end != doc.tokens + 1) out += "note        the document goes on after this example: no <eos> here\n";
  out += "text        " + json(tokenizer.decode(text)).dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  return out + "     row   input                             target\n" + rows;
}

std::string data_stats(const Dataset& dataset) {
  std::map<std::string, Sums> splits;
  for (const DatasetDocument& d : dataset.documents()) {
    for (const std::string& name : {std::string(split_name(d.split)), std::string("all")}) {
      splits[name].documents += 1;
      splits[name].tokens += static_cast<int64_t>(d.tokens);
      splits[name].validation += d.split == Split::validation;
    }
  }
  const bool packages = std::any_of(dataset.documents().begin(), dataset.documents().end(),
                                    [](const auto& d) { return d.provenance.front().contains("package"); });
  std::string out = fmt::format("{}\ntokenizer {} with {} tokens, digest {}\ndata digest {}\n", dataset.folder(),
                                dataset.tokenizer().kind(), dataset.tokenizer().vocab_size(),
                                hex(dataset.tokenizer().digest()).substr(0, 16), hex(dataset.digest()).substr(0, 16));
  out += table("split", splits);
  out += table(packages ? "package" : "source", sums_by(dataset, packages ? "package" : "source"));
  out += table("license", sums_by(dataset, "license"));
  out += table("class", sums_by(dataset, "class"));
  return out + excluded_table(dataset);
}

}  // namespace govtrain
