#include "lineage/encoding.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/number.h"

namespace govtrain {
namespace {

constexpr int max_depth = 64;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Status append_value(std::string& out, const nlohmann::json& value, int depth) {
  using Type = nlohmann::json::value_t;
  if (depth > max_depth) return {StatusCode::invalid, "JSON is nested deeper than 64"};
  switch (value.type()) {
    case Type::null:
      out += "null";
      return {};
    case Type::boolean:
      out += value.get<bool>() ? "true" : "false";
      return {};
    case Type::number_integer:
      out += std::to_string(value.get<int64_t>());
      return {};
    case Type::number_unsigned:
      out += std::to_string(value.get<uint64_t>());
      return {};
    case Type::number_float:
      if (!std::isfinite(value.get<double>())) return {StatusCode::invalid, "a number is not finite"};
      append_number(out, value.get<double>());
      return {};
    case Type::string:
      if (!valid_utf8(value.get_ref<const std::string&>())) return {StatusCode::invalid, "a string is not UTF-8"};
      append_json_string(out, value.get_ref<const std::string&>());
      return {};
    case Type::array: {
      char separator = '[';
      for (const nlohmann::json& item : value) {
        out += separator;
        separator = ',';
        if (Status s = append_value(out, item, depth + 1); !s.ok()) return s;
      }
      out += value.empty() ? "[]" : "]";
      return {};
    }
    case Type::object: {
      char separator = '{';
      for (const auto& [key, item] : value.get_ref<const nlohmann::json::object_t&>()) {
        out += separator;
        separator = ',';
        if (!valid_utf8(key)) return {StatusCode::invalid, "a key is not UTF-8"};
        append_json_string(out, key);
        out += ':';
        if (Status s = append_value(out, item, depth + 1); !s.ok()) return s;
      }
      out += value.empty() ? "{}" : "}";
      return {};
    }
    default:
      return {StatusCode::invalid, "JSON cannot hold binary values"};
  }
}

}  // namespace

std::string base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int n =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes_of(bytes), static_cast<int>(bytes.size()));
  out.resize(static_cast<size_t>(n));
  return out;
}

std::string base64(const Digest& digest) {
  return base64(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

Result<std::string> from_base64(std::string_view text) {
  const Status bad(StatusCode::corrupt, fmt::format("'{}' is not padded base64", text.substr(0, 100)));
  if (text.empty()) return std::string();
  if (text.size() % 4 != 0 || text.size() > (1 << 20)) return bad;
  std::string out(text.size() / 4 * 3, '\0');
  if (EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes_of(text), static_cast<int>(text.size())) <
      0) {
    return bad;
  }
  const size_t padding = static_cast<size_t>(std::count(text.end() - 2, text.end(), '='));
  out.resize(out.size() - padding);
  if (base64(out) != text) return bad;
  return out;
}

Result<Digest> digest_from_base64(std::string_view text) {
  Result<std::string> bytes = from_base64(text);
  if (!bytes.ok()) return bytes.status();
  Digest out;
  if (bytes.value().size() != out.size()) {
    return Status(StatusCode::corrupt, fmt::format("'{}' is not the base64 of 32 bytes", text.substr(0, 100)));
  }
  std::copy(bytes.value().begin(), bytes.value().end(), out.begin());
  return out;
}

bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto at = [&](size_t j) -> uint32_t { return j < text.size() ? static_cast<uint8_t>(text[j]) : 0; };
    const uint32_t lead = at(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    uint32_t code = lead & (0xFFU >> (length + 1));
    if (lead < 0xC2 || lead > 0xF4) return false;
    for (size_t j = 1; j < length; ++j) {
      if ((at(i + j) & 0xC0) != 0x80) return false;
      code = code << 6 | (at(i + j) & 0x3F);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10FFFF))) return false;
    if (code >= 0xD800 && code <= 0xDFFF) return false;
    i += length;
  }
  return true;
}

void append_json_string(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20) {
          out += "\\u00";
          out += digits[c >> 4];
          out += digits[c & 15];
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

Status append_canonical_json(std::string& out, const nlohmann::json& value) { return append_value(out, value, 0); }

Result<nlohmann::json> parse_json(std::string_view text) {
  // Depth is counted before anything is built: what handles the document may recurse.
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\') ++i;
    if (in_string) continue;
    if ((c == '[' || c == '{') && ++depth > max_depth)
      return Status(StatusCode::corrupt, "JSON is nested deeper than 64");
    if (c == ']' || c == '}') --depth;
  }
  nlohmann::json value = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (value.is_discarded()) return Status(StatusCode::corrupt, "the text is not JSON");
  return value;
}

Result<uint64_t> parse_decimal(std::string_view text) {
  const Status bad(StatusCode::corrupt, fmt::format("'{}' is not a decimal number below 2^63", text.substr(0, 40)));
  if (text.empty() || text.size() > 19 || (text.size() > 1 && text[0] == '0')) return bad;
  uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return bad;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  if (value > static_cast<uint64_t>(INT64_MAX)) return bad;
  return value;
}

}  // namespace govtrain
