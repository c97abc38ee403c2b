// The Merkle tree of the log: hashing, roots and proofs, as pure functions of hashes. No files here.
// RFC 6962 section 2.1: leaf = SHA-256(0x00 || d), node = SHA-256(0x01 || l || r), the empty tree = SHA-256("").
// A node is named by (level, index): the perfect subtree over leaves [index * 2^level, (index + 1) * 2^level).
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/hash.h"
#include "core/status.h"

namespace govtrain {

Digest leaf_hash(std::string_view entry);
Digest node_hash(const Digest& left, const Digest& right);
Digest empty_root();

// Root of a perfect tree. REQUIRES: count is a power of two.
Digest perfect_root(const Digest* hashes, size_t count);

// Folds the roots of the perfect subtrees of a tree, from the widest (left) to the narrowest (right).
Digest fold_root(const std::vector<Digest>& subtrees);

// Incremental root: a stack of perfect subtrees. Constant work per leaf, amortised.
class Frontier {
 public:
  void push(const Digest& leaf);
  uint64_t size() const { return size_; }
  Digest root() const { return fold_root(subtrees_); }

 private:
  uint64_t size_ = 0;
  std::vector<Digest> subtrees_;
};

using NodeReader = std::function<Result<Digest>(int level, uint64_t index)>;
using Proof = std::vector<Digest>;

// Root of the first `size` leaves.
Result<Digest> tree_root(uint64_t size, const NodeReader& nodes);
// RFC 6962 2.1.1, the sibling of the leaf first. `invalid` unless index < size.
Result<Proof> inclusion_proof(uint64_t index, uint64_t size, const NodeReader& nodes);
// RFC 6962 2.1.2; empty when old_size is 0 or equals size. `invalid` unless old_size <= size.
Result<Proof> consistency_proof(uint64_t old_size, uint64_t size, const NodeReader& nodes);

// `corrupt` when the proof does not hold. Safe on hostile proofs.
Status check_inclusion(const Proof& proof, uint64_t index, const Digest& leaf, uint64_t size, const Digest& root);
Status check_consistency(const Proof& proof, uint64_t old_size, const Digest& old_root, uint64_t size,
                         const Digest& root);

}  // namespace govtrain
