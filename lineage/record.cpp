#include "lineage/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/number.h"
#include "lineage/encoding.h"
#include "lineage/tiles.h"

namespace govtrain {
namespace {

Status invalid(const std::string& what) { return {StatusCode::invalid, "record: " + what}; }

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_example_digest(std::string_view text) {
  return (text.starts_with("sha256:") && is_hex(text.substr(7), 64)) ||
         (text.starts_with("hmac:") && is_hex(text.substr(5), 64));
}

Status check(const ExampleRecord& r) {
  if (!is_example_digest(r.ex)) return invalid(fmt::format("ex is '{}'; expected sha256:<64 hex digits>", r.ex));
  if (r.w.empty()) return invalid("w is empty; expected one weight per block");
  if (r.g.size() != r.w.size() || r.r.size() != r.w.size()) {
    return invalid(
        fmt::format("w, g and r have {}, {} and {} blocks; expected the same", r.w.size(), r.g.size(), r.r.size()));
  }
  if (r.place && (r.place->step < 0 || r.place->mb < 0 || r.place->i < 0)) return invalid("step, mb or i is negative");
  if (r.span_begin < 0 || r.span_end < r.span_begin || r.tok < 0) {
    return invalid(fmt::format("span [{},{}] with {} tokens is impossible", r.span_begin, r.span_end, r.tok));
  }
  for (size_t b = 0; b < r.w.size(); ++b) {
    if (!std::isfinite(r.w[b])) return invalid(fmt::format("w of block {} is not finite", b));
    if (r.g[b] < 0) return invalid(fmt::format("g of block {} is negative; expected a norm", b));
    if (r.w[b] == 0 && r.g[b] != 0) {
      return invalid(fmt::format("block {} has weight 0 and a realised norm of {}; expected exactly 0", b, r.g[b]));
    }
    if (r.r[b] < 0) return invalid(fmt::format("r of block {} is negative; expected an index of a rule", b));
    if (!r.place && r.w[b] != 0) return invalid(fmt::format("block {} of an excluded example has a weight", b));
  }
  if (r.pol.empty() || r.prof.empty()) return invalid("pol or prof is empty");
  if (!valid_utf8(r.pol) || !valid_utf8(r.prof) || !valid_utf8(r.cls)) return invalid("pol, prof or cls is not UTF-8");
  if (r.clv && (r.clv->empty() || !valid_utf8(*r.clv))) return invalid("clv is empty or not UTF-8");
  if (r.score && !(*r.score >= 0 && *r.score <= 1))
    return invalid(fmt::format("score is {}; expected 0 to 1", *r.score));
  if (r.score && !r.clv) return invalid("score without clv");
  if (!is_hex(r.prov, 16)) return invalid(fmt::format("prov is '{}'; expected 16 hex digits", r.prov));
  return {};
}

void append_int(std::string& out, int64_t value) {
  char buffer[24];
  out.append(buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr);
}

void append_field(std::string& out, int32_t value) { append_int(out, value); }

// JSON has no NaN and no infinities: they are strings.
void append_field(std::string& out, float value) {
  if (std::isnan(value)) {
    out += "\"nan\"";
  } else if (std::isinf(value)) {
    out += value < 0 ? "\"-inf\"" : "\"inf\"";
  } else if (value == 0) {
    out += '0';
  } else {
    append_number(out, value);
  }
}

template <class T>
void append_values(std::string& out, const std::vector<T>& values) {
  if (values.size() < sparse_blocks) {
    char separator = '[';
    for (const T value : values) {
      out += separator;
      separator = ',';
      append_field(out, value);
    }
    out += ']';
    return;
  }
  std::vector<std::pair<std::string, T>> present;
  for (size_t b = 0; b < values.size(); ++b) {
    if (values[b] != 0) present.emplace_back(std::to_string(b), values[b]);
  }
  std::sort(present.begin(), present.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  char separator = '{';
  for (const auto& [block, value] : present) {
    out += separator;
    separator = ',';
    out += '"' + block + "\":";
    append_field(out, value);
  }
  out += present.empty() ? "{}" : "}";
}

Status check_size(const std::string& leaf) {
  if (leaf.size() <= max_entry_bytes) return {};
  return invalid(fmt::format("the leaf has {} bytes; expected at most {}", leaf.size(), max_entry_bytes));
}

}  // namespace

const std::vector<std::string>& control_kinds() {
  static const std::vector<std::string> kinds = {
      "adapt", "admit",  "bands",   "blocks",   "ckpt",   "classes", "clip",   "device", "end",  "eval",   "expire",
      "infer", "policy", "profile", "proposal", "review", "revoke",  "rewind", "run",    "step", "unlearn"};
  return kinds;
}

size_t largest_example_leaf(size_t blocks, size_t text_bytes) {
  // Longest numbers: float "-1.17549435e-38", norm "1.17549435e-38", rule "2147483647"; one separator each. Fixed
  // parts: keys, digest, provenance, seven integers. Text may be escaped to six bytes a character.
  const size_t key = blocks < sparse_blocks ? 0 : 3 + std::to_string(blocks).size();
  return blocks * (15 + 15 + 10 + 3 + 3 * key) + 6 * text_bytes + 520;
}

Status write_leaf(std::string& leaf, const ExampleRecord& r) {
  if (Status s = check(r); !s.ok()) return s;
  leaf.clear();
  char separator = '{';
  const auto key = [&](const char* name) {
    leaf += separator;
    separator = ',';
    leaf += '"';
    leaf += name;
    leaf += "\":";
  };
  if (r.w.size() >= sparse_blocks) key("b"), append_int(leaf, static_cast<int64_t>(r.w.size()));
  if (r.band) key("band"), append_field(leaf, *r.band);
  key("cls"), append_json_string(leaf, r.cls);
  if (r.clv) key("clv"), append_json_string(leaf, *r.clv);
  if (r.ent) key("ent"), append_field(leaf, *r.ent);
  if (!r.place) key("ev"), leaf += "\"exclude\"";
  key("ex"), append_json_string(leaf, r.ex);
  key("g"), append_values(leaf, r.g);
  if (r.place) key("i"), append_int(leaf, r.place->i);
  key("k"), leaf += "\"ex\"";
  if (r.place) key("mb"), append_int(leaf, r.place->mb);
  key("pol"), append_json_string(leaf, r.pol);
  key("prof"), append_json_string(leaf, r.prof);
  key("prov"), append_json_string(leaf, r.prov);
  key("r"), append_values(leaf, r.r);
  if (r.score) key("score"), append_field(leaf, *r.score);
  if (r.slope) key("slope"), append_field(leaf, *r.slope);
  key("span"), leaf += '[', append_int(leaf, r.span_begin), leaf += ',', append_int(leaf, r.span_end), leaf += ']';
  if (r.place) key("step"), append_int(leaf, r.place->step);
  key("tok"), append_int(leaf, r.tok);
  key("v"), leaf += '1';
  key("w"), append_values(leaf, r.w);
  leaf += '}';
  return check_size(leaf);
}

Status write_leaf(std::string& leaf, const ControlRecord& record) {
  const std::vector<std::string>& kinds = control_kinds();
  if (std::find(kinds.begin(), kinds.end(), record.kind) == kinds.end()) {
    return invalid(fmt::format("'{}' is not a kind of control record", record.kind));
  }
  if (!record.payload.is_object()) return invalid("the payload of a control record is not a JSON object");
  if (record.payload.contains("k") || record.payload.contains("v")) {
    return invalid("the payload of a control record has a member 'k' or 'v'");
  }
  nlohmann::json whole = record.payload;
  whole["k"] = record.kind;
  whole["v"] = 1;
  leaf.clear();
  if (Status s = append_canonical_json(leaf, whole); !s.ok()) return invalid(record.kind + ": " + s.message());
  return check_size(leaf);
}

}  // namespace govtrain
