#include <fmt/format.h>

#include <set>

#include "core/config/diagnostics.h"
#include "core/config/utf8.h"
#include "tools/govtrain/data/byte_source.h"
#include "tools/govtrain/data/input_problems.h"

namespace govtrain {

using nlohmann::json;

namespace {

constexpr int max_depth = 32;

// Parses strictly: no duplicate keys, no deep nesting. Sets `column` where it is known (1-based, in bytes).
json parse_strict(const std::string& line, size_t& column) {
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  bool deep = false;
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > max_depth) deep = true;
    if (deep) throw InputError(fmt::format("nested deeper than {} levels", max_depth));
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      throw InputError(fmt::format("the key {} occurs twice in one object", in_quotes(value.get<std::string>())));
    }
    return true;
  };
  if (const size_t bad = first_invalid_utf8(line); bad != line.size()) {
    column = bad + 1;
    throw InputError("not valid UTF-8");
  }
  try {
    return json::parse(line, check);
  } catch (const json::parse_error& e) {
    column = e.byte;
    // "[json.exception.parse_error.101] parse error at line 1, column 3: syntax error while ...: unexpected end ..."
    std::string what = e.what();
    if (const size_t colon = what.find(": "); colon != std::string::npos) what = what.substr(colon + 2);
    if (const size_t read = what.find("; last read: "); read != std::string::npos) what = what.substr(0, read);
    throw InputError("not valid JSON: " + what);
  } catch (const json::exception& e) {
    throw InputError(std::string("not valid JSON: ") + e.what());
  }
}

bool has_nul(const json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>().find('\0') != std::string::npos;
  if (!value.is_structured()) return false;
  for (const auto& [key, item] : value.items()) {
    if (key.find('\0') != std::string::npos || has_nul(item)) return true;
  }
  return false;
}

Record to_record(json& object) {
  if (!object.is_object()) {
    throw InputError(fmt::format("a JSON {}; expected an object with \"text\" and \"meta\"", object.type_name()));
  }
  for (const auto& [key, value] : object.items()) {
    if (key == "text" || key == "meta") continue;
    const std::string hint = did_you_mean(key, {"text", "meta"});
    throw InputError(fmt::format("unknown key {}; expected \"text\" and \"meta\"{}", in_quotes(key),
                                 hint.empty() ? "; other facts about the document belong into \"meta\"" : "; " + hint));
  }
  Record record;
  const auto text = object.find("text");
  if (text == object.end()) throw InputError("\"text\" is missing");
  if (!text->is_string()) throw InputError(fmt::format("\"text\" is a {}; expected a string", text->type_name()));
  record.text = std::move(text->get_ref<std::string&>());
  if (const std::string problem = text_problem(record.text); !problem.empty()) throw InputError(problem);
  const auto meta = object.find("meta");
  record.meta = meta == object.end() ? json::object() : std::move(*meta);
  if (!record.meta.is_object()) {
    throw InputError(fmt::format("\"meta\" is a {}; expected an object", record.meta.type_name()));
  }
  if (has_nul(record.meta)) throw InputError("\"meta\" contains a NUL character");
  return record;
}

}  // namespace

std::string text_problem(const std::string& text) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return "\"text\" is empty";
  if (const size_t nul = text.find('\0'); nul != std::string::npos) {
    return fmt::format("\"text\" contains a NUL character at byte {}", nul);
  }
  return "";
}

bool is_jsonl_name(const std::string& path) {
  for (const char* end : {".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst"}) {
    const std::string_view suffix(end);
    if (path.size() > suffix.size() && std::string_view(path).substr(path.size() - suffix.size()) == suffix)
      return true;
  }
  return false;
}

void read_jsonl(const std::string& path, std::vector<Record>& records, InputProblems& problems) {
  std::unique_ptr<LineReader> lines;
  std::string line;
  try {
    lines = std::make_unique<LineReader>(open_source(path));
    const size_t before = records.size() + problems.lines().size();
    while (!problems.full() && lines->next(line)) {
      size_t column = 0;
      try {
        if (line.find_first_not_of(" \t\r") == std::string::npos) throw InputError("the line is empty");
        json object = parse_strict(line, column);
        records.push_back(to_record(object));
      } catch (const InputError& e) {
        const std::string at = column > 0 ? fmt::format(":{}", column) : "";
        problems.add(fmt::format("{}:{}{}", path, lines->line_number(), at), e.what());
      }
    }
    if (records.size() + problems.lines().size() == before) problems.add(path, "the file is empty");
  } catch (const InputError& e) {
    const int64_t n = lines ? lines->line_number() : 0;
    problems.add(n > 0 ? fmt::format("{}:{}", path, n) : path, e.what());
  }
}

}  // namespace govtrain
