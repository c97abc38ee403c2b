#include "kernels/cpu/peak.h"

#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/peak.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

// Twelve chains hide the latency of every x86 and Arm core so far.
int64_t FmaChains(int64_t rounds) {
  constexpr int kChains = 12;
  V sum[kChains];
  for (V& s : sum) s = hn::Set(kD, 1.0f);
  const V a = hn::Set(kD, 0.999f);
  const V b = hn::Set(kD, 0.001f);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sum[c] = hn::MulAdd(sum[c], a, b);
  }
  V total = sum[0];
  for (int c = 1; c < kChains; ++c) total = hn::Add(total, sum[c]);
  volatile float keep = sum_lanes(total);
  static_cast<void>(keep);
  return rounds * kChains * kLanes * 2;
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(FmaChains);

int64_t run_fma_chains(int64_t rounds) { return HWY_DYNAMIC_DISPATCH(FmaChains)(rounds); }

}  // namespace govtrain::cpu
#endif
