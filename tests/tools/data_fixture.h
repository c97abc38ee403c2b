// Small corpora for the tests of tools/govtrain/data: made here, no network, the same at every run.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/rng.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/prepare.h"

namespace govtrain::test {

// A folder of its own, removed at the end.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "govtrain_data_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline void put(const std::string& path, const std::string& bytes) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string get(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Sentences of made-up English, `words` words long.
inline std::string prose(uint64_t seed, int words) {
  static const std::vector<std::string> vocabulary = {
      "the",    "a",       "of",      "and",    "to",    "in",     "house",  "garden", "letter",
      "sister", "morning", "evening", "walk",   "said",  "was",    "had",    "would",  "very",
      "much",   "never",   "always",  "kindly", "spoke", "heard",  "file",   "shell",  "print",
      "value",  "process", "signal",  "write",  "read",  "system", "kernel", "memory", "table"};
  const Rng rng(seed, Stream::test);
  std::string out;
  for (int i = 0; i < words; ++i) {
    const uint32_t r = rng.bits(static_cast<uint64_t>(i));
    // Squaring favours the front of the list: some words are common, as in real text.
    const double u = static_cast<double>(r >> 8) / (1 << 24);
    out += vocabulary[static_cast<size_t>(u * u * static_cast<double>(vocabulary.size()))];
    out += i % 11 == 10 ? ".\n" : " ";
  }
  return out;
}

struct Item {
  std::string text;
  nlohmann::json meta;
};

inline std::string jsonl(const std::vector<Item>& items) {
  std::string out;
  for (const Item& i : items) out += nlohmann::json({{"text", i.text}, {"meta", i.meta}}).dump() + "\n";
  return out;
}

// `count` documents of different lengths and three licences; every third is "secret".
inline std::vector<Item> items(int count, uint64_t seed = 1) {
  std::vector<Item> out;
  for (int i = 0; i < count; ++i) {
    const char* license = i % 3 == 0 ? "secret" : i % 3 == 1 ? "CC0-1.0" : "GPL-2.0-or-later";
    out.push_back({prose(seed * 1000 + static_cast<uint64_t>(i), 20 + (i * 37) % 400),
                   {{"source", "doc" + std::to_string(i)}, {"license", license}, {"class", "prose"}}});
  }
  return out;
}

inline std::optional<std::string> exclude_secret(const std::vector<Origin>& origins, const Digest&) {
  for (const Origin& origin : origins)
    if (origin.meta.value("license", "") == "secret") return "rule 'no secrets'";
  return std::nullopt;
}

inline PrepareReport prepare_items(const TempDir& dir, const std::vector<Item>& list, PrepareOptions options,
                                   const Exclude& exclude = {}) {
  put(dir / "in.jsonl", jsonl(list));
  options.inputs = {dir / "in.jsonl"};
  if (options.cache.empty()) options.cache = dir / "cache";
  Result<PrepareReport> report = prepare(real_file_system(), options, exclude);
  if (!report.ok()) throw std::runtime_error(report.status().message());
  return report.value();
}

inline PrepareOptions byte_options(double validation = 0.2) {
  PrepareOptions options;
  options.tokenizer.kind = "bytes";
  options.validation_fraction = validation;
  return options;
}

inline Dataset open_dataset(const std::string& folder) {
  Result<Dataset> set = Dataset::open(folder);
  if (!set.ok()) throw std::runtime_error(set.status().message());
  return std::move(set.value());
}

// What() of the exception that `action` throws, or "(nothing)".
inline std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "(nothing)";
}

}  // namespace govtrain::test
