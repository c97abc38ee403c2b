// Reading of leaves; the writing is in record.cpp.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "lineage/encoding.h"
#include "lineage/record.h"
#include "lineage/tiles.h"

namespace govtrain {
namespace {

constexpr int64_t max_blocks = 1 << 20;

Status corrupt(const std::string& what) { return {StatusCode::corrupt, "record: " + what}; }

// Takes members out of an object and remembers the first thing that was wrong.
class Members {
 public:
  explicit Members(nlohmann::json object) : object_(std::move(object)) {}

  bool has(const char* key) const { return object_.contains(key); }
  const Status& status() const { return status_; }

  // All members must have been taken.
  void finish() {
    if (status_.ok() && !object_.empty()) fail(object_.begin().key(), "is not a known member");
  }

  nlohmann::json take(const char* key) {
    const auto it = object_.find(key);
    if (it == object_.end()) {
      fail(key, "is missing");
      return {};
    }
    nlohmann::json value = std::move(*it);
    object_.erase(it);
    return value;
  }

  std::string text(const char* key) {
    const nlohmann::json value = take(key);
    if (value.is_string()) return value.get<std::string>();
    fail(key, "is not a string");
    return {};
  }

  int64_t integer(const char* key) { return as_integer(key, take(key), std::numeric_limits<int64_t>::max()); }

  float real(const char* key) { return as_real(key, take(key)); }

  int32_t small(const char* key) {
    return static_cast<int32_t>(as_integer(key, take(key), std::numeric_limits<int32_t>::max()));
  }

  std::vector<float> reals(const char* key, size_t blocks) {
    return values<float>(key, blocks, [&](const nlohmann::json& v) { return as_real(key, v); });
  }

  std::vector<int32_t> rules(const char* key, size_t blocks) {
    return values<int32_t>(key, blocks, [&](const nlohmann::json& v) {
      return static_cast<int32_t>(as_integer(key, v, std::numeric_limits<int32_t>::max()));
    });
  }

  void fail(const std::string& key, const char* what) {
    if (status_.ok()) status_ = corrupt(fmt::format("'{}' {}", key, what));
  }

 private:
  int64_t as_integer(const char* key, const nlohmann::json& value, int64_t high) {
    if (value.is_number_integer() &&
        !(value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(high)) &&
        value.get<int64_t>() <= high && value.get<int64_t>() >= -high) {
      return value.get<int64_t>();
    }
    fail(key, "is not an integer in range");
    return 0;
  }

  float as_real(const char* key, const nlohmann::json& value) {
    if (value.is_number()) {
      const double v = value.get<double>();
      if (std::fabs(v) <= static_cast<double>(std::numeric_limits<float>::max())) return static_cast<float>(v);
    } else if (value == "nan") {
      return std::numeric_limits<float>::quiet_NaN();
    } else if (value == "inf") {
      return std::numeric_limits<float>::infinity();
    } else if (value == "-inf") {
      return -std::numeric_limits<float>::infinity();
    }
    fail(key, "is not a number, \"nan\" or \"inf\"");
    return 0;
  }

  // `blocks` is 0 for the dense form.
  template <class T, class Convert>
  std::vector<T> values(const char* key, size_t blocks, const Convert& convert) {
    const nlohmann::json list = take(key);
    std::vector<T> out(blocks, T{});
    if (blocks == 0 && list.is_array()) {
      for (const nlohmann::json& item : list) out.push_back(convert(item));
    } else if (blocks > 0 && list.is_object()) {
      for (const auto& [name, item] : list.items()) {
        const Result<uint64_t> block = parse_decimal(name);
        if (!block.ok() || block.value() >= blocks) {
          fail(key, "names a block that does not exist");
        } else {
          out[block.value()] = convert(item);
        }
      }
    } else {
      fail(key, blocks == 0 ? "is not an array" : "is not an object");
    }
    return out;
  }

  nlohmann::json object_;
  Status status_;
};

Result<nlohmann::json> parse_object(std::string_view leaf) {
  if (leaf.size() > max_entry_bytes) return corrupt("longer than 65,535 bytes");
  Result<nlohmann::json> value = parse_json(leaf);
  if (!value.ok()) return corrupt(value.status().message());
  if (!value.value().is_object()) return corrupt("not a JSON object");
  return value;
}

}  // namespace

Result<std::string> leaf_kind(std::string_view leaf) {
  const Result<nlohmann::json> value = parse_object(leaf);
  if (!value.ok()) return value.status();
  const auto kind = value.value().find("k");
  if (kind == value.value().end() || !kind->is_string()) return corrupt("'k' is missing or not a string");
  return kind->get<std::string>();
}

Result<ExampleRecord> parse_example(std::string_view leaf) {
  Result<nlohmann::json> value = parse_object(leaf);
  if (!value.ok()) return value.status();
  Members in(std::move(value).value());
  ExampleRecord out;
  if (in.text("k") != "ex") in.fail("k", "is not \"ex\"");
  if (in.integer("v") != 1) in.fail("v", "is not 1, the only version that is known");
  size_t blocks = 0;
  if (in.has("b")) {
    const int64_t b = in.integer("b");
    if (b < static_cast<int64_t>(sparse_blocks) || b > max_blocks) return corrupt("'b' is out of range");
    blocks = static_cast<size_t>(b);
  }
  if (in.has("ev")) {
    if (in.text("ev") != "exclude") in.fail("ev", "is not \"exclude\"");
  } else {
    out.place = ExampleRecord::Place{in.integer("step"), in.integer("mb"), in.integer("i")};
  }
  out.ex = in.text("ex");
  const nlohmann::json span = in.take("span");
  if (span.is_array() && span.size() == 2 && span[0].is_number_unsigned() && span[1].is_number_unsigned()) {
    out.span_begin = span[0].get<int64_t>();
    out.span_end = span[1].get<int64_t>();
  } else {
    in.fail("span", "is not [begin,end]");
  }
  out.tok = in.integer("tok");
  out.w = in.reals("w", blocks);
  out.g = in.reals("g", blocks);
  out.r = in.rules("r", blocks);
  out.pol = in.text("pol");
  out.prof = in.text("prof");
  out.cls = in.text("cls");
  out.prov = in.text("prov");
  if (in.has("ent")) out.ent = in.real("ent");
  if (in.has("band")) out.band = in.small("band");
  if (in.has("slope")) out.slope = in.real("slope");
  if (in.has("clv")) out.clv = in.text("clv");
  if (in.has("score")) out.score = in.real("score");
  in.finish();
  if (!in.status().ok()) return in.status();
  std::string again;
  if (Status s = write_leaf(again, out); !s.ok()) return Status(StatusCode::corrupt, s.message());
  if (again != leaf) return corrupt("not in canonical form");
  return out;
}

Result<ControlRecord> parse_control(std::string_view leaf) {
  Result<nlohmann::json> value = parse_object(leaf);
  if (!value.ok()) return value.status();
  nlohmann::json& object = value.value();
  const auto kind = object.find("k");
  if (kind == object.end() || !kind->is_string()) return corrupt("'k' is missing or not a string");
  const auto version = object.find("v");
  if (version == object.end() || *version != 1) return corrupt("'v' is not 1, the only version that is known");
  ControlRecord out;
  out.kind = kind->get<std::string>();
  object.erase("k");
  object.erase("v");
  out.payload = std::move(object);
  std::string again;
  if (Status s = write_leaf(again, out); !s.ok()) return Status(StatusCode::corrupt, s.message());
  if (again != leaf) return corrupt("not in canonical form");
  return out;
}

}  // namespace govtrain
