#include "tools/govtrain/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

namespace govtrain {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr uint64_t kHeaderLimit = 100'000'000;
constexpr const char* kMetadata = "__metadata__";

// Bytes of one element, or 0 for a dtype that the format does not know.
uint64_t dtype_size(const std::string& dtype) {
  static const std::map<std::string, uint64_t> sizes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
      {"BF16", 2}, {"I32", 4}, {"U32", 4}, {"F32", 4},     {"I64", 8},     {"U64", 8}, {"F64", 8}};
  const auto it = sizes.find(dtype);
  return it == sizes.end() ? 0 : it->second;
}

// Product of `shape` times `unit`, or nothing when it does not fit.
std::optional<uint64_t> byte_size(const std::vector<int64_t>& shape, uint64_t unit) {
  uint64_t size = unit;
  for (const int64_t d : shape)
    if (d < 0 || __builtin_mul_overflow(size, static_cast<uint64_t>(d), &size)) return std::nullopt;
  return size;
}

Status corrupt(const std::string& file, const std::string& what) {
  return {StatusCode::corrupt, fmt::format("{}: not a valid safetensors file: {}", file, what)};
}

// Parses the header; fails on duplicate keys, which a plain parse would merge silently.
std::optional<std::string> parse_header(std::string_view text, json& out) {
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  const auto watch = [&](int, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second)
      duplicate = value.get<std::string>();
    return true;
  };
  try {
    out = json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& e) {
    return fmt::format("the header is not JSON ({})", e.what());
  }
  if (!duplicate.empty()) return fmt::format("the key '{}' stands twice in the header", duplicate);
  if (!out.is_object()) return std::string("the header is not a JSON object");
  return std::nullopt;
}

std::optional<std::string> parse_entry(const std::string& name, const json& value, SafetensorsEntry& out) {
  const auto bad = [&](const std::string& what) { return fmt::format("tensor '{}': {}", name, what); };
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets"))
    return bad("expected an object of dtype, shape and data_offsets");
  const json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
  if (!dtype.is_string() || dtype_size(dtype) == 0) return bad(fmt::format("unknown dtype {}", dtype.dump()));
  if (!shape.is_array()) return bad("shape is not a list");
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    return bad("data_offsets is not a pair of non-negative integers");
  out.name = name;
  out.dtype = dtype;
  for (const json& d : shape) {
    if (!d.is_number_unsigned() || d.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      return bad("shape holds something that is not a size");
    out.shape.push_back(d);
  }
  out.begin = offsets[0];
  out.end = offsets[1];
  const auto size = byte_size(out.shape, dtype_size(out.dtype));
  if (!size || *size > static_cast<uint64_t>(INT64_MAX)) return bad("its shape is too large");
  if (out.end < out.begin || out.end - out.begin != *size)
    return bad(fmt::format("its shape needs {} bytes; data_offsets give [{}, {})", *size, out.begin, out.end));
  return std::nullopt;
}

std::string header_text(const std::vector<SafetensorsInput>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadata] = metadata;
  uint64_t offset = 0;
  for (const SafetensorsInput& t : tensors) {
    const uint64_t end = offset + t.data.size_bytes();
    header[t.name] = {{"dtype", "F32"}, {"shape", t.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

int64_t SafetensorsEntry::elements() const {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

Result<Safetensors> Safetensors::open(const std::string& path) {
  Result<MappedFile> file = MappedFile::open(path);
  if (!file.ok()) return file.status();
  Result<Safetensors> parsed = parse(file.value().bytes(), path);
  if (parsed.ok()) parsed.value().file_ = std::move(file).value();
  return parsed;
}

Result<Safetensors> Safetensors::parse(std::string_view bytes, const std::string& name) {
  if (bytes.size() < 8) return corrupt(name, fmt::format("{} bytes, expected at least 8", bytes.size()));
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > kHeaderLimit)
    return corrupt(name, fmt::format("the header claims {} bytes, expected at most {}", length, kHeaderLimit));
  if (length > bytes.size() - 8)
    return corrupt(name, fmt::format("the header claims {} bytes, the file has {}", length, bytes.size() - 8));
  const std::string_view text = bytes.substr(8, length);
  if (text.empty() || text.front() != '{') return corrupt(name, "the header does not start with '{'");
  json header;
  if (const auto wrong = parse_header(text, header)) return corrupt(name, *wrong);

  Safetensors out;
  out.name_ = name;
  out.data_ = bytes.substr(8 + length);
  for (const auto& [key, value] : header.items()) {
    if (key == kMetadata) {
      if (!value.is_object()) return corrupt(name, "__metadata__ is not an object");
      for (const auto& [k, v] : value.items()) {
        if (!v.is_string()) return corrupt(name, fmt::format("__metadata__ '{}' is not a string", k));
        out.metadata_[k] = v;
      }
      continue;
    }
    SafetensorsEntry entry;
    if (const auto wrong = parse_entry(key, value, entry)) return corrupt(name, *wrong);
    out.entries_.push_back(std::move(entry));
  }
  std::sort(out.entries_.begin(), out.entries_.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t covered = 0;
  for (const SafetensorsEntry& e : out.entries_) {
    if (e.begin != covered)
      return corrupt(name, fmt::format("tensor '{}' starts at byte {}, expected {} ({})", e.name, e.begin, covered,
                                       e.begin < covered ? "overlap" : "hole"));
    covered = e.end;
  }
  if (covered != out.data_.size())
    return corrupt(name, fmt::format("the tensors take {} bytes, the file has {} ({})", covered, out.data_.size(),
                                     covered > out.data_.size() ? "truncated" : "left over"));
  return out;
}

const SafetensorsEntry* Safetensors::find(std::string_view name) const {
  const auto it = std::find_if(entries_.begin(), entries_.end(), [&](const auto& e) { return e.name == name; });
  return it == entries_.end() ? nullptr : &*it;
}

Status Safetensors::read(std::string_view name, std::span<const int64_t> shape, std::span<float> out) const {
  const SafetensorsEntry* entry = find(name);
  if (entry == nullptr) return {StatusCode::not_found, fmt::format("{}: no tensor '{}'", name_, name)};
  if (entry->dtype != "F32")
    return {StatusCode::invalid,
            fmt::format("{}: tensor '{}' is stored as {}, expected F32", name_, name, entry->dtype)};
  if (!std::equal(shape.begin(), shape.end(), entry->shape.begin(), entry->shape.end()))
    return {StatusCode::invalid, fmt::format("{}: tensor '{}' has shape [{}], expected [{}]", name_, name,
                                             fmt::join(entry->shape, ", "), fmt::join(shape, ", "))};
  assert(out.size_bytes() == entry->end - entry->begin);
  if (!out.empty()) std::memcpy(out.data(), data_.data() + entry->begin, out.size_bytes());
  return {};
}

Status write_safetensors(FileSystem& fs, const std::string& path, const std::vector<SafetensorsInput>& tensors,
                         const std::map<std::string, std::string>& metadata) {
  std::set<std::string_view> names;
  for (const SafetensorsInput& t : tensors) {
    if (t.name == kMetadata || !names.insert(t.name).second)
      return {StatusCode::invalid, fmt::format("write {}: tensor name '{}' is reserved or given twice", path, t.name)};
    const auto size = byte_size(t.shape, sizeof(float));
    if (!size || *size != t.data.size_bytes())
      return {StatusCode::invalid, fmt::format("write {}: tensor '{}' has {} elements, its shape is [{}]", path, t.name,
                                               t.data.size(), fmt::join(t.shape, ", "))};
  }
  std::string text;
  try {
    text = header_text(tensors, metadata);
  } catch (const json::exception& e) {
    return {StatusCode::invalid, fmt::format("write {}: a name or metadata value is not UTF-8 ({})", path, e.what())};
  }
  if (text.size() > kHeaderLimit) return {StatusCode::invalid, fmt::format("write {}: the header is too long", path)};

  const std::string temporary = path + ".tmp";
  const uint64_t length = text.size();
  std::string head(sizeof(length), '\0');
  std::memcpy(head.data(), &length, sizeof(length));
  if (Status s = fs.write(temporary, head + text); !s.ok()) return s;
  for (const SafetensorsInput& t : tensors) {
    const std::string_view bytes(reinterpret_cast<const char*>(t.data.data()), t.data.size_bytes());
    if (Status s = fs.append(temporary, bytes); !s.ok()) return s;
  }
  if (Status s = fs.sync_file(temporary); !s.ok()) return s;
  if (Status s = fs.rename(temporary, path); !s.ok()) return s;
  const std::string parent = parent_path(path);
  return fs.sync_dir(parent.empty() ? "." : parent);
}

}  // namespace govtrain
