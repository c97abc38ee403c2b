// Runs every line of op_cases.h through all checks on the device; emulated, observed: bounds, races, unwritten memory,
// order of streams. Isolation comes with other orders of blocks and threads. In tf32 and bf16 those lines run that have
// products; the others do not know of a precision.
#include "kernels/cuda/backend.h"
#include "tests/cuda/rounding.h"
#include "tests/cuda/support.h"
#include "tests/kernels/op_case_checks.h"

namespace govtrain::test {
namespace {

using cuda::Precision;

// Two tiles of 32 and a bit, so that edges are met; long rows are for the slow cases.
const std::vector<std::vector<int32_t>> kShort = {{1}, {31, 2, 34}};
// Tiles of 64 rows.
const std::vector<int32_t> kLong = {3, 130, 34};

// Calls f(op, precision) for every line and every precision that it knows.
template <class F>
void for_each_case(const F& f) {
  for (const OpCase& op : op_cases()) {
    for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
      if (precision != Precision::fp32 && op.products == 0.0) continue;
      INFO(op.name << ", " << name_of(precision));
      f(op, precision);
    }
  }
}

}  // namespace

TEST_CASE("kernels of the device match the double reference") {
  for_each_case([](const OpCase& op, Precision precision) {
    for (const auto& lengths : kShort) {
      INFO("rows " << Catch::Detail::stringify(lengths));
      check_forward(cuda_backend(precision), op, batch_of(lengths), operand_unit(precision));
    }
  });
}

TEST_CASE("backward kernels of the device match central differences of the reference", "[slow]") {
  for_each_case([](const OpCase& op, Precision precision) {
    if (!op.backward) return;
    for (const auto& lengths : std::vector<std::vector<int32_t>>{{1}, {31, 32, 33}, {3, 130}}) {
      INFO("rows " << Catch::Detail::stringify(lengths));
      check_gradient(cuda_backend(precision), op, batch_of(lengths), operand_unit(precision));
    }
  });
}

TEST_CASE("an example's rows on the device do not depend on the others, on its position or on the schedule", "[slow]") {
  for_each_case([](const OpCase& op, Precision precision) {
    std::vector<std::vector<int32_t>> all = kShort;
    if (op.name.starts_with("attention")) all.push_back(kLong);
    for (const auto& lengths : all) {
      INFO("rows " << Catch::Detail::stringify(lengths));
      check_isolation(cuda_backend(precision), op, batch_of(lengths), 4,
                      [](int round) { set_schedule(static_cast<uint64_t>(100 + round)); });
    }
  });
  reset_schedule();
}

}  // namespace govtrain::test
