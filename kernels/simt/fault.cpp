#include "kernels/simt/fault.h"

#include <fmt/format.h>

#include <utility>

namespace govtrain::simt {

const char* name_of(FaultKind kind) {
  switch (kind) {
    case FaultKind::divergent_barrier:
      return "divergent barrier";
    case FaultKind::divergent_warp:
      return "divergent warp operation";
    case FaultKind::out_of_bounds:
      return "access out of bounds";
    case FaultKind::misaligned:
      return "misaligned access";
    case FaultKind::unwritten:
      return "read of unwritten memory";
    case FaultKind::race:
      return "race";
    case FaultKind::async_copy:
      return "asynchronous copy not waited for";
    case FaultKind::operand:
      return "operand not allowed";
    case FaultKind::unsynchronised:
      return "missing synchronisation";
    case FaultKind::host_memory:
      return "host memory used during a copy";
    case FaultKind::launch:
      return "launch not possible";
    case FaultKind::api:
      return "wrong use of the runtime";
  }
  return "?";
}

namespace {
std::string show(uint3 i) { return fmt::format("({},{},{})", i.x, i.y, i.z); }

std::string compose(FaultKind kind, const Place& p, const std::string& text) {
  std::string s = fmt::format("[simt] {}", name_of(kind));
  if (!p.kernel.empty()) s += " in " + p.kernel;
  if (p.in_thread) s += fmt::format(", block {}, thread {}", show(p.block), show(p.thread));
  return s + ": " + text;
}
}  // namespace

Fault::Fault(FaultKind kind, Place place, const std::string& text)
    : std::runtime_error(compose(kind, place, text)), kind_(kind), place_(std::move(place)) {}

}  // namespace govtrain::simt
