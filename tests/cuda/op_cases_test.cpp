// Runs every line of op_cases.h through all checks on the device; emulated, observed: bounds, races, unwritten memory,
// order of streams. Isolation comes with other orders of blocks and threads.
#include "kernels/cuda/backend.h"
#include "tests/cuda/support.h"
#include "tests/kernels/op_case_checks.h"

namespace govtrain::test {
namespace {

// Two tiles and a bit, so that every edge is met; long rows are for the slow cases.
const std::vector<std::vector<int32_t>> kShort = {{1}, {31, 2, 34}};

}  // namespace

TEST_CASE("kernels of the device match the double reference") {
  for (const OpCase& op : op_cases()) {
    for (const auto& lengths : kShort) {
      INFO(op.name << ", rows " << Catch::Detail::stringify(lengths));
      check_forward(cuda_backend(), op, batch_of(lengths));
    }
  }
}

TEST_CASE("backward kernels of the device match central differences of the reference", "[slow]") {
  for (const OpCase& op : op_cases()) {
    if (!op.backward) continue;
    for (const auto& lengths : std::vector<std::vector<int32_t>>{{1}, {31, 32, 33}, {3, 130}}) {
      INFO(op.name << ", rows " << Catch::Detail::stringify(lengths));
      check_gradient(cuda_backend(), op, batch_of(lengths));
    }
  }
}

TEST_CASE("an example's rows on the device do not depend on the others, on its position or on the schedule", "[slow]") {
  for (const OpCase& op : op_cases()) {
    for (const auto& lengths : kShort) {
      INFO(op.name << ", rows " << Catch::Detail::stringify(lengths));
      check_isolation(cuda_backend(), op, batch_of(lengths), 4,
                      [](int round) { set_schedule(static_cast<uint64_t>(100 + round)); });
    }
  }
  reset_schedule();
}

}  // namespace govtrain::test
