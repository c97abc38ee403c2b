#include "routing/exclusion.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "core/config/utf8.h"
#include "routing/glob.h"

namespace govtrain {
namespace {

const std::string digest_prefix = "sha256:";

void sort_unique(std::vector<std::string>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

// 2026-2-3, 03/04/2026, 2026-02-30: no id is meant by it.
bool is_like_a_day(const std::string& word) {
  return word.size() >= 6 && word.find_first_not_of("0123456789-/.") == std::string::npos &&
         word.find_first_of("-/.") != std::string::npos;
}

}  // namespace

std::optional<std::string> digest_of(const std::string& text) {
  const std::string body = text.rfind(digest_prefix, 0) == 0 ? text.substr(digest_prefix.size()) : text;
  if (body.size() != 64 || body.find_first_not_of("0123456789abcdef") != std::string::npos) return {};
  return body;
}

std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

void read_exclusion_entry(const std::string& entry, const Position& at, Exclusion& out, Diagnostics& diagnostics) {
  const bool printable =
      std::none_of(entry.begin(), entry.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
  if (first_invalid_utf8(entry) < entry.size() || !printable) {
    diagnostics.error(at, "the line is not text", "one id, sha256:<hex> or source:<pattern> per line");
  } else if (entry.rfind(digest_prefix, 0) == 0) {
    const auto digest = digest_of(entry);
    if (digest) out.digests.push_back(*digest);
    if (!digest)
      diagnostics.error(at, fmt::format("{} is not a SHA-256 digest", in_quotes(entry)),
                        "64 lower-case hex digits after 'sha256:'");
  } else if (entry.rfind("source:", 0) == 0) {
    const std::string pattern = trimmed(entry.substr(7));
    if (!pattern.empty()) out.sources.push_back(pattern);
    if (pattern.empty()) diagnostics.error(at, "'source:' without a pattern");
  } else {
    out.ids.push_back(entry);
  }
}

void sort_exclusion(Exclusion& e) {
  for (auto* list : {&e.ids, &e.digests, &e.sources}) sort_unique(*list);
}

bool excludes(const Exclusion& e, const DocumentFacts& facts, std::string& reason) {
  const auto has = [](const std::vector<std::string>& sorted, const std::string& text) {
    return !text.empty() && std::binary_search(sorted.begin(), sorted.end(), text);
  };
  const auto bare = [](const std::string& text) { return text.rfind("sha256:", 0) == 0 ? text.substr(7) : text; };
  const bool by_id = !facts.id.empty() && (has(e.ids, facts.id) || has(e.ids, "sha256:" + bare(facts.id)));
  if (by_id || has(e.digests, bare(facts.id))) reason = "the id is listed";
  if (has(e.digests, bare(facts.digest))) reason = "the digest is listed";
  const auto text_of = [](const Meta& meta, const char* key) {
    const auto found = meta.find(key);
    return found == meta.end() ? std::string() : found->second;
  };
  for (const Meta& meta : facts.provenances) {
    const std::string id = text_of(meta, "id");  // what the corpus itself calls the document
    if (has(e.ids, id)) reason = fmt::format("the id {} is listed", in_quotes(id));
    const std::string source = text_of(meta, "source");
    for (const std::string& pattern : e.sources) {
      if (!source.empty() && glob_match(pattern, source))
        reason = fmt::format("source {} matches {}", in_quotes(source), in_quotes(pattern));
    }
  }
  return !reason.empty();
}

std::optional<std::vector<Revocation>> read_revocations(const std::string& file, const std::string& text,
                                                        Diagnostics& diagnostics) {
  const int errors = diagnostics.errors();
  diagnostics.add_source(file, text);
  std::vector<Revocation> out;
  std::istringstream lines(text);
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const std::string whole = trimmed(line);
    if (whole.empty() || whole[0] == '#') continue;
    Revocation item{std::nullopt, whole};
    const size_t space = whole.find(' ');
    if (space != std::string::npos) item.from = Date::parse(whole.substr(0, space));
    const Position at{file, number, 1, display_length(whole)};
    if (item.from) {
      item.entry = trimmed(whole.substr(space + 1));
    } else if (space != std::string::npos && is_like_a_day(whole.substr(0, space))) {
      diagnostics.error(at, fmt::format("{} is no day", in_quotes(whole.substr(0, space))),
                        "expected YYYY-MM-DD, or an entry without a day");
    }
    Exclusion parsed;
    read_exclusion_entry(item.entry, at, parsed, diagnostics);
    if (item.entry.size() > 4096) diagnostics.error(at, "the line is longer than 4096 bytes");
    out.push_back(std::move(item));
  }
  if (!text.empty() && text.back() != '\n') {
    diagnostics.error({file, number, 1, 1}, "the last line has no line end: the list may be half written",
                      "write it under another name and rename it");
  }
  if (diagnostics.errors() > errors) return {};
  return out;
}

Exclusion as_exclusion(const std::string& name, const std::vector<std::string>& entries) {
  Exclusion out;
  out.name = name;
  Diagnostics none;
  for (const std::string& entry : entries) read_exclusion_entry(entry, {}, out, none);
  sort_exclusion(out);
  return out;
}

}  // namespace govtrain
