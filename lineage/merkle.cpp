#include "lineage/merkle.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <bit>
#include <cassert>
#include <new>

namespace govtrain {
namespace {

// One digest context per thread and the algorithm fetched once: creating them costs more than hashing a short leaf.
class Hasher {
 public:
  Hasher() : algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr)), context_(EVP_MD_CTX_new()) {
    if (algorithm_ == nullptr || context_ == nullptr) throw std::bad_alloc();
  }
  ~Hasher() {
    EVP_MD_CTX_free(context_);
    EVP_MD_free(algorithm_);
  }
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;

  Digest hash(uint8_t prefix, const void* bytes, size_t size) {
    Digest out;
    if (EVP_DigestInit_ex2(context_, algorithm_, nullptr) != 1 || EVP_DigestUpdate(context_, &prefix, 1) != 1 ||
        EVP_DigestUpdate(context_, bytes, size) != 1 || EVP_DigestFinal_ex(context_, out.data(), nullptr) != 1) {
      throw std::bad_alloc();
    }
    return out;
  }

 private:
  EVP_MD* algorithm_;
  EVP_MD_CTX* context_;
};

Hasher& hasher() {
  thread_local Hasher instance;
  return instance;
}

// Root of the leaves [begin, end), begin a multiple of the largest power of two that is <= end - begin.
Result<Digest> range_root(uint64_t begin, uint64_t end, const NodeReader& nodes) {
  std::vector<Digest> subtrees;
  while (begin < end) {
    const int level = std::bit_width(end - begin) - 1;
    Result<Digest> node = nodes(level, begin >> level);
    if (!node.ok()) return node;
    subtrees.push_back(node.value());
    begin += uint64_t{1} << level;
  }
  return fold_root(subtrees);
}

uint64_t split(uint64_t count) { return std::bit_floor(count - 1); }

Status bad_proof(const char* kind) { return {StatusCode::corrupt, fmt::format("the {} proof does not hold", kind)}; }

}  // namespace

Digest leaf_hash(std::string_view entry) { return hasher().hash(0, entry.data(), entry.size()); }

Digest node_hash(const Digest& left, const Digest& right) {
  std::array<uint8_t, 64> both;
  std::copy(left.begin(), left.end(), both.begin());
  std::copy(right.begin(), right.end(), both.begin() + 32);
  return hasher().hash(1, both.data(), both.size());
}

Digest empty_root() { return sha256(""); }

Digest perfect_root(const Digest* hashes, size_t count) {
  assert(std::has_single_bit(count));
  std::vector<Digest> row(hashes, hashes + count);
  for (; count > 1; count /= 2) {
    for (size_t i = 0; i < count / 2; ++i) row[i] = node_hash(row[2 * i], row[2 * i + 1]);
  }
  return row[0];
}

Digest fold_root(const std::vector<Digest>& subtrees) {
  if (subtrees.empty()) return empty_root();
  Digest root = subtrees.back();
  for (size_t i = subtrees.size() - 1; i-- > 0;) root = node_hash(subtrees[i], root);
  return root;
}

void Frontier::push(const Digest& leaf) {
  subtrees_.push_back(leaf);
  for (uint64_t merged = size_++; (merged & 1) != 0; merged >>= 1) {
    const Digest right = subtrees_.back();
    subtrees_.pop_back();
    subtrees_.back() = node_hash(subtrees_.back(), right);
  }
}

Result<Digest> tree_root(uint64_t size, const NodeReader& nodes) { return range_root(0, size, nodes); }

Result<Proof> inclusion_proof(uint64_t index, uint64_t size, const NodeReader& nodes) {
  if (index >= size) {
    return Status(StatusCode::invalid, fmt::format("entry {} is not in the log; it has {} entries", index, size));
  }
  Proof proof;
  uint64_t begin = 0;
  uint64_t end = size;
  while (end - begin > 1) {
    const uint64_t middle = begin + split(end - begin);
    const bool left = index < middle;
    Result<Digest> sibling = left ? range_root(middle, end, nodes) : range_root(begin, middle, nodes);
    if (!sibling.ok()) return sibling.status();
    proof.insert(proof.begin(), sibling.value());
    (left ? end : begin) = middle;
  }
  return proof;
}

Result<Proof> consistency_proof(uint64_t old_size, uint64_t size, const NodeReader& nodes) {
  if (old_size > size) {
    return Status(StatusCode::invalid, fmt::format("size {} is larger than the log's {}", old_size, size));
  }
  Proof proof;
  if (old_size == 0 || old_size == size) return proof;
  uint64_t begin = 0;
  uint64_t end = size;
  while (end != old_size) {
    const uint64_t middle = begin + split(end - begin);
    const bool left = old_size <= middle;
    Result<Digest> other = left ? range_root(middle, end, nodes) : range_root(begin, middle, nodes);
    if (!other.ok()) return other.status();
    proof.insert(proof.begin(), other.value());
    (left ? end : begin) = middle;
  }
  if (begin > 0) {
    Result<Digest> rest = range_root(begin, end, nodes);
    if (!rest.ok()) return rest.status();
    proof.insert(proof.begin(), rest.value());
  }
  return proof;
}

Status check_inclusion(const Proof& proof, uint64_t index, const Digest& leaf, uint64_t size, const Digest& root) {
  if (index >= size) return bad_proof("inclusion");
  uint64_t node = index;
  uint64_t last = size - 1;
  Digest hash = leaf;
  for (const Digest& other : proof) {
    if (last == 0) return bad_proof("inclusion");
    if ((node & 1) != 0 || node == last) {
      hash = node_hash(other, hash);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, other);
    }
    node >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root ? Status() : bad_proof("inclusion");
}

Status check_consistency(const Proof& proof, uint64_t old_size, const Digest& old_root, uint64_t size,
                         const Digest& root) {
  if (old_size > size) return bad_proof("consistency");
  if (old_size == size) return proof.empty() && old_root == root ? Status() : bad_proof("consistency");
  if (old_size == 0) return proof.empty() && old_root == empty_root() ? Status() : bad_proof("consistency");
  uint64_t node = old_size - 1;
  uint64_t last = size - 1;
  while ((node & 1) != 0) {
    node >>= 1;
    last >>= 1;
  }
  size_t next = 0;
  if (node != 0 && proof.empty()) return bad_proof("consistency");
  Digest before = node == 0 ? old_root : proof[next++];
  Digest after = before;
  for (; next < proof.size(); ++next) {
    const Digest& other = proof[next];
    if (last == 0) return bad_proof("consistency");
    if ((node & 1) != 0 || node == last) {
      before = node_hash(other, before);
      after = node_hash(other, after);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      after = node_hash(after, other);
    }
    node >>= 1;
    last >>= 1;
  }
  return last == 0 && before == old_root && after == root ? Status() : bad_proof("consistency");
}

}  // namespace govtrain
