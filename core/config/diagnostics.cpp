#include "core/config/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <tuple>

namespace govtrain {
namespace {

constexpr size_t max_messages = 100;
constexpr int max_line_width = 120;

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// One element per character; control characters become '?', tabs a space.
std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (const char c : text) {
    if (is_continuation(c) && !out.empty()) {
      out.back() += c;
    } else {
      const unsigned char u = static_cast<unsigned char>(c);
      out.emplace_back(1, c == '\t' ? ' ' : u < 0x20 || u == 0x7F ? '?' : c);
    }
  }
  return out;
}

std::string concatenate(const std::vector<std::string>& parts, size_t begin, size_t end) {
  std::string out;
  for (size_t i = begin; i < std::min(end, parts.size()); ++i) out += parts[i];
  return out;
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines(1);
  for (const char c : text) {
    if (c == '\n') {
      if (!lines.back().empty() && lines.back().back() == '\r') lines.back().pop_back();
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

std::string folded(const std::string& word) {
  std::string out;
  for (const char c : word) {
    out += c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = last;
    last = row;
  }
  return last[b.size()];
}

}  // namespace

std::string to_string(const Position& at) {
  return at.line > 0 ? fmt::format("{}:{}:{}", at.file, at.line, at.column) : at.file;
}

int display_length(std::string_view text) {
  return static_cast<int>(std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation(c); }));
}

std::string in_quotes(std::string_view text) {
  const std::vector<std::string> all = characters(text.substr(0, 400));
  return "'" + concatenate(all, 0, 60) + (all.size() > 60 ? "...'" : "'");
}

std::string join(const std::vector<std::string>& words, const std::string& separator) {
  return fmt::format("{}", fmt::join(words, separator));
}

void Diagnostics::add_source(const std::string& file, const std::string& text) { sources_[file] = split_lines(text); }

void Diagnostics::error(const Position& at, const std::string& message, const std::string& hint) {
  messages_.push_back({at, true, message, hint});
  ++errors_;
}

void Diagnostics::warning(const Position& at, const std::string& message, const std::string& hint) {
  messages_.push_back({at, false, message, hint});
}

std::string Diagnostics::render_one(const Message& m) const {
  std::string out = fmt::format("{}: {}: {}\n", to_string(m.at), m.is_error ? "error" : "warning", m.message);
  const auto source = sources_.find(m.at.file);
  const bool somewhere = m.at.line > 0 || m.at.column > 0;  // a command line has columns only; else: the file as such
  const size_t row = m.at.line > 0 ? static_cast<size_t>(m.at.line) - 1 : 0;
  if (!somewhere || source == sources_.end() || row >= source->second.size()) {
    if (!m.hint.empty()) out += fmt::format("{:8}{}\n", "", m.hint);
    return out;
  }
  const std::vector<std::string> line = characters(source->second[row]);
  const size_t place = std::min(static_cast<size_t>(std::max(m.at.column, 1) - 1), line.size());
  const size_t begin = place > max_line_width / 2 && line.size() > max_line_width ? place - max_line_width / 2 : 0;
  const size_t end = std::min(line.size(), begin + max_line_width);
  const size_t marks = std::max<size_t>(
      1, std::min(static_cast<size_t>(std::max(m.at.length, 1)), end > place ? end - place : size_t{1}));
  const std::string lead = begin > 0 ? "..." : "";
  out += fmt::format("{:>5} | {}{}{}\n", m.at.line > 0 ? std::to_string(m.at.line) : "", lead,
                     concatenate(line, begin, end), end < line.size() ? "..." : "");
  out += fmt::format("{:5} | {}{}{}{}\n", "", std::string(lead.size() + place - begin, ' '), std::string(marks, '^'),
                     m.hint.empty() ? "" : " ", m.hint);
  return out;
}

std::string Diagnostics::render() const {
  std::vector<const Message*> order;
  for (const Message& m : messages_) order.push_back(&m);
  std::stable_sort(order.begin(), order.end(), [](const Message* a, const Message* b) {
    return std::tie(a->at.file, a->at.line, a->at.column) < std::tie(b->at.file, b->at.line, b->at.column);
  });
  std::string out;
  for (size_t i = 0; i < std::min(order.size(), max_messages); ++i) out += render_one(*order[i]);
  if (order.size() > max_messages) out += fmt::format("... and {} more messages\n", order.size() - max_messages);
  return out;
}

void Diagnostics::throw_if_errors() const {
  if (has_errors()) throw ConfigError(*this);
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.empty() || word.size() > 100) return "";
  const std::string wanted = folded(word);
  std::string best;
  size_t best_distance = std::max<size_t>(word.size() / 3, word.size() > 2 ? 1 : 0) + 1;
  for (const std::string& candidate : candidates) {
    if (candidate.empty() || candidate.size() > 100) continue;
    const size_t distance = edit_distance(wanted, folded(candidate));
    if (distance < best_distance && distance < candidate.size()) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string near = nearest(word, candidates);
  return near.empty() ? "" : fmt::format("did you mean '{}'?", near);
}

}  // namespace govtrain
