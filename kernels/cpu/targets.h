// Which instruction sets the CPU kernels are compiled for. Included before any Highway header, by every kernel file.
// AVX2 with FMA is the least that x86 needs; wider AVX-512 extensions would add nothing to float32 arithmetic.
#pragma once

#if defined(__x86_64__)
#define HWY_BASELINE_TARGETS HWY_AVX2
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_EMU128 | HWY_SCALAR)
#else
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_EMU128 | HWY_SCALAR)
#endif
