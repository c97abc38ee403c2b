// The checks that every line of op_cases.h goes through, on any backend.
#pragma once

#include <catch2/catch.hpp>
#include <deque>

#include "core/buffer.h"
#include "tests/kernels/guarded.h"
#include "tests/kernels/op_cases.h"

namespace govtrain::test {

inline Batch batch_of(const std::vector<int32_t>& lengths) {
  Batch b{Rows::of_lengths(lengths), {}};
  for (size_t e = 0; e < lengths.size(); ++e) b.ids.push_back(1000 + 17 * e);
  return b;
}

// The buffers of one run of one op.
struct Run {
  std::deque<Guarded> in, out, din;
  std::deque<Guarded> dout;

  Views ins() const { return views(in); }
  Views outs() const { return views(out); }
  static Views views(const std::deque<Guarded>& d) {
    Views v;
    for (const auto& g : d) v.push_back(g.cview());
    return v;
  }
  static MutViews mutable_views(std::deque<Guarded>& d) {
    MutViews v;
    for (auto& g : d) v.push_back(g.view());
    return v;
  }
};

inline void add_port(std::deque<Guarded>& to, const Port& p, const Batch& b) {
  to.emplace_back(p.rows == 0 ? b.rows.total() : p.rows, p.cols, p.cols == 1 ? 0 : 3);
}

inline Run prepare(const OpCase& op, const Batch& b, uint64_t seed) {
  Run r;
  for (const Port& p : op.inputs) {
    add_port(r.in, p, b);
    r.in.back().randomise(++seed);
    add_port(r.din, p, b);
  }
  for (const Port& p : op.outputs) add_port(r.out, p, b);
  add_port(r.dout, op.outputs[0], b);
  r.dout.back().randomise(++seed);
  return r;
}

// The buffers of a run where a backend's allocator has its memory: themselves on the host, else a copy with its guards.
class OnDevice {
 public:
  OnDevice(Backend& k, std::deque<Guarded>& all) : allocator_(&k.allocator()), all_(&all) {
    if (allocator_->host()) return;
    for (Guarded& g : all) {
      copies_.emplace_back(std::span<const float>(g.storage()), *allocator_);
    }
  }
  MutViews views() {
    MutViews v;
    for (size_t i = 0; i < all_->size(); ++i) {
      Guarded& g = (*all_)[i];
      v.push_back(allocator_->host()
                      ? g.view()
                      : MutView(copies_[i].span().data() + g.offset(), g.cview().rows, g.cview().cols, g.ld()));
    }
    return v;
  }
  // What stands there now goes back to the buffers.
  void fetch() {
    for (size_t i = 0; i < copies_.size(); ++i) {
      const std::vector<float> now = copies_[i].host();
      std::copy(now.begin(), now.end(), (*all_)[i].storage().begin());
    }
  }

 private:
  Allocator* allocator_;
  std::deque<Guarded>* all_;
  std::vector<Buffer<float>> copies_;
};

inline void execute(Backend& k, const OpCase& op, const Batch& b, Run& r) {
  OnDevice in(k, r.in), out(k, r.out), din(k, r.din), dout(k, r.dout);
  const auto readable = [](const MutViews& v) { return Views(v.begin(), v.end()); };
  op.forward(k, b, readable(in.views()), out.views());
  if (op.backward) op.backward(k, b, readable(in.views()), readable(out.views()), dout.views()[0], din.views());
  for (OnDevice* d : {&in, &out, &din, &dout}) d->fetch();
}

inline void check_intact(const Run& r) {
  for (const auto* d : {&r.in, &r.out, &r.din, &r.dout}) {
    for (const Guarded& g : *d) CHECK(g.intact());
  }
}

inline std::vector<Matrix> matrices(const Views& views) {
  std::vector<Matrix> m;
  for (const View& v : views) m.emplace_back(v);
  return m;
}

// True when every per-row result of example e in `a` has the bits of example f in `b`.
inline bool same_rows(const OpCase& op, const Run& a, const Batch& ba, int e, const Run& b, const Batch& bb, int f) {
  const auto same = [&](const std::deque<Guarded>& x, const std::deque<Guarded>& y, const std::vector<Port>& ports) {
    for (size_t i = 0; i < ports.size(); ++i) {
      if (ports[i].rows != 0) continue;
      const View p = x[i].cview().row_range(ba.rows.begin(e), ba.rows.length(e));
      const View q = y[i].cview().row_range(bb.rows.begin(f), bb.rows.length(f));
      if (!same_bits(p, q)) return false;
    }
    return true;
  };
  return same(a.out, b.out, op.outputs) && same(a.din, b.din, op.inputs);
}

// The part of `whole` that belongs to the examples `order`, as a run of its own.
inline Run select(const OpCase& op, const Batch& b, const Run& whole, const std::vector<int>& order, Batch& part) {
  std::vector<int32_t> lengths;
  part.ids.clear();
  for (const int e : order) {
    lengths.push_back(b.rows.length(e));
    part.ids.push_back(b.ids[static_cast<size_t>(e)]);
  }
  part.rows = Rows::of_lengths(lengths);
  Run r = prepare(op, part, 1);
  const auto copy = [&](const Guarded& from, Guarded& to, bool per_row) {
    if (!per_row) {
      for (int64_t t = 0; t < from.cview().rows; ++t)
        std::copy_n(from.cview().row(t), from.cview().cols, to.view().row(t));
      return;
    }
    for (size_t i = 0; i < order.size(); ++i) {
      for (int t = 0; t < part.rows.length(static_cast<int>(i)); ++t) {
        std::copy_n(from.cview().row(b.rows.begin(order[i]) + t), from.cview().cols,
                    to.view().row(part.rows.begin(static_cast<int>(i)) + t));
      }
    }
  };
  for (size_t i = 0; i < r.in.size(); ++i) copy(whole.in[i], r.in[i], op.inputs[i].rows == 0);
  copy(whole.dout[0], r.dout[0], op.outputs[0].rows == 0);
  return r;
}

// `unit`: to what relative error the backend rounds the operands of products.
inline void check_forward(Backend& k, const OpCase& op, const Batch& b, double unit = 0.0) {
  Run r = prepare(op, b, 100);
  execute(k, op, b, r);
  check_intact(r);
  const auto truth = op.truth(b, matrices(r.ins()));
  for (size_t i = 0; i < truth.size(); ++i) {
    double worst = 0.0;
    for (int64_t t = 0; t < truth[i].rows; ++t) {
      for (int64_t j = 0; j < truth[i].cols; ++j) {
        const double error = std::abs(static_cast<double>(r.out[i].cview().at(t, j)) - truth[i].at(t, j));
        worst = std::isnan(error) ? 1e300 : std::max(worst, error);
      }
    }
    INFO("output " << i);
    CHECK(worst <= op.tolerance + rounded_products(unit, op.products));
  }
}

inline void check_gradient(Backend& k, const OpCase& op, const Batch& b, double unit = 0.0) {
  Run r = prepare(op, b, 200);
  execute(k, op, b, r);
  auto in = matrices(r.ins());
  const Matrix dout(r.dout[0].cview());
  const auto loss = [&] {
    const Matrix y = op.truth(b, in)[0];
    double sum = 0.0;
    for (size_t i = 0; i < y.v.size(); ++i) sum += y.v[i] * dout.v[i];
    return sum;
  };
  const Rng pick(5, Stream::test);
  uint64_t draw = 0;
  for (size_t i = 0; i < in.size(); ++i) {
    if (op.inputs[i].cols == 1 && i > 0) continue;  // an index
    const auto size = in[i].v.size();
    double worst = 0.0;
    for (size_t n = 0; n < std::min<size_t>(size, 16); ++n) {
      const size_t at = size <= 16 ? n : pick.bits(draw++) % size;
      const double kept = in[i].v[at];
      constexpr double kStep = 1e-5;
      in[i].v[at] = kept + kStep;
      const double up = loss();
      in[i].v[at] = kept - kStep;
      const double down = loss();
      in[i].v[at] = kept;
      const auto cols = in[i].cols;
      const double got =
          static_cast<double>(r.din[i].cview().at(static_cast<int64_t>(at) / cols, static_cast<int64_t>(at) % cols));
      const double error = std::abs((up - down) / (2 * kStep) - got);
      worst = std::isnan(error) ? 1e300 : std::max(worst, error);
    }
    INFO("gradient of input " << i);
    // 1e-7: the difference quotient itself
    CHECK(worst <= op.grad_tolerance + 1e-7 + rounded_products(unit, op.grad_products));
  }
}

// An example's rows have the same bits alone, in the opposite order, beside others of other content, and in each of
// `conditions` rounds after change(round): threads, schedules.
template <class Change>
void check_isolation(Backend& k, const OpCase& op, const Batch& b, int conditions, const Change& change) {
  const int examples = b.rows.examples();
  Run whole = prepare(op, b, 300);
  execute(k, op, b, whole);
  // Again, under other conditions.
  for (int round = 0; round < conditions; ++round) {
    change(round);
    Run again = prepare(op, b, 300);
    execute(k, op, b, again);
    for (size_t i = 0; i < whole.out.size(); ++i) CHECK(same_bits(whole.out[i].cview(), again.out[i].cview()));
    for (size_t i = 0; i < whole.din.size(); ++i) CHECK(same_bits(whole.din[i].cview(), again.din[i].cview()));
  }
  // Alone, and in the opposite order.
  std::vector<int> reversed;
  for (int e = examples - 1; e >= 0; --e) {
    reversed.push_back(e);
    Batch alone;
    Run r = select(op, b, whole, {e}, alone);
    execute(k, op, alone, r);
    CHECK(same_rows(op, whole, b, e, r, alone, 0));
  }
  Batch turned;
  Run r = select(op, b, whole, reversed, turned);
  execute(k, op, turned, r);
  for (int e = 0; e < examples; ++e) CHECK(same_rows(op, whole, b, e, r, turned, examples - 1 - e));
  // Other content, NaN included, in example 0.
  for (const float value : {0.37f, std::numeric_limits<float>::quiet_NaN()}) {
    Run changed = prepare(op, b, 300);
    for (size_t i = 0; i < changed.in.size(); ++i) {
      if (op.inputs[i].rows != 0) continue;
      const bool index = op.inputs[i].cols == 1 && i > 0;
      for (int t = 0; t < b.rows.end(0); ++t)
        std::fill_n(changed.in[i].view().row(t), op.inputs[i].cols, index ? 0.37f : value);
    }
    execute(k, op, b, changed);
    for (int e = 1; e < examples; ++e) CHECK(same_rows(op, whole, b, e, changed, b, e));
  }
}

}  // namespace govtrain::test
