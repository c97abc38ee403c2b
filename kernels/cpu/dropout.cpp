// Dropout whose mask is a pure function of seed, step, site, example id and place in the example: one Philox block per
// lane at a time, with the same values as core/rng.h gives one by one.
#include "core/rng.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

using DU = hn::RebindToUnsigned<D>;
using U = hn::Vec<DU>;
constexpr DU kDU;

// High and low halves of a * b, lane by lane.
HWY_INLINE void multiply_wide(U a, U b, U& high, U& low) {
  const hn::RepartitionToWide<DU> wide;
  const auto even = hn::MulEven(a, b);
  const auto odd = hn::MulEven(hn::BitCast(kDU, hn::ShiftRight<32>(hn::BitCast(wide, a))), b);
  low = hn::OddEven(hn::BitCast(kDU, hn::ShiftLeft<32>(odd)), hn::BitCast(kDU, even));
  high = hn::OddEven(hn::BitCast(kDU, odd), hn::BitCast(kDU, hn::ShiftRight<32>(even)));
}

// out[4 i + j] = word j of block first + i, for kLanes blocks.
HWY_INLINE void random_words(const Rng& rng, uint64_t first, uint32_t* out) {
  HWY_ALIGN uint32_t low[kLanes];
  HWY_ALIGN uint32_t high[kLanes];
  for (int64_t i = 0; i < kLanes; ++i) {
    const uint64_t block = first + static_cast<uint64_t>(i);
    low[i] = static_cast<uint32_t>(block);
    high[i] = static_cast<uint32_t>(block >> 32);
  }
  U c0 = hn::Load(kDU, low);
  U c1 = hn::Load(kDU, high);
  U c2 = hn::Set(kDU, rng.nonce()[0]);
  U c3 = hn::Set(kDU, rng.nonce()[1]);
  U k0 = hn::Set(kDU, rng.key()[0]);
  U k1 = hn::Set(kDU, rng.key()[1]);
  for (int round = 0; round < 10; ++round) {
    U h0, l0, h1, l1;
    multiply_wide(c0, hn::Set(kDU, 0xD2511F53u), h0, l0);
    multiply_wide(c2, hn::Set(kDU, 0xCD9E8D57u), h1, l1);
    c0 = hn::Xor(hn::Xor(h1, c1), k0);
    c2 = hn::Xor(hn::Xor(h0, c3), k1);
    c1 = l1;
    c3 = l0;
    k0 = hn::Add(k0, hn::Set(kDU, 0x9E3779B9u));
    k1 = hn::Add(k1, hn::Set(kDU, 0xBB67AE85u));
  }
  hn::StoreInterleaved4(c0, c1, c2, c3, kDU, out);
}

// One row of n elements, the first of which has number `index` in its example.
void DropRow(const Rng& rng, uint64_t index, float rate, float keep, const float* x, int64_t n, float* y) {
  constexpr int64_t kWords = 4 * kLanes;
  HWY_ALIGN uint32_t words[2 * kWords];
  const hn::RebindToSigned<D> di;
  const V vrate = hn::Set(kD, rate);
  const V vkeep = hn::Set(kD, keep);
  // `words` holds the words from number `at` on; elements start `skip` words into the first block.
  const auto skip = static_cast<int64_t>(index % 4);
  uint64_t block = index / 4;
  random_words(rng, block, words);
  for (int64_t done = 0; done < n; done += kWords) {
    block += static_cast<uint64_t>(kLanes);
    if (skip != 0) random_words(rng, block, words + kWords);
    for (int64_t j = 0; j < kWords && done + j < n; j += kLanes) {
      const int64_t left = n - done - j;
      const U bits = hn::ShiftRight<8>(hn::LoadU(kDU, words + skip + j));
      const V u = hn::Mul(hn::ConvertTo(kD, hn::BitCast(di, bits)), hn::Set(kD, 0x1p-24f));
      const V kept = hn::Mul(load_n(x + done + j, left), vkeep);
      store_n(hn::IfThenElseZero(hn::Ge(u, vrate), kept), y + done + j, left);
    }
    if (done + kWords >= n) break;
    if (skip != 0) {
      std::memcpy(words, words + kWords, sizeof(uint32_t) * static_cast<size_t>(kWords));
    } else {
      random_words(rng, block, words);
    }
  }
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(DropRow);

void dropout(View x, const Rows& rows, const DropoutKey& key, float rate, MutView y) {
  assert(rate >= 0.0f && rate < 1.0f && x.rows == rows.total());
  assert(static_cast<int>(key.example_ids.size()) == rows.examples());
  const float keep = static_cast<float>(1.0 / (1.0 - double{rate}));
  for_each(rows.examples(), [&](int64_t i) {
    const int e = static_cast<int>(i);
    const Rng rng = dropout_stream(key, static_cast<size_t>(e));
    for (int t = rows.begin(e); t < rows.end(e); ++t) {
      const auto index = static_cast<uint64_t>(t - rows.begin(e)) * static_cast<uint64_t>(x.cols);
      HWY_DYNAMIC_DISPATCH(DropRow)(rng, index, rate, keep, x.row(t), x.cols, y.row(t));
    }
  });
}

}  // namespace govtrain::cpu
#endif
