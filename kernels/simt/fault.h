// What the host execution layer reports: a fault of a kernel or of the host code around it, with the place. Thrown out
// of the launch (or the runtime call) in which it happened; the emulated device stays usable.
#pragma once

#include <stdexcept>
#include <string>

#include "kernels/simt/types.h"

namespace govtrain::simt {

enum class FaultKind {
  divergent_barrier,  // a block barrier that not every thread reaches, or threads at different barriers
  divergent_warp,     // a warp operation that a lane of its mask does not take part in
  out_of_bounds,      // outside every allocation, outside the shared memory asked for, or a redzone that changed
  misaligned,         // address not a multiple of the access
  unwritten,          // read of device or shared memory that nobody wrote
  race,               // two unordered accesses of one launch, at least one a write
  async_copy,         // cp.async data touched before its wait, or never waited for
  operand,            // an operand that the instruction does not allow
  unsynchronised,     // two operations of different streams touch the same memory and nothing orders them
  host_memory,        // host memory changed while a copy was under way
  launch,             // a launch that no device would take
  api,                // wrong use of the runtime API
};

const char* name_of(FaultKind kind);

struct Place {
  std::string kernel;  // or the runtime call
  uint3 block{};
  uint3 thread{};
  bool in_thread = false;  // block and thread are known
};

class Fault : public std::runtime_error {
 public:
  // what() reads "[simt] <kind> in <kernel>, block (x,y,z), thread (x,y,z): <text>".
  Fault(FaultKind kind, Place place, const std::string& text);
  FaultKind kind() const { return kind_; }
  const Place& place() const { return place_; }

 private:
  FaultKind kind_;
  Place place_;
};

// Throws for the thread that runs now, or for the host when none does.
[[noreturn]] void fail(FaultKind kind, const std::string& text);

}  // namespace govtrain::simt
