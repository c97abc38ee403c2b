// Hashing, roots and proofs against the definitions of RFC 6962.
#include "lineage/merkle.h"

#include <catch2/catch.hpp>

#include "lineage/encoding.h"
#include "tests/lineage/support.h"

using namespace govtrain;

namespace {

std::vector<Digest> some_leaves(size_t n) {
  std::vector<Digest> out;
  for (size_t i = 0; i < n; ++i) out.push_back(leaf_hash("leaf " + std::to_string(i)));
  return out;
}

NodeReader reader_of(const std::vector<Digest>& leaves) {
  return [&leaves](int level, uint64_t index) -> Result<Digest> {
    const size_t width = size_t{1} << level;
    REQUIRE((index + 1) * width <= leaves.size());
    return perfect_root(leaves.data() + index * width, width);
  };
}

// PATH(m, D[n]) of section 2.1.1.
Proof defined_path(size_t m, const std::vector<Digest>& d, size_t begin, size_t end) {
  if (end - begin == 1) return {};
  size_t k = 1;
  while (2 * k < end - begin) k *= 2;
  const bool left = m < k;
  Proof out = left ? defined_path(m, d, begin, begin + k) : defined_path(m - k, d, begin + k, end);
  out.push_back(left ? defined_root(d, begin + k, end) : defined_root(d, begin, begin + k));
  return out;
}

// SUBPROOF(m, D[n], b) of section 2.1.2.
Proof defined_subproof(size_t m, const std::vector<Digest>& d, size_t begin, size_t end, bool complete) {
  if (m == end - begin) return complete ? Proof{} : Proof{defined_root(d, begin, end)};
  size_t k = 1;
  while (2 * k < end - begin) k *= 2;
  Proof out =
      m <= k ? defined_subproof(m, d, begin, begin + k, complete) : defined_subproof(m - k, d, begin + k, end, false);
  out.push_back(m <= k ? defined_root(d, begin + k, end) : defined_root(d, begin, begin + k));
  return out;
}

}  // namespace

TEST_CASE("leaf and node hashes have their prefixes") {
  CHECK(base64(empty_root()) == "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
  CHECK(leaf_hash("abc") == sha256(std::string("\0abc", 4)));
  const Digest a = sha256("a");
  const Digest b = sha256("b");
  std::string both = "\x01";
  both.append(a.begin(), a.end()).append(b.begin(), b.end());
  CHECK(node_hash(a, b) == sha256(both));
}

TEST_CASE("roots of every size follow the definition") {
  const std::vector<Digest> leaves = some_leaves(300);
  Frontier frontier;
  for (size_t n = 0; n <= leaves.size(); ++n) {
    const Digest expected = defined_root(leaves, 0, n);
    REQUIRE(frontier.size() == n);
    REQUIRE(frontier.root() == expected);
    REQUIRE(tree_root(n, reader_of(leaves)).value() == expected);
    if (n < leaves.size()) frontier.push(leaves[n]);
  }
}

TEST_CASE("all proofs of small trees are the defined ones, hold, and hold for nothing else") {
  const std::vector<Digest> leaves = some_leaves(40);
  for (size_t n = 1; n <= leaves.size(); ++n) {
    const Digest root = defined_root(leaves, 0, n);
    for (size_t i = 0; i < n; ++i) {
      const Proof proof = inclusion_proof(i, n, reader_of(leaves)).value();
      REQUIRE(proof == defined_path(i, leaves, 0, n));
      REQUIRE(check_inclusion(proof, i, leaves[i], n, root).ok());
      REQUIRE_FALSE(check_inclusion(proof, i, leaves[(i + 1) % leaves.size()], n, root).ok());
      REQUIRE_FALSE(check_inclusion(proof, i, leaves[i], n, sha256("x")).ok());
      if (n > 1) REQUIRE_FALSE(check_inclusion(proof, (i + 1) % n, leaves[i], n, root).ok());
      Proof longer = proof;
      longer.push_back(root);
      REQUIRE_FALSE(check_inclusion(longer, i, leaves[i], n, root).ok());
      if (!proof.empty()) {
        longer.resize(proof.size() - 1);
        REQUIRE_FALSE(check_inclusion(longer, i, leaves[i], n, root).ok());
      }
    }
    for (size_t m = 1; m < n; ++m) {
      const Digest old_root = defined_root(leaves, 0, m);
      const Proof proof = consistency_proof(m, n, reader_of(leaves)).value();
      REQUIRE(proof == defined_subproof(m, leaves, 0, n, true));
      REQUIRE(check_consistency(proof, m, old_root, n, root).ok());
      REQUIRE_FALSE(check_consistency(proof, m, sha256("x"), n, root).ok());
      REQUIRE_FALSE(check_consistency(proof, m, old_root, n, sha256("x")).ok());
      REQUIRE_FALSE(check_consistency({}, m, old_root, n, root).ok());
      for (size_t j = 0; j < proof.size(); ++j) {
        Proof bad = proof;
        bad[j][j % 32] ^= 1;
        REQUIRE_FALSE(check_consistency(bad, m, old_root, n, root).ok());
      }
    }
    CHECK(check_consistency({}, n, root, n, root).ok());
    CHECK(check_consistency({}, 0, empty_root(), n, root).ok());
    CHECK_FALSE(check_consistency({}, n, root, n, sha256("x")).ok());
    CHECK_FALSE(check_consistency({root}, n, root, n, root).ok());
  }
  CHECK_FALSE(inclusion_proof(5, 5, reader_of(leaves)).ok());
  CHECK_FALSE(consistency_proof(6, 5, reader_of(leaves)).ok());
  CHECK_FALSE(check_inclusion({}, 0, leaves[0], 0, empty_root()).ok());
}
