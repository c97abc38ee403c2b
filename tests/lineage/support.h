// What the tests of the log share: a folder that goes away, seeded random bytes, and a model of the tree that is as
// simple as the definition.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/rng.h"
#include "lineage/merkle.h"
#include "lineage/note.h"
#include "lineage/reader.h"

namespace govtrain {

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "govtrain-lineage-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    root_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  std::string path(const std::string& name = "") const { return name.empty() ? root_ : root_ + "/" + name; }

 private:
  std::string root_;
};

class Random {
 public:
  explicit Random(uint64_t seed) : rng_(seed, Stream::test) {}
  uint64_t below(uint64_t n) { return rng_.bits(next_++) % n; }
  std::string bytes(uint64_t n) {
    std::string out;
    while (out.size() < n) out += static_cast<char>(below(256));
    return out;
  }

 private:
  Rng rng_;
  uint64_t next_ = 0;
};

// Seed 00 01 .. 1f, origin of the published test vectors.
inline NoteSigner test_signer(const std::string& name = "example.org/govtrain/run1") {
  std::array<uint8_t, 32> seed;
  for (size_t i = 0; i < seed.size(); ++i) seed[i] = static_cast<uint8_t>(i);
  return NoteSigner::from_seed(name, seed).value();
}

// RFC 6962 section 2.1, word by word.
inline Digest defined_root(const std::vector<Digest>& leaves, size_t begin, size_t end) {
  if (begin == end) return sha256("");
  if (end - begin == 1) return leaves[begin];
  size_t k = 1;
  while (2 * k < end - begin) k *= 2;
  return node_hash(defined_root(leaves, begin, begin + k), defined_root(leaves, begin + k, end));
}

struct Model {
  std::vector<std::string> entries;
  std::vector<Digest> leaves() const {
    std::vector<Digest> out;
    for (const std::string& entry : entries) out.push_back(sha256(std::string(1, '\0') + entry));
    return out;
  }
  Digest root() const { return defined_root(leaves(), 0, entries.size()); }
};

inline std::vector<std::string> read_all(LogReader& reader) {
  std::vector<std::string> out;
  const Status s = reader.visit(0, reader.size(), [&](uint64_t, std::string_view leaf) {
    out.emplace_back(leaf);
    return true;
  });
  if (!s.ok()) throw std::runtime_error(s.message());
  return out;
}

}  // namespace govtrain
