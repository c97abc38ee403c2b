// The small helpers of the backend, the choice of the instruction set, and what non-finite values do.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "kernels/backend.h"
#include "tests/kernels/guarded.h"

namespace govtrain::test {

TEST_CASE("an instruction set that this CPU lacks is an error that names what it has") {
  const auto have = cpu::available_instruction_sets();
  REQUIRE_FALSE(have.empty());
  cpu_backend();
  CHECK_THROWS_AS(cpu::use_instruction_set("mmx"), Error);
  try {
    cpu::use_instruction_set("mmx");
  } catch (const Error& e) {
    CHECK(std::string(e.what()).find("'mmx'") != std::string::npos);
    CHECK(std::string(e.what()).find(have[0]) != std::string::npos);
  }
  for (const auto& name : have) {
    cpu::use_instruction_set(name);
    CHECK(cpu_backend().instruction_set() == name);
  }
  cpu::use_instruction_set("");
  CHECK(cpu_backend().instruction_set() == have[0]);
}

TEST_CASE("products have the same bits under every instruction set") {
  const auto have = cpu::available_instruction_sets();
  Guarded x(50, 300), w(70, 300), y(50, 70), first(50, 70);
  x.randomise(1);
  w.randomise(2);
  for (size_t i = 0; i < have.size(); ++i) {
    cpu::use_instruction_set(have[i]);
    cpu_backend().linear(x.cview(), w.cview(), {}, i == 0 ? first.view() : y.view());
    if (i > 0) CHECK(same_bits(first.cview(), y.cview()));
  }
  cpu::use_instruction_set("");
}

TEST_CASE("sum of squares is in double and independent of the threads") {
  for_each_instruction_set([] {
    for (const int n : {0, 1, 17, 16384, 50001}) {
      Guarded x(1, n, 0);
      x.randomise(8);
      double expected = 0.0;
      for (const float v : x.span()) expected += static_cast<double>(v) * static_cast<double>(v);
      set_thread_count(1);
      const double one = cpu_backend().sum_of_squares(x.span());
      set_thread_count(3);
      CHECK(one == cpu_backend().sum_of_squares(x.span()));
      CHECK(std::abs(one - expected) <= 1e-12 * expected);
    }
  });
  set_thread_count(2);
}

TEST_CASE("scale and fill touch their span and nothing else") {
  for_each_instruction_set([] {
    for (const int n : {1, 15, 70000}) {
      Guarded x(1, n, 0);
      cpu_backend().fill(x.span(), 1.5f);
      cpu_backend().scale(x.span(), -2.0f);
      bool all = true;
      for (const float v : x.span()) all = all && v == -3.0f;
      CHECK(all);
      CHECK(x.intact());
    }
  });
}

TEST_CASE("the first row with a non-finite value is found") {
  for_each_instruction_set([] {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      for (const int64_t cols : {1, 16, 37}) {
        Guarded x(3000, cols);
        x.randomise(2);
        x.view().at(5, 0) = std::numeric_limits<float>::max();
        CHECK(cpu_backend().first_non_finite_row(x.cview()) == -1);
        x.view().at(2999, cols - 1) = bad;
        CHECK(cpu_backend().first_non_finite_row(x.cview()) == 2999);
        x.view().at(7, cols / 2) = bad;
        CHECK(cpu_backend().first_non_finite_row(x.cview()) == 7);
      }
    }
  });
}

TEST_CASE("a non-finite input reaches the result of its own row") {
  for_each_instruction_set([] {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      for (const int64_t at : {0, 20, 32}) {
        const Rows rows = Rows::of_lengths({2});
        Guarded logits(2, 33);
        logits.randomise(1);
        logits.view().at(1, at) = bad;
        const std::vector<int32_t> target = {3, 4};
        std::vector<double> loss(1);
        std::vector<float> row_loss(2);
        cpu_backend().cross_entropy(logits.view(), target, rows, true, loss, row_loss);
        CHECK(std::isfinite(row_loss[0]));
        CHECK_FALSE(std::isfinite(row_loss[1]));
        CHECK_FALSE(std::isfinite(loss[0]));
        CHECK(cpu_backend().first_non_finite_row(logits.cview()) == 1);

        Guarded q(2, 33), k(2, 33), v(2, 33), out(2, 33), lse(2, 1, 0);
        q.randomise(1);
        k.randomise(2);
        v.randomise(3);
        q.view().at(1, at) = bad;
        cpu_backend().attention(q.cview(), k.cview(), v.cview(), rows, 1, 1, 0.2f, out.view(), lse.view());
        CHECK(cpu_backend().first_non_finite_row(out.cview()) == 1);

        for (const Activation kind : {Activation::gelu, Activation::silu}) {
          cpu_backend().activation(kind, q.cview(), out.view());
          CHECK(cpu_backend().first_non_finite_row(out.cview()) == 1);
        }
      }
    }
  });
}

TEST_CASE("activations are finite and right far from zero") {
  for_each_instruction_set([] {
    Guarded x(1, 6), y(1, 6), dy(1, 6), dx(1, 6);
    const float values[] = {-1e30f, -200.0f, -30.0f, 30.0f, 200.0f, 1e12f};
    for (int i = 0; i < 6; ++i) {
      x.view().at(0, i) = values[i];
      dy.view().at(0, i) = 1.0f;
    }
    for (const Activation kind : {Activation::silu, Activation::gelu}) {
      cpu_backend().activation(kind, x.cview(), y.view());
      cpu_backend().activation_dx(kind, dy.cview(), x.cview(), dx.view());
      for (int i = 0; i < 6; ++i) {
        INFO(values[i]);
        CHECK(y.cview().at(0, i) == Approx(values[i] > 0 ? values[i] : 0.0f).margin(1e-6));
        CHECK(dx.cview().at(0, i) == Approx(values[i] > 0 ? 1.0f : 0.0f).margin(1e-5));
      }
    }
  });
}

}  // namespace govtrain::test
