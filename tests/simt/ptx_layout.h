// Where each element of a fragment stands, written down from the formulas of the PTX manual and from nothing else here.
#pragma once

namespace govtrain::test {

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": groupID = lane >> 2, threadID_in_group =
// lane % 4; element i of a lane's fragment.
inline int bf16_a_row(int lane, int i) { return (i < 2 || (i >= 4 && i < 6)) ? lane >> 2 : (lane >> 2) + 8; }
inline int bf16_a_col(int lane, int i) { return i < 4 ? (lane % 4) * 2 + (i & 1) : (lane % 4) * 2 + (i & 1) + 8; }
inline int bf16_b_row(int lane, int i) { return i < 2 ? (lane % 4) * 2 + (i & 1) : (lane % 4) * 2 + (i & 1) + 8; }
inline int acc_row(int lane, int i) { return i < 2 ? lane >> 2 : (lane >> 2) + 8; }
inline int acc_col(int lane, int i) { return (lane % 4) * 2 + (i & 1); }
// "Matrix Fragments for mma.m16n8k8", .tf32.
inline int tf32_a_row(int lane, int i) { return (i == 0 || i == 2) ? lane >> 2 : (lane >> 2) + 8; }
inline int tf32_a_col(int lane, int i) { return (i == 0 || i == 1) ? lane % 4 : (lane % 4) + 4; }
inline int tf32_b_row(int lane, int i) { return i == 0 ? lane % 4 : (lane % 4) + 4; }
// The column of every element of b, in both.
inline int b_col(int lane) { return lane >> 2; }

}  // namespace govtrain::test
