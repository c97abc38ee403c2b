#include "core/rng.h"

#include <cmath>
#include <numbers>

namespace govtrain {
namespace {

uint64_t mix(uint64_t x) {  // splitmix64 finaliser (Steele, Lea, Flood 2014)
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<uint32_t>(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

Rng::Rng(uint64_t seed, Stream stream, uint64_t a, uint64_t b) {
  const uint64_t key = mix(seed ^ mix(static_cast<uint64_t>(stream)));
  const uint64_t nonce = mix(mix(a) + 0x632BE59BD9B4E019u * mix(b ^ 0x5851F42D4C957F2Du));
  key_ = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)};
  nonce_ = {static_cast<uint32_t>(nonce), static_cast<uint32_t>(nonce >> 32)};
}

uint32_t Rng::bits(uint64_t index) const {
  const uint64_t block = index / 4;
  const auto r = philox({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), nonce_[0], nonce_[1]}, key_);
  return r[index % 4];
}

float Rng::uniform(uint64_t index) const { return static_cast<float>(bits(index) >> 8) * 0x1p-24f; }

float Rng::normal(uint64_t index) const {
  const double u = (static_cast<double>(bits(2 * index)) + 0.5) * 0x1p-32;
  const double v = (static_cast<double>(bits(2 * index + 1)) + 0.5) * 0x1p-32;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v));
}

}  // namespace govtrain
