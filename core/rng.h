// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A value is a pure function of (seed, stream, a, b, index), never of how many values were drawn before, so that
// removing an example or changing the thread count shifts no other example's randomness.
#pragma once

#include <array>
#include <cstdint>

namespace govtrain {

// What a random stream is for; part of the key, so that two uses never share numbers.
enum class Stream : uint32_t { init = 1, dropout = 2, sampler = 3, generate = 4, test = 99 };

// One Philox4x32-10 block.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// Random access: the same (seed, stream, a, b) and index give the same value on every machine.
// For dropout a = step and b = low bits of the example id.
class Rng {
 public:
  Rng(uint64_t seed, Stream stream, uint64_t a = 0, uint64_t b = 0);

  uint32_t bits(uint64_t index) const;  // uniform on [0, 2^32)
  float uniform(uint64_t index) const;  // uniform on [0, 1), 24 bits
  float normal(uint64_t index) const;   // standard normal, Box-Muller in double

  // What philox() is keyed with, for kernels that draw many blocks at once: block i is
  // philox({low(i), high(i), nonce[0], nonce[1]}, key) and holds bits(4 i) to bits(4 i + 3).
  const std::array<uint32_t, 2>& key() const { return key_; }
  const std::array<uint32_t, 2>& nonce() const { return nonce_; }

 private:
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 2> nonce_;
};

}  // namespace govtrain
