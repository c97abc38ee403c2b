// Device memory and the record of who touched it. Device memory is host memory between redzones, poisoned when it is
// allocated. While a launch is observed, every granule of 2 bytes of device and shared memory keeps its last writer and
// two of its last readers (launch, block, thread, barrier interval); two accesses that nothing orders are a fault.
// Two accesses are ordered when one thread makes both, when a block barrier or (within a warp) a full __syncwarp lies
// between, or when their launches are ordered by streams, events or the host. Private to kernels/simt.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/simt/observe.h"

namespace govtrain::simt {

// One access as the record keeps it.
struct Stamp {
  uint32_t operation = 0;  // 0: none
  uint32_t block = 0;
  uint32_t interval = 0;  // block barriers passed
  uint16_t warp_interval = 0;
  uint16_t thread = 0;
};

struct Cell {
  Stamp write;
  Stamp read[2];  // the last reader, and the last one of another warp
  bool several[2] = {false, false};
  bool atomic = false;     // the write was an atomic
  bool in_flight = false;  // a cp.async into it has not been waited for
};

constexpr size_t kGranule = 2;
constexpr size_t kRedzone = 256;
// The stamp of what is trusted without a record: memory written by launches that were not observed.
constexpr uint32_t kTrusted = 0xFFFFFFFFu;

// ---- operations: launches, copies, fills, in the order of the host's calls ----
// Two operations of one stream are ordered; others by what stream.cpp knows.
uint32_t current_operation();
// Whether the operation in hand comes after `earlier`.
bool happens_before(uint32_t earlier);
std::string describe_operation(uint32_t operation);

// ---- device memory ----
void* allocate_device(size_t bytes);
// False when `p` is not the begin of an allocation. Checks its redzones.
bool release_device(void* p);
// True when all of [p, p+bytes) lies in one allocation.
bool is_device(const void* p, size_t bytes);
// Throws a Fault when a redzone has changed; `after` names what ran.
void check_redzones(const char* after);
// The host or a copy engine touches device memory as part of `operation`: checks bounds, order and unwritten reads.
void touch_device(const void* p, size_t bytes, Access access, uint32_t operation);
// What follows may not be read before it is written again (an allocator took the memory back).
void forget_device(void* p, size_t bytes);
// A launch that was not observed may have written anything.
void trust_all_device();
size_t device_bytes();

// ---- for block.cpp ----
// The record of a block's shared memory: dynamic memory of `bytes` at `p`, and the static memory made known by
// know_shared(). Poisons both, while nothing is observed only what `function` is known to have.
void begin_block(unsigned char* p, size_t bytes, const void* function);

// ---- for async_copy.cpp ----
void check_access(const void* p, size_t bytes, size_t aligned, Access access);
// True when `p` is in the shared memory of the block that runs.
bool find_shared(const void* p);
void set_in_flight(void* p, size_t bytes, bool in_flight);

// The stamp of the running thread.
Stamp stamp_now();

}  // namespace govtrain::simt
