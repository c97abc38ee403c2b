// A linear classifier of texts: softmax regression over hashed byte n-grams (feature hashing: Weinberger et al. 2009).
// Answers only; it is trained, and its file is read and written, by the program. Deliberately small: no vocabulary and
// no document frequencies, so that nothing but the weights was ever taken from a corpus.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace govtrain {

// Which features a text has.
struct NgramOptions {
  int shortest = 1, longest = 3;  // bytes
  int buckets = 4096;             // features
  bool operator==(const NgramOptions&) const = default;
};

inline constexpr int max_ngram = 8;
inline constexpr int max_ngram_buckets = 1 << 20;

// The features of one text, ascending by index, each once.
struct SparseRow {
  std::vector<uint32_t> index;
  std::vector<float> value;
};

// Every n-gram of `text` adds +1 or -1, by its hash, to one bucket; a bucket's sum s becomes sign(s) sqrt(|s|), and the
// row is scaled to length 1 (a text without n-grams has no features). Hash: FNV-1a of the bytes, 64 bits, mixed by the
// finalizer of MurmurHash3. The same bits on every machine: sums of integers and correctly rounded operations.
// REQUIRES: 1 <= shortest <= longest <= max_ngram, 2 <= buckets <= max_ngram_buckets.
SparseRow hashed_ngrams(std::string_view text, const NgramOptions& options);

struct LinearClassifier {
  NgramOptions ngrams;
  std::vector<std::string> classes;  // C >= 2, sorted, unique
  std::vector<float> weight;         // [C, buckets]
  std::vector<float> bias;           // [C]

  // Probability [C] of each class: softmax of weight * features + bias, summed in double in ascending order of the
  // features, rounded to 4 decimals.
  std::vector<float> probabilities(std::string_view text) const;
};

// The index of the largest, the first of equals.
size_t largest(const std::vector<float>& probabilities);

}  // namespace govtrain
