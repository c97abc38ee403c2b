// Runs every line of op_cases.h through all checks on the CPU. Not for contract (contract_test.cpp) or optimizers.
#include "tests/kernels/op_case_checks.h"

namespace govtrain::test {

TEST_CASE("kernels match the double reference") {
  for_each_instruction_set([] {
    for (const OpCase& op : op_cases()) {
      for (const auto& lengths : ragged_lengths()) {
        INFO(op.name << ", rows " << Catch::Detail::stringify(lengths));
        check_forward(cpu_backend(), op, batch_of(lengths));
      }
    }
  });
}

TEST_CASE("backward kernels match central differences of the reference", "[slow]") {
  for_each_instruction_set([] {
    for (const OpCase& op : op_cases()) {
      if (!op.backward) continue;
      for (const auto& lengths : std::vector<std::vector<int32_t>>{{1}, {31, 32, 33}, {3, 130}}) {
        INFO(op.name << ", rows " << Catch::Detail::stringify(lengths));
        check_gradient(cpu_backend(), op, batch_of(lengths));
      }
    }
  });
}

TEST_CASE("an example's rows do not depend on the others, on its position or on the threads", "[slow]") {
  for_each_instruction_set([] {
    for (const OpCase& op : op_cases()) {
      for (const auto& lengths : ragged_lengths()) {
        INFO(op.name << ", rows " << Catch::Detail::stringify(lengths));
        constexpr int kThreads[] = {1, 2, 5, 2};
        check_isolation(cpu_backend(), op, batch_of(lengths), 4, [&](int round) { set_thread_count(kThreads[round]); });
      }
    }
  });
  set_thread_count(2);
}

}  // namespace govtrain::test
