#include "routing/class_labels.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/config/utf8.h"
#include "routing/exclusion.h"

namespace govtrain {
namespace {

using nlohmann::json;

// A line before it is checked: column -> text.
using Fields = std::map<std::string, std::string>;

const std::vector<std::string> columns = {"document", "id", "class", "score"};

std::optional<float> parse_score(const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [at, wrong] = std::from_chars(text.data(), end, value);
  if (wrong != std::errc() || at != end || !(value >= 0 && value <= 1)) return {};
  return static_cast<float>(value);
}

class LabelReader {
 public:
  LabelReader(std::string file, const std::vector<std::string>& classes, Diagnostics& diagnostics)
      : file_(std::move(file)), classes_(classes), diagnostics_(diagnostics) {}

  std::map<std::string, ClassLabel> read(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      ++number_;
      at_ = {file_, number_, 1, std::max(1, display_length(line))};
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (first_invalid_utf8(line) < line.size()) {
        error("the line is not valid UTF-8", "");
        continue;
      }
      file_.ends_with(".csv") ? csv(line) : jsonl(line);
    }
    if (number_ == 0) {
      at_ = {file_, 0, 0, 1};
      error("the file is empty", "");
    }
    return std::move(labels_);
  }

 private:
  void error(const std::string& message, const std::string& hint) { diagnostics_.error(at_, message, hint); }

  void jsonl(const std::string& line) {
    const json object = json::parse(line, nullptr, false);
    if (!object.is_object()) {
      return error("the line is not a JSON object", R"(for example {"document": "sha256:...", "class": "letter"})");
    }
    Fields fields;
    for (const auto& [key, value] : object.items()) {
      if (std::find(columns.begin(), columns.end(), key) == columns.end())
        return error("unknown key " + in_quotes(key), "expected document or id, class, and score");
      if (key == "score" ? !value.is_number() : !value.is_string())
        return error(fmt::format("'{}' is not a {}", key, key == "score" ? "number" : "text"), "");
      fields[key] = key == "score" ? value.dump() : value.get<std::string>();
    }
    label(fields);
  }

  void csv(const std::string& line) {
    if (line.find('"') != std::string::npos)
      return error("quotes are not supported in CSV", "write the labels as JSON lines (.jsonl)");
    std::vector<std::string> cells;
    for (size_t at = 0; at <= line.size();) {
      const size_t end = std::min(line.find(',', at), line.size());
      cells.push_back(trimmed(line.substr(at, end - at)));
      at = end + 1;
    }
    if (header_.empty()) {
      for (const std::string& cell : cells) {
        const bool known = std::find(columns.begin(), columns.end(), cell) != columns.end();
        if (!known || std::count(cells.begin(), cells.end(), cell) > 1)
          error("the header has an unknown or repeated column " + in_quotes(cell),
                "expected document or id, class, and score");
      }
      header_ = cells;
      return;
    }
    if (cells.size() != header_.size())
      return error(fmt::format("{} columns, the header has {}", cells.size(), header_.size()), "");
    Fields fields;
    for (size_t i = 0; i < cells.size(); ++i) {
      if (!cells[i].empty()) fields[header_[i]] = cells[i];
    }
    label(fields);
  }

  void label(const Fields& fields) {
    const auto text = [&](const char* key) {
      const auto found = fields.find(key);
      return found == fields.end() ? std::string() : found->second;
    };
    if (fields.contains("document") == fields.contains("id"))
      return error("the line must have either 'document' or 'id'", "document is the SHA-256 of the cleaned text");
    std::string key = "id:" + text("id");
    if (fields.contains("document")) {
      const auto digest = digest_of(text("document"));
      if (!digest)
        return error(in_quotes(text("document")) + " is not a SHA-256 digest",
                     "64 lower-case hex digits, 'sha256:' before them or not");
      key = "sha256:" + *digest;
    } else if (text("id").empty()) {
      return error("'id' is empty", "");
    }
    ClassLabel out{text("class"), 1, number_};
    if (out.cls.empty()) return error("'class' is missing", "");
    if (!std::binary_search(classes_.begin(), classes_.end(), out.cls))
      return error("unknown class " + in_quotes(out.cls), expected(out.cls));
    if (fields.contains("score")) {
      const auto score = parse_score(text("score"));
      if (!score) return error(in_quotes(text("score")) + " is no score", "expected a number from 0 to 1");
      out.score = *score;
    }
    const auto [at, fresh] = labels_.emplace(key, out);
    if (fresh) return;
    if (at->second.cls != out.cls)
      return error(fmt::format("{} is of class {} here, and of class {} in line {}", key, out.cls, at->second.cls,
                               at->second.line),
                   "one file gives a document one class");
    if (out.score < at->second.score) at->second = out;
  }

  std::string expected(const std::string& cls) const {
    const std::string near = did_you_mean(cls, classes_);
    return near.empty() ? "expected one of " + join(classes_) : near;
  }

  std::string file_;
  const std::vector<std::string>& classes_;
  Diagnostics& diagnostics_;
  Position at_;
  int number_ = 0;
  std::vector<std::string> header_;
  std::map<std::string, ClassLabel> labels_;
};

}  // namespace

std::optional<std::map<std::string, ClassLabel>> read_class_labels(const std::string& file, const std::string& text,
                                                                   const std::vector<std::string>& classes,
                                                                   Diagnostics& diagnostics) {
  const int errors = diagnostics.errors();
  if (!file.ends_with(".jsonl") && !file.ends_with(".csv")) {
    diagnostics.error({file, 0, 0, 1}, "a label file ends in .jsonl or .csv");
    return {};
  }
  diagnostics.add_source(file, text);
  std::map<std::string, ClassLabel> out = LabelReader(file, classes, diagnostics).read(text);
  if (diagnostics.errors() > errors) return {};
  return out;
}

}  // namespace govtrain
