#include "kernels/simt/matrix.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "kernels/simt/number.h"

namespace govtrain::simt {

void count_mma(int64_t multiply_adds) {
  if (observing) counts().mma += multiply_adds;
}

void check_tf32(float value) {
  if (is_tf32(value)) return;
  fail(FaultKind::operand, fmt::format("{:a} is no tf32: its 13 lowest bits are not 0; round it first", value));
}

namespace {

struct LoadSlot {
  const void* row;
  uint32_t* out;
};

template <bool transposed>
void hand_out(void* const* slots, uint32_t) {
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < 4; ++matrix) {
      uint32_t packed = 0;
      for (int half = 0; half < 2; ++half) {
        const int major = lane / 4;
        const int minor = lane % 4 * 2 + half;
        const int r = transposed ? minor : major;
        const int c = transposed ? major : minor;
        uint16_t element;
        const void* row = static_cast<const LoadSlot*>(slots[matrix * 8 + r])->row;
        std::memcpy(&element, static_cast<const char*>(row) + 2 * c, 2);
        packed |= static_cast<uint32_t>(element) << (16 * half);
      }
      static_cast<LoadSlot*>(slots[lane])->out[matrix] = packed;
    }
  }
}

void check_full(uint32_t mask, const char* what) {
  if (mask != 0xFFFFFFFFu) fail(FaultKind::divergent_warp, fmt::format("{} needs a whole warp", what));
}

template <bool transposed>
void load_matrices(uint32_t (&out)[4], const void* row, Where where) {
  if (observing) observe(row, 16, 16, Access::read);
  LoadSlot mine{row, out};
  warp_operation(0xFFFFFFFFu, transposed ? "ldmatrix.trans" : "ldmatrix", where, &mine,
                 [](void* const* slots, uint32_t mask) {
                   check_full(mask, "ldmatrix");
                   hand_out<transposed>(slots, mask);
                 });
}

struct MmaSlot {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

const MmaSlot& slot(void* const* slots, int lane) { return *static_cast<const MmaSlot*>(slots[lane]); }

// Where the accumulator's element i of a lane stands in [16,8].
int place_of_d(int lane, int i) { return (lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2; }

template <int k>
void multiply_slots(void* const* slots, const float* a, const float* b) {
  float c[16 * 8];
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) c[place_of_d(lane, i)] = slot(slots, lane).d[i];
  }
  multiply<16, 8, k>(a, b, c);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) slot(slots, lane).d[i] = c[place_of_d(lane, i)];
  }
  count_mma(16 * 8 * k);
}

float half_of(uint32_t packed, int half) { return __bfloat162float({static_cast<uint16_t>(packed >> (16 * half))}); }

void mma_bf16(void* const* slots, uint32_t mask) {
  check_full(mask, "mma.sync");
  float a[16 * 16];
  float b[16 * 8];
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4;
    const int member = lane % 4;
    for (int half = 0; half < 2; ++half) {
      for (int r = 0; r < 4; ++r) {  // registers: rows 0, +8, then the same with columns +8
        a[(group + r % 2 * 8) * 16 + member * 2 + half + r / 2 * 8] = half_of(slot(slots, lane).a[r], half);
      }
      for (int r = 0; r < 2; ++r) b[(member * 2 + half + r * 8) * 8 + group] = half_of(slot(slots, lane).b[r], half);
    }
  }
  multiply_slots<16>(slots, a, b);
}

void mma_tf32(void* const* slots, uint32_t mask) {
  check_full(mask, "mma.sync");
  float a[16 * 8];
  float b[8 * 8];
  const auto value = [](uint32_t bits) {
    const float v = std::bit_cast<float>(bits);
    check_tf32(v);
    return v;
  };
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane / 4;
    const int member = lane % 4;
    for (int r = 0; r < 4; ++r) a[(group + r % 2 * 8) * 8 + member + r / 2 * 4] = value(slot(slots, lane).a[r]);
    for (int r = 0; r < 2; ++r) b[(member + r * 4) * 8 + group] = value(slot(slots, lane).b[r]);
  }
  multiply_slots<8>(slots, a, b);
}

}  // namespace
}  // namespace govtrain::simt

namespace govtrain::cuda {

void ldmatrix_x4(uint32_t (&out)[4], const void* row, const char* file, int line) {
  simt::load_matrices<false>(out, row, {file, line});
}
void ldmatrix_x4_trans(uint32_t (&out)[4], const void* row, const char* file, int line) {
  simt::load_matrices<true>(out, row, {file, line});
}
void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line) {
  simt::MmaSlot mine{d, a, b};
  simt::warp_operation(0xFFFFFFFFu, "mma.sync.m16n8k16.bf16", {file, line}, &mine, simt::mma_bf16);
}
void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const char* file, int line) {
  simt::MmaSlot mine{d, a, b};
  simt::warp_operation(0xFFFFFFFFu, "mma.sync.m16n8k8.tf32", {file, line}, &mine, simt::mma_tf32);
}

}  // namespace govtrain::cuda
