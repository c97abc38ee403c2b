// The tape: lifetime of values and gradients, skipping, refusals, and the search for values that are not finite.
#include "autograd/tape.h"

#include <array>
#include <catch2/catch.hpp>
#include <limits>

#include "autograd/ops.h"
#include "core/error.h"

using namespace govtrain;

namespace {

// x -> linear -> gelu -> linear -> loss, over an embedding; four parameters in four blocks.
struct Chain {
  ParameterSet set;
  Parameter *embed, *first, *second, *head;
  Rows rows = Rows::of_lengths({3, 2});
  std::vector<int32_t> tokens{0, 1, 2, 3, 1};
  std::vector<int32_t> target{1, 2, 0, 3, 2};

  Chain() {
    embed = &set.add_matrix("embed", "embedding", -1, 4, 6);
    first = &set.add_matrix("first", "mlp", 0, 8, 6);
    second = &set.add_matrix("second", "mlp", 1, 6, 8);
    head = &set.add_matrix("head", "head", 2, 4, 6);
    BlockMap map;
    for (int i = 0; i < 4; ++i) {
      map.names.push_back("block." + std::to_string(i));
      const ParameterInfo info = set[static_cast<size_t>(i)].info();
      map.slices.push_back({i, i, 0, info.rows, 0, info.cols});
      for (int64_t j = 0; j < info.rows * info.cols; ++j) {
        set[static_cast<size_t>(i)].value().data()[j] = 0.1f * static_cast<float>((j * 7 + i) % 11 - 5);
      }
    }
    set.assign_blocks(map);
  }
  Losses loss(Tape& tape) {
    Var x = embedding(tape, *embed, tokens);
    Var y = linear(gelu(linear(x, *first)), *second);
    return cross_entropy(linear(add(std::move(x), std::move(y)), *head), target);
  }
};

RouteTable admit(std::vector<float> per_block, int examples = 2) {
  RouteTable table(examples, static_cast<int>(per_block.size()), 0);
  for (int e = 0; e < examples; ++e) {
    for (int b = 0; b < table.blocks; ++b) table.at(e, b) = per_block[static_cast<size_t>(b)];
  }
  return table;
}

const std::vector<float> ones{1.0f, 1.0f};

}  // namespace

TEST_CASE("what backward does not need is freed as soon as the model lets go of it") {
  Chain chain;
  const size_t before = host_allocator().live_bytes();
  const Rows rows = Rows::of_lengths({3, 2});
  {
    Tape tape(cpu_backend(), rows, Mode::eval);
    const Var x = embedding(tape, *chain.embed, chain.tokens);
    const size_t one = host_allocator().live_bytes() - before;
    Var y = linear(x, *chain.first);
    for (int i = 0; i < 5; ++i) y = gelu(y);
    y = linear(y, *chain.second);
    CHECK(host_allocator().live_bytes() - before == 2 * one);  // x and y, whatever came between
  }
  CHECK(host_allocator().live_bytes() == before);
  {
    Tape tape(cpu_backend(), rows, Mode::train);
    const Losses losses = chain.loss(tape);
    ParamGrad grads(chain.set, cpu_backend(), rows, admit({1, 1, 1, 1}));
    const size_t loaded = host_allocator().live_bytes();
    tape.backward(losses, ones, grads);
    CHECK(host_allocator().live_bytes() < loaded);
    size_t parameters = 0;  // what is left: the gradients and the losses
    for (size_t i = 0; i < chain.set.size(); ++i) parameters += static_cast<size_t>(chain.set[i].value().size()) * 4;
    CHECK(host_allocator().live_bytes() - before <= parameters + 64 * (chain.set.size() + 1));
  }
}

TEST_CASE("a value is overwritten by add only when nobody else holds it") {
  Chain chain;
  Tape tape(cpu_backend(), chain.rows, Mode::train);
  Var a = embedding(tape, *chain.embed, chain.tokens);
  Var b = embedding(tape, *chain.embed, chain.tokens);
  const float* storage = b.value().data();
  const Tensor kept = a.value().clone();
  const Var sum = add(a, std::move(b));
  CHECK(sum.value().data() == storage);
  const Var twice = add(a, a);
  CHECK(twice.value().data() != a.value().data());
  CHECK(std::equal(kept.data(), kept.data() + kept.size(), a.value().data()));
  const Var activated = gelu(a);  // backward needs a
  const float* shared = a.value().data();
  const Var over = add(Var(sum), std::move(a));
  CHECK(over.value().data() != shared);
}

TEST_CASE("backward leaves alone what somebody still holds") {
  for (const bool shared : {false, true}) {
    Chain chain;
    Parameter& gain = chain.set.add_vector("gain", "norm", 1, 8);
    std::fill_n(gain.value().data(), 8, 1.0f);
    chain.set.assign_blocks(
        {{"all"},
         {{0, 0, 0, 4, 0, 6}, {1, 0, 0, 8, 0, 6}, {2, 0, 0, 6, 0, 8}, {3, 0, 0, 4, 0, 6}, {4, 0, 0, 1, 0, 8}}});
    Tape tape(cpu_backend(), chain.rows, Mode::train);
    std::vector<Var> held;
    const auto hold = [&](Var x) {
      if (shared) held.push_back(x);
      return x;
    };
    Var x = hold(embedding(tape, *chain.embed, chain.tokens));
    Var g = hold(linear(x, *chain.first));
    Var n = hold(rms_norm(hold(gated(Activation::silu, g, hold(gelu(g)))), gain, 1e-5f));
    Var y = hold(add(std::move(x), hold(linear(n, *chain.second))));
    Losses losses = cross_entropy(hold(linear(y, *chain.head)), chain.target);
    std::vector<Tensor> before;
    for (const Var& v : held) before.push_back(v.value().clone());
    static std::vector<float> first_gradient;
    ParamGrad grads(chain.set, cpu_backend(), chain.rows, RouteTable(2, 1, 1.0f));
    tape.backward(losses, ones, grads);
    for (size_t i = 0; i < held.size(); ++i) {
      CHECK(std::equal(before[i].data(), before[i].data() + before[i].size(), held[i].value().data()));
    }
    std::vector<float> gradient(chain.first->grad().data(), chain.first->grad().data() + 48);
    if (shared) CHECK(gradient == first_gradient);
    first_gradient = gradient;
  }
}

TEST_CASE("nothing is computed below the lowest block that admits anybody") {
  // A value that is not finite in a parameter that backward must not reach: with skipping, no gradient sees it.
  for (int lowest = 0; lowest < 4; ++lowest) {
    Chain chain;
    std::vector<float> admitted(4, 0.0f);
    admitted[static_cast<size_t>(lowest)] = 1.0f;
    admitted[3] = 1.0f;
    Tape tape(cpu_backend(), chain.rows, Mode::train);
    tape.watch_finite();
    const Losses losses = chain.loss(tape);
    if (lowest >= 2) chain.first->value().data()[0] = std::numeric_limits<float>::quiet_NaN();  // after the forward
    if (lowest >= 3) chain.second->value().data()[0] = std::numeric_limits<float>::quiet_NaN();
    ParamGrad grads(chain.set, cpu_backend(), chain.rows, admit(admitted));
    tape.backward(losses, ones, grads);
    CHECK_FALSE(tape.first_non_finite());
    for (int i = 0; i < 4; ++i) {
      const Parameter& p = chain.set[static_cast<size_t>(i)];
      CHECK(p.touched(0) == (admitted[static_cast<size_t>(i)] != 0));
      CHECK((cpu_backend().sum_of_squares({p.grad().data(), static_cast<size_t>(p.grad().size())}) > 0) ==
            p.touched(0));
    }
  }
}

// x itself; tells how many rows of a gradient came by.
Var spy(Var x, int64_t& rows, int& examples) {
  Tape& tape = x.tape();
  const int node = x.node();
  return tape.record("spy", x.take(), {node}, {}, [node, &rows, &examples](Backward& back, const Tensor& dy) {
    rows = dy.rows();
    examples = back.rows().examples();
    back.give(node, dy);
  });
}

TEST_CASE("backward goes over the leading examples that are admitted at an op or below it, with the same bits") {
  // Per block: the weights of the two examples, known before the forward pass and given to backward.
  struct Routes {
    std::vector<std::array<float, 2>> known, given;
    int64_t low, high;  // rows that pass below `first`, and between `second` and the head
  };
  const std::vector<Routes> all{
      {{{1, 0}, {1, 0}, {1, 1}, {1, 1}}, {{1, 0}, {1, 0}, {1, 1}, {1, 1}}, 3, 5},
      {{{1, 0}, {1, 0}, {1, 0}, {1, 1}}, {{1, 0}, {1, 0}, {1, 0}, {1, 1}}, 3, 3},
      {{{1, 0}, {1, 0}, {1, 1}, {1, 1}}, {{1, 0}, {0, 0}, {1, 0}, {1, 1}}, 3, 3},  // completed later
      {{{0, 1}, {1, 0}, {1, 0}, {1, 0}}, {{0, 1}, {1, 0}, {1, 0}, {1, 0}}, 5, 5},  // not in order
  };
  for (const Routes& routes : all) {
    std::vector<std::vector<float>> gradients;
    for (const bool skip : {false, true}) {
      Chain chain;
      const auto table = [](const std::vector<std::array<float, 2>>& weights) {
        RouteTable t(2, 4, 0);
        for (int b = 0; b < 4; ++b) {
          for (int e = 0; e < 2; ++e) t.at(e, b) = weights[static_cast<size_t>(b)][static_cast<size_t>(e)];
        }
        return t;
      };
      const ParamGrad known(chain.set, cpu_backend(), chain.rows, table(routes.known));
      Tape tape(cpu_backend(), chain.rows, Mode::train, {}, skip ? &known : nullptr);
      int64_t low = 0, high = 0;
      int low_examples = 0, high_examples = 0;
      Var x = spy(embedding(tape, *chain.embed, chain.tokens), low, low_examples);
      Var y = linear(gelu(linear(x, *chain.first)), *chain.second);
      y = spy(add(std::move(x), std::move(y)), high, high_examples);
      const Losses losses = cross_entropy(linear(y, *chain.head), chain.target);
      ParamGrad grads(chain.set, cpu_backend(), chain.rows, table(routes.given));
      tape.backward(losses, ones, grads);
      CHECK(low == (skip ? routes.low : 5));
      CHECK(high == (skip ? routes.high : 5));
      CHECK(low_examples == (low == 5 ? 2 : 1));
      CHECK(high_examples == (high == 5 ? 2 : 1));
      std::vector<float> gradient;
      for (size_t i = 0; i < 4; ++i) {
        const Tensor& g = chain.set[i].grad();
        gradient.insert(gradient.end(), g.data(), g.data() + g.size());
      }
      gradients.push_back(gradient);
    }
    CHECK(gradients[0] == gradients[1]);
  }
}

TEST_CASE("an example whose rows were left out cannot be admitted afterwards") {
  Chain chain;
  RouteTable narrow = admit({1, 1, 1, 1});
  narrow.at(1, 1) = narrow.at(1, 0) = 0;
  const ParamGrad known(chain.set, cpu_backend(), chain.rows, narrow);
  Tape tape(cpu_backend(), chain.rows, Mode::train, {}, &known);
  const Losses losses = chain.loss(tape);
  ParamGrad grads(chain.set, cpu_backend(), chain.rows, admit({1, 1, 1, 1}));
  CHECK_THROWS_WITH(tape.backward(losses, ones, grads),
                    Catch::Contains("'embed' admits example 1, but its use was recorded for the first 1 only"));
}

TEST_CASE("nobody admitted anywhere: backward does nothing at all") {
  Chain chain;
  Tape tape(cpu_backend(), chain.rows, Mode::train);
  const Losses losses = chain.loss(tape);
  ParamGrad grads(chain.set, cpu_backend(), chain.rows, admit({0, 0, 0, 0}));
  tape.backward(losses, ones, grads);
  for (size_t i = 0; i < 4; ++i) CHECK_FALSE(chain.set[i].touched(0));
  for (const double n : grads.realised_norms()) CHECK(n == 0);
}

TEST_CASE("the first value that is not finite is found, with its op, block and example") {
  Chain chain;
  chain.second->value().data()[3] = std::numeric_limits<float>::infinity();
  Tape tape(cpu_backend(), chain.rows, Mode::train);
  tape.watch_finite();
  const Losses losses = chain.loss(tape);
  REQUIRE(tape.first_non_finite());
  CHECK(tape.first_non_finite()->op == "linear");
  CHECK(tape.first_non_finite()->parameter == "second");
  CHECK(tape.first_non_finite()->block == 2);
  CHECK_FALSE(tape.first_non_finite()->in_backward);

  Chain one_row;
  one_row.embed->value().view().at(3, 0) = std::numeric_limits<float>::quiet_NaN();  // token 3 stands in example 1
  Tape second(cpu_backend(), one_row.rows, Mode::eval);
  second.watch_finite();
  (void)one_row.loss(second);
  REQUIRE(second.first_non_finite());
  CHECK(second.first_non_finite()->op == "embedding");
  CHECK(second.first_non_finite()->example == 1);
  CHECK(second.first_non_finite()->row == 3);

  Chain back;
  Tape third(cpu_backend(), back.rows, Mode::train);
  third.watch_finite();
  const Losses fine = back.loss(third);
  back.second->value().data()[0] = std::numeric_limits<float>::quiet_NaN();
  ParamGrad grads(back.set, cpu_backend(), back.rows, admit({1, 1, 1, 1}));
  third.backward(fine, ones, grads);
  REQUIRE(third.first_non_finite());
  CHECK(third.first_non_finite()->in_backward);
  CHECK(third.first_non_finite()->op == "gelu");
  CHECK(third.first_non_finite()->parameter == "first");
}

TEST_CASE("a tape goes back once, and only over losses of its own") {
  Chain chain;
  Tape tape(cpu_backend(), chain.rows, Mode::train);
  const Losses losses = chain.loss(tape);
  ParamGrad grads(chain.set, cpu_backend(), chain.rows, admit({1, 1, 1, 1}));
  CHECK_THROWS_AS(tape.backward(losses, std::vector<float>{1.0f}, grads), Error);
  tape.backward(losses, ones, grads);
  CHECK_THROWS_AS(tape.backward(losses, ones, grads), Error);
  Tape eval(cpu_backend(), chain.rows, Mode::eval);
  const Losses of_eval = chain.loss(eval);
  CHECK_THROWS_AS(eval.backward(of_eval, ones, grads), Error);
  CHECK_THROWS_AS(Tape(cpu_backend(), chain.rows, Mode::train, {1, 1, {7}}), Error);
}

TEST_CASE("a very long chain needs no stack") {
  ParameterSet set;
  Parameter& embed = set.add_matrix("embed", "embedding", -1, 2, 2);
  std::fill_n(embed.value().data(), 4, 0.5f);
  const Rows rows = Rows::of_lengths({1});
  Tape tape(cpu_backend(), rows, Mode::train);
  const std::vector<int32_t> token{1};
  Var x = embedding(tape, embed, token);
  for (int i = 0; i < 100000; ++i) x = silu(x);
  const Losses losses = cross_entropy(std::move(x), token);
  ParamGrad grads(set, cpu_backend(), rows, RouteTable(1, 1, 1.0f));
  tape.backward(losses, std::vector<float>{1.0f}, grads);
  CHECK(set[0].touched(0));
}

TEST_CASE("ops refuse what does not fit, and say what they expected") {
  ParameterSet set;
  Parameter& w = set.add_matrix("w", "mlp", 0, 4, 6);
  Parameter& v = set.add_vector("v", "norm", 0, 6);
  Parameter& table = set.add_matrix("table", "embedding", -1, 5, 6);
  Parameter& wide = set.add_matrix("wide", "embedding", -1, 5, 7);
  for (size_t i = 0; i < set.size(); ++i) std::fill_n(set[i].value().data(), set[i].value().size(), 0.1f);
  const Rows rows = Rows::of_lengths({2, 1});
  Tape tape(cpu_backend(), rows, Mode::train);
  const std::vector<int32_t> tokens{0, 4, 1};
  const Var x = embedding(tape, table, tokens);
  const Var y = linear(x, w);
  const std::vector<int32_t> short_index{0};
  const std::vector<int32_t> far{0, 5, 1};
  const std::vector<int32_t> class4{0, 4, 1};
  using Catch::Contains;
  CHECK_THROWS_WITH(linear(y, w), Contains("[linear] x for 'w' [4, 6]; expected [rows, 6], got [3, 4]"));
  CHECK_THROWS_WITH(linear(x, v), Contains("[linear]"));
  CHECK_THROWS_WITH(linear(x, w, &v), Contains("'v'; expected [4], got [1, 6]"));
  CHECK_THROWS_WITH(layer_norm(y, v, nullptr, 1e-5f), Contains("[layer_norm] 'v'; expected [4]"));
  CHECK_THROWS_WITH(rms_norm(x, w, 1e-5f), Contains("[rms_norm] 'w'"));
  CHECK_THROWS_WITH(add(x, y), Contains("[add] shapes"));
  CHECK_THROWS_WITH(gated(Activation::silu, x, y), Contains("[gated] shapes"));
  CHECK_THROWS_WITH(embedding(tape, table, short_index), Contains("tokens; expected 3, got 1"));
  CHECK_THROWS_WITH(embedding(tape, table, far), Contains("token; expected in [0, 5), got 5 at row 1"));
  CHECK_THROWS_WITH(embedding(tape, table, tokens, &wide, tokens), Contains("positions 'wide'"));
  CHECK_THROWS_WITH(embedding(tape, table, tokens, &table, far), Contains("position; expected in [0, 5)"));
  CHECK_THROWS_WITH(cross_entropy(y, class4), Contains("target; expected < 4, got 4 at row 1"));
  CHECK_THROWS_WITH(cross_entropy(y, short_index), Contains("[cross_entropy] expected 3 rows"));
  CHECK_THROWS_WITH(dropout(x, 1.0f), Contains("rate; expected in [0, 1), got 1"));
  CHECK_THROWS_WITH(dropout(x, 0.5f), Contains("expected example ids"));
  CHECK_THROWS_WITH(attention(x, x, x, {4, 1, 0, {}}), Contains("[attention]"));
  CHECK_THROWS_WITH(attention(x, x, x, {2, 2, 10000, {}}), Contains("even head_dim, got 3"));
  CHECK_THROWS_WITH(attention(x, x, x, {3, 2, 0, {}}), Contains("divide heads"));
  CHECK_THROWS_WITH(attention(x, x, x, {3, 3, 10000, short_index}), Contains("start; expected 2 positions, got 1"));
  CHECK_THROWS_WITH(gelu(Var()), Contains("[gelu] expected a value"));
  CHECK_THROWS_WITH(take_rows(x, short_index), Contains("eval mode"));
}
