// The whole model against an independent implementation in double: logits, losses, and every gradient by name.
#include <cmath>

#include "tests/models/random_model.h"
#include "tests/reference/model.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

reference::Values values_of(const Transformer& model) {
  reference::Values out;
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const Parameter& p = model.parameters()[i];
    reference::Matrix m(p.rows(), p.cols());
    for (size_t j = 0; j < m.v.size(); ++j) m.v[j] = static_cast<double>(p.value().data()[j]);
    out[p.name()] = std::move(m);
  }
  return out;
}

double largest(const std::vector<double>& v) {
  double out = 0;
  for (const double x : v) out = std::max(out, std::abs(x));
  return out;
}

double largest_error(const float* got, const std::vector<double>& want) {
  double out = 0;
  for (size_t j = 0; j < want.size(); ++j) out = std::max(out, std::abs(static_cast<double>(got[j]) - want[j]));
  return out;
}

}  // namespace

TEST_CASE("the reference's gradients are derivatives") {
  // Central differences in double of the reference itself, so that what follows compares with a proven thing.
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    Case c = random_case(seed);
    c.config.dropout = 0;
    INFO(describe(c));
    reference::Values values = values_of(*make_model(c));
    const Example& x = c.examples.front();
    const auto result = reference::transformer(c.config, values, x.tokens, x.target, 2);
    Random r(seed);
    for (auto& [name, value] : values) {
      INFO(name);
      for (int n = 0; n < 3; ++n) {
        const auto j = static_cast<size_t>(r.below(static_cast<int>(value.v.size())));
        const double saved = value.v[j];
        const double h = 1e-5;
        value.v[j] = saved + h;
        const double up = reference::transformer(c.config, values, x.tokens, x.target, 2).nll;
        value.v[j] = saved - h;
        const double down = reference::transformer(c.config, values, x.tokens, x.target, 2).nll;
        value.v[j] = saved;
        const double want = (up - down) / (2 * h);
        CHECK(std::abs(result.grad.at(name).v[j] - want) < 1e-6 * (1 + std::abs(want)));
      }
    }
  }
}

TEST_CASE("logits, losses and routed gradients are those of the double reference, by name") {
  for (uint64_t seed = 100; seed < 140; ++seed) {
    Case c = random_case(seed);
    c.config.dropout = 0;
    INFO(describe(c));
    const auto model = make_model(c);
    const Outcome outcome = accumulate(*model, c.examples, 1.0f);
    const Batch batch(c.examples, c.blocks.blocks());
    Tape tape(cpu_backend(), batch.rows, Mode::eval);
    const Var logits = model->forward(tape, {batch.tokens, {}});

    const reference::Values values = values_of(*model);
    reference::Values want;
    for (const auto& [name, value] : values) want[name] = reference::Matrix(value.rows, value.cols);
    std::vector<double> norm2(outcome.norms.size(), 0.0);
    std::vector<double> whole2(c.examples.size(), 0.0);  // of all that the example would teach
    const auto blocks = static_cast<size_t>(c.blocks.blocks());
    for (size_t e = 0; e < c.examples.size(); ++e) {
      const Example& x = c.examples[e];
      const auto one = reference::transformer(c.config, values, x.tokens, x.target);
      CHECK(std::abs(outcome.nll[e] - one.nll) < 2e-5 * (1 + std::abs(one.nll)));
      CHECK(largest_error(logits.view().row(batch.rows.begin(static_cast<int>(e))), one.logits.v) <
            1e-5 * largest(one.logits.v));
      for (size_t i = 0; i < model->parameters().size(); ++i) {
        const Parameter& p = model->parameters()[i];
        for (const Parameter::Slice& s : p.slices()) {
          const auto b = static_cast<size_t>(s.block);
          for (int64_t r = s.row_begin; r < s.row_end; ++r) {
            for (int64_t col = s.col_begin; col < s.col_end; ++col) {
              const double g = static_cast<double>(x.weight[b]) * one.grad.at(p.name()).at(r, col);
              want[p.name()].at(r, col) += g;
              norm2[e * blocks + b] += g * g;
              whole2[e] += one.grad.at(p.name()).at(r, col) * one.grad.at(p.name()).at(r, col);
            }
          }
        }
      }
    }
    // Relative to the parameter's own gradient, with a floor relative to the model's: some gradients are sums that
    // cancel (a key bias without rotary positions has gradient 0), and the rounding of their terms remains.
    double model_largest = 0;
    for (const auto& [name, g] : want) model_largest = std::max(model_largest, largest(g.v));
    for (size_t i = 0; i < model->parameters().size(); ++i) {
      const Parameter& p = model->parameters()[i];
      const std::vector<double>& g = want[p.name()].v;
      INFO(p.name() << ", largest " << largest(g) << ", of the model " << model_largest);
      CHECK(largest_error(p.grad().data(), g) <= 1e-4 * largest(g) + 1e-6 * model_largest);
    }
    for (size_t j = 0; j < norm2.size(); ++j) {
      const double floor = norm2[j] == 0 ? 0 : 1e-6 * std::sqrt(whole2[j / blocks]);  // the same floor, for one block
      CHECK(std::abs(outcome.norms[j] - std::sqrt(norm2[j])) <= 1e-4 * std::sqrt(norm2[j]) + floor);
    }
  }
}

TEST_CASE("an example that starts later in its document keeps its positions") {
  for (uint64_t seed = 200; seed < 210; ++seed) {
    Case c = random_case(seed);
    c.config.dropout = 0;
    INFO(describe(c));
    const auto model = make_model(c);
    const Batch batch(c.examples, c.blocks.blocks());
    std::vector<int32_t> start;
    for (size_t e = 0; e < c.examples.size(); ++e) start.push_back(static_cast<int32_t>(e % 4) * 3);
    Tape tape(cpu_backend(), batch.rows, Mode::eval);
    const Losses losses = model->loss(tape, {batch.tokens, start}, batch.target);
    for (size_t e = 0; e < c.examples.size(); ++e) {
      const Example& x = c.examples[e];
      const auto one = reference::transformer(c.config, values_of(*model), x.tokens, x.target, start[e]);
      CHECK(std::abs(losses.nll()[e] - one.nll) < 2e-5 * (1 + std::abs(one.nll)));
    }
  }
}
