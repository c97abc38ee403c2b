// The host backend: forwards each method to its kernel file.
#include "kernels/backend.h"

#include <cstdlib>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/ops.h"

namespace govtrain {
namespace {

// body(place of the first element, how many) over the runs of elements that lie side by side.
template <class Body>
void for_runs(View shape, const Body& body) {
  if (shape.contiguous()) return body(int64_t{0}, static_cast<size_t>(shape.size()));
  for (int64_t r = 0; r < shape.rows; ++r) body(r * shape.ld, static_cast<size_t>(shape.cols));
}

class CpuBackend final : public Backend {
 public:
  CpuBackend() {
    const char* wanted = std::getenv("GOVTRAIN_ISA");
    cpu::use_instruction_set(wanted == nullptr ? "" : wanted);
  }

  std::string name() const override { return "cpu"; }
  std::string instruction_set() const override { return cpu::instruction_set(); }
  Allocator& allocator() override { return host_allocator(); }

  void linear(View x, View w, std::span<const float> bias, MutView y) override { cpu::linear(x, w, bias, y); }
  void linear_dx(View dy, View w, MutView dx, bool add) override { cpu::linear_dx(dy, w, dx, add); }

  void contract(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad) override {
    cpu::contract(factors, rows, how, grad);
  }
  void contract_plain(std::span<const Factor> factors, MutView grad) override { cpu::contract_plain(factors, grad); }

  void attention(View q, View k, View v, const Rows& rows, int heads, int kv_heads, float scale, MutView out,
                 MutView lse) override {
    cpu::attention(q, k, v, rows, heads, kv_heads, scale, out, lse);
  }
  void attention_backward(View q, View k, View v, View out, View lse, View dout, const Rows& rows, int heads,
                          int kv_heads, float scale, MutView dq, MutView dk, MutView dv) override {
    cpu::attention_backward(q, k, v, out, lse, dout, rows, heads, kv_heads, scale, dq, dk, dv);
  }
  void rope(MutView x, const Rows& rows, std::span<const int32_t> start, int head_dim, float base,
            int direction) override {
    cpu::rope(x, rows, start, head_dim, base, direction);
  }

  void layer_norm(View x, std::span<const float> gain, std::span<const float> bias, float eps, MutView y,
                  std::span<float> mean, std::span<float> rstd) override {
    cpu::layer_norm(x, gain, bias, eps, y, mean, rstd);
  }
  void layer_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> mean,
                     std::span<const float> rstd, MutView dx, bool add) override {
    cpu::layer_norm_dx(dy, x, gain, mean, rstd, dx, add);
  }
  void rms_norm(View x, std::span<const float> gain, float eps, MutView y, std::span<float> rstd) override {
    cpu::rms_norm(x, gain, eps, y, rstd);
  }
  void rms_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> rstd, MutView dx,
                   bool add) override {
    cpu::rms_norm_dx(dy, x, gain, rstd, dx, add);
  }

  void activation(Activation kind, View x, MutView y) override { cpu::activation(kind, x, y); }
  void activation_dx(Activation kind, View dy, View x, MutView dx) override { cpu::activation_dx(kind, dy, x, dx); }
  void gated(Activation kind, View gate, View up, MutView y) override { cpu::gated(kind, gate, up, y); }
  void gated_dx(Activation kind, View dy, View gate, View up, MutView dgate, MutView dup) override {
    cpu::gated_dx(kind, dy, gate, up, dgate, dup);
  }
  void add(View a, View b, MutView y) override { cpu::add(a, b, y); }
  void accumulate(View x, MutView y) override { cpu::accumulate(x, y); }
  void scale_rows(View x, std::span<const float> per_row, MutView y) override { cpu::scale_rows(x, per_row, y); }
  void dropout(View x, const Rows& rows, const DropoutKey& key, float rate, MutView y) override {
    cpu::dropout(x, rows, key, rate, y);
  }

  void embedding(View table, std::span<const int32_t> index, MutView y, bool add) override {
    cpu::embedding(table, index, y, add);
  }
  void cross_entropy(MutView logits, std::span<const int32_t> target, const Rows& rows, bool dlogits_in_place,
                     std::span<double> loss, std::span<float> row_loss) override {
    cpu::cross_entropy(logits, target, rows, dlogits_in_place, loss, row_loss);
  }

  void adam(std::span<const AdamUpdate> updates) override {
    for (const AdamUpdate& u : updates) {
      for_runs(u.value, [&](int64_t at, size_t n) {
        cpu::adam({u.value.data + at, n}, {u.grad + at, n}, {u.m + at, n}, {u.v + at, n}, u.options);
      });
    }
  }
  void sgd(std::span<const SgdUpdate> updates) override {
    for (const SgdUpdate& u : updates) {
      for_runs(u.value, [&](int64_t at, size_t n) {
        const std::span<float> momentum = u.momentum == nullptr ? std::span<float>() : std::span(u.momentum + at, n);
        cpu::sgd({u.value.data + at, n}, {u.grad + at, n}, momentum, u.options);
      });
    }
  }
  void scale(std::span<const Scaling> pieces) override {
    for (const Scaling& p : pieces) {
      for_runs(p.x, [&](int64_t at, size_t n) { cpu::scale({p.x.data + at, n}, p.factor); });
    }
  }
  void fill(std::span<const MutView> pieces, float value) override {
    for (const MutView& x : pieces) {
      for_runs(x, [&](int64_t at, size_t n) { cpu::fill({x.data + at, n}, value); });
    }
  }
  void add_squares(std::span<const View> x, std::span<const int32_t> into, std::span<double> sum) override {
    for (size_t i = 0; i < x.size(); ++i) {
      double& total = sum[static_cast<size_t>(into[i])];
      for_runs(x[i], [&](int64_t at, size_t n) { total += cpu::sum_of_squares({x[i].data + at, n}); });
    }
  }
  int64_t first_non_finite_row(View x) override { return cpu::first_non_finite_row(x); }
};

}  // namespace

Backend& cpu_backend() {
  static CpuBackend backend;
  return backend;
}

}  // namespace govtrain
