#include "routing/license.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "routing/glob.h"

namespace govtrain {
namespace {

constexpr size_t max_length = 4096;
constexpr int max_nesting = 32;

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  bool open = false;
  for (const char c : text) {
    if (c == '(' || c == ')' || std::isspace(static_cast<unsigned char>(c)) != 0) {
      open = false;
      if (c == '(' || c == ')') words.emplace_back(1, c);
    } else {
      if (!open) words.emplace_back();
      words.back() += c;
      open = true;
    }
  }
  return words;
}

bool is_id(const std::string& word) {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '.'; };
  const bool plus = word.size() > 1 && word.back() == '+';
  const std::string body = plus ? word.substr(0, word.size() - 1) : word;
  const size_t colon = body.rfind(':');  // DocumentRef-x:LicenseRef-y
  const std::string name = colon == std::string::npos ? body : body.substr(0, colon) + body.substr(colon + 1);
  return !name.empty() && std::all_of(name.begin(), name.end(), plain);
}

// Recursive descent; precedence WITH, then AND, then OR.
class Parser {
 public:
  explicit Parser(std::vector<std::string> words) : words_(std::move(words)) {}
  std::optional<LicenseExpression> parse() {
    std::optional<LicenseExpression> out = joined(LicenseExpression::Kind::any_of, 0);
    return out && at_ == words_.size() ? out : std::nullopt;
  }

 private:
  bool is_operator(const std::string& word) const {
    const std::string w = lower_case(word);
    return w == "and" || w == "or" || w == "with";
  }
  bool take(const std::string& word) {
    if (at_ == words_.size() || lower_case(words_[at_]) != word) return false;
    ++at_;
    return true;
  }
  std::optional<LicenseExpression> joined(LicenseExpression::Kind kind, int depth) {
    const bool either = kind == LicenseExpression::Kind::any_of;
    LicenseExpression out;
    out.kind = kind;
    do {
      auto part = either ? joined(LicenseExpression::Kind::all_of, depth) : primary(depth);
      if (!part) return {};
      out.parts.push_back(std::move(*part));
    } while (take(either ? "or" : "and"));
    if (out.parts.size() == 1) {
      LicenseExpression only = std::move(out.parts[0]);
      return only;
    }
    return out;
  }
  std::optional<LicenseExpression> primary(int depth) {
    if (take("(")) {
      if (depth >= max_nesting) return {};
      auto inner = joined(LicenseExpression::Kind::any_of, depth + 1);
      return inner && take(")") ? inner : std::nullopt;
    }
    if (at_ == words_.size() || is_operator(words_[at_]) || !is_id(words_[at_])) return {};
    LicenseExpression out;
    out.term = words_[at_++];
    if (take("with")) {
      if (at_ == words_.size() || is_operator(words_[at_]) || !is_id(words_[at_])) return {};
      out.term += " WITH " + words_[at_++];
    }
    return out;
  }

  std::vector<std::string> words_;
  size_t at_ = 0;
};

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

LicenseExpression parse_license(std::string_view text) {
  LicenseExpression opaque;
  opaque.term = std::string(text);
  if (text.size() > max_length) return opaque;
  return Parser(words_of(text)).parse().value_or(opaque);
}

std::vector<std::string> license_forms(const std::string& term) {
  std::vector<std::string> forms{term};
  const size_t with = term.find(" WITH ");
  const std::string id = term.substr(0, with);
  if (with != std::string::npos) forms.push_back(id);
  if (id.find(' ') != std::string::npos) return forms;
  const bool gnu =
      id.rfind("GPL-", 0) == 0 || id.rfind("LGPL-", 0) == 0 || id.rfind("AGPL-", 0) == 0 || id.rfind("GFDL-", 0) == 0;
  if (id.size() > 1 && id.back() == '+') {
    forms.push_back(id.substr(0, id.size() - 1) + "-or-later");
  } else if (gnu && !ends_with(id, "-only") && !ends_with(id, "-or-later")) {
    forms.push_back(id + "-only");
  }
  return forms;
}

}  // namespace govtrain
