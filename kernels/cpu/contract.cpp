// The routed kernel: parameter gradients of outer and scatter factors, example by example, in tiles of registers.
// For each tile of the parameter: the example's sum over its factors (one chain of fused multiply-adds in row order,
// scatter rows added in row order), then its squares into the norm, then the weighted add. An example that does not
// take part is not even read.
#include <vector>

#include "kernels/cpu/contract_plan.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/contract.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>

#include "kernels/cpu/micro-inl.h"

HWY_BEFORE_NAMESPACE();
namespace govtrain::cpu::HWY_NAMESPACE {

// What follows an example's sum.
struct Ending {
  float weight;    // 0: grad and norm are left alone
  float withheld;  // 0: withheld_grad is left alone
  bool norm;
};

// grad += weight * tile.
template <int NV>
HWY_INLINE void add_tile(const Tile<NV>& t, float weight, float* grad, int64_t ld) {
  const V w = hn::Set(kD, weight);
#pragma GCC unroll 16
  for (int m = 0; m < kMR; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      float* g = grad + m * ld + j * kLanes;
      hn::StoreU(hn::MulAdd(w, t.v[m][j], hn::LoadU(kD, g)), kD, g);
    }
  }
}

// Sum of the tile's squares: four chains per lane, then the lanes.
template <int NV>
HWY_INLINE float square_tile(const Tile<NV>& t) {
  V n[4] = {hn::Zero(kD), hn::Zero(kD), hn::Zero(kD), hn::Zero(kD)};
#pragma GCC unroll 16
  for (int m = 0; m < kMR; ++m) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) n[(m * NV + j) % 4] = hn::MulAdd(t.v[m][j], t.v[m][j], n[(m * NV + j) % 4]);
  }
  return sum_lanes(hn::Add(hn::Add(n[0], n[1]), hn::Add(n[2], n[3])));
}

template <int NV>
HWY_INLINE double end_tile(const Tile<NV>& t, const Ending& end, float* grad, int64_t ld, float* kept,
                           int64_t ld_kept) {
  if (end.withheld != 0.0f) add_tile(t, end.withheld, kept, ld_kept);
  if (end.weight == 0.0f) return 0.0;
  add_tile(t, end.weight, grad, ld);
  return end.norm ? static_cast<double>(square_tile(t)) : 0.0;
}

// One outer item that is not its example's last piece of a whole tile: saved = (init) + A * B.
template <int NV>
HWY_NOINLINE void continue_tile(const float* a, const float* b, int64_t k, bool first, float* saved) {
  Tile<NV> t;
  start_tile(t, first ? nullptr : saved, kNR);
  multiply_tile(t, a, b, k);
  store_tile(t, saved, kNR);
}

// The last piece: the tile goes from the registers straight into the gradient.
HWY_NOINLINE double finish_tile(const float* a, const float* b, int64_t k, const float* init, const Ending& end,
                                float* grad, int64_t ld, float* kept, int64_t ld_kept) {
  Tile<kNV> t;
  start_tile(t, init, kNR);
  multiply_tile(t, a, b, k);
  return end_tile(t, end, grad, ld, kept, ld_kept);
}

// A finished sum that stands in `saved`, whole tile.
HWY_NOINLINE double finish_saved(const float* saved, const Ending& end, float* grad, int64_t ld, float* kept,
                                 int64_t ld_kept) {
  Tile<kNV> t;
  start_tile(t, saved, kNR);
  return end_tile(t, end, grad, ld, kept, ld_kept);
}

// The same for a tile of which only [m,n] is valid: through padded copies, so that nothing outside is touched.
inline double finish_edge(float* saved, int64_t m, int64_t n, const Ending& end, float* grad, int64_t ld, float* kept,
                          int64_t ld_kept) {
  HWY_ALIGN float tile[kMR * kNR] = {};
  HWY_ALIGN float g[kMR * kNR] = {};
  HWY_ALIGN float k[kMR * kNR] = {};
  copy_rect(saved, kNR, tile, kNR, m, n);
  copy_rect(grad, ld, g, kNR, m, n);
  if (end.withheld != 0.0f) copy_rect(kept, ld_kept, k, kNR, m, n);
  const double norm = finish_saved(tile, end, g, kNR, k, kNR);
  if (end.weight != 0.0f) copy_rect(g, kNR, grad, ld, m, n);
  if (end.withheld != 0.0f) copy_rect(k, kNR, kept, ld_kept, m, n);
  return norm;
}

// saved += the scatter rows of `item` that fall into rows [row, row+m), columns [col, col+n) of the parameter.
inline void scatter_tile(const ContractPlan& plan, const Factor& factor, const Item& item, int64_t row, int64_t m,
                         int64_t col, int64_t n, float* saved) {
  if (item.first) std::fill_n(saved, kMR * kNR, 0.0f);
  for (const Entry& e : plan.entries(item, row, row + m)) {
    float* to = saved + (e.index - row) * kNR;
    const float* from = factor.dy.row(e.row) + col;
    for (int64_t j = 0; j < n; ++j) to[j] += from[j];
  }
}

// Asks for the rows that the next pass will pack, a few at a time while the present pass computes: packing runs at the
// speed of memory, products do not touch it.
class Ahead {
 public:
  Ahead(std::span<const Factor> factors, const ContractPlan& plan, const Job& job, int64_t pass, int64_t tiles)
      : factors_(factors), plan_(plan), job_(job) {
    if (pass >= plan.passes()) return;
    item_ = plan.pass(pass).begin;
    end_ = plan.pass(pass).end;
    rows_per_tile_ = ceil_div(kDepth, tiles);
  }

  void step() {
    for (int64_t n = rows_per_tile_; n > 0 && item_ < end_;) {
      const Item& item = plan_.item(item_);
      const Factor& f = factors_[static_cast<size_t>(item.factor)];
      if (f.kind != Factor::Kind::outer || row_ == item.count) {
        ++item_;
        row_ = 0;
        continue;
      }
      ask(f.dy.row(item.begin + row_) + job_.row0, job_.rows);
      ask(f.x.row(item.begin + row_) + job_.col0, job_.cols);
      ++row_;
      --n;
    }
  }

 private:
  static void ask(const float* p, int64_t n) {
    for (int64_t j = 0; j < n; j += 16) __builtin_prefetch(p + j, 0, 2);
  }

  std::span<const Factor> factors_;
  const ContractPlan& plan_;
  const Job& job_;
  int64_t item_ = 0, end_ = 0, row_ = 0, rows_per_tile_ = 0;
};

void ContractJob(std::span<const Factor> factors, const ContractPlan& plan, const Contraction& how, const Job& job,
                 MutView grad) {
  static_assert(kStrip % kMR == 0);
  const int64_t a_panels = ceil_div(job.rows, kMR);
  const int64_t b_panels = ceil_div(job.cols, kNR);
  const int64_t a_step = panel_step(kMR, kDepth);
  const int64_t b_step = panel_step(kNR, kDepth);
  const Scratch<float> a(a_panels * a_step);
  const Scratch<float> b(b_panels * b_step);
  const Scratch<float> saved(a_panels * b_panels * kMR * kNR);
  for (int64_t p = 0; p < plan.passes(); ++p) {
    const Pass& pass = plan.pass(p);
    for (int64_t i = pass.begin; i < pass.end; ++i) {
      const Item& item = plan.item(i);
      const Factor& f = factors[static_cast<size_t>(item.factor)];
      if (f.kind != Factor::Kind::outer) continue;
      pack_columns<true>(f.dy.row(item.begin) + job.row0, f.dy.ld, item.count, job.rows, a.get() + item.slot * kMR,
                         a_step);
      pack_columns<false>(f.x.row(item.begin) + job.col0, f.x.ld, item.count, job.cols, b.get() + item.slot * kNR,
                          b_step);
    }
    Ahead ahead(factors, plan, job, p + 1, a_panels * b_panels);
    for (int64_t jp = 0; jp < b_panels; ++jp) {
      const int64_t col = job.col0 + jp * kNR;
      const int64_t n = std::min<int64_t>(kNR, job.col0 + job.cols - col);
      for (int64_t ip = 0; ip < a_panels; ++ip) {
        const int64_t row = job.row0 + ip * kMR;
        const int64_t m = std::min<int64_t>(kMR, job.row0 + job.rows - row);
        const bool whole = m == kMR && n == kNR;
        float* g = grad.row(row) + col;
        float* kept = how.withheld.empty() ? nullptr : how.withheld_grad.row(row) + col;
        const int64_t ld_kept = how.withheld_grad.ld;
        double* norms = job.norms == nullptr ? nullptr : job.norms + (row - job.row0) / kStrip * job.norm_step;
        float* sum = saved.get() + (jp * a_panels + ip) * kMR * kNR;
        ahead.step();
        // The gradient comes from far: ask for it before the first product.
        for (int64_t r = 0; r < m; ++r) {
          for (int64_t c = 0; c < n; c += 16) hwy::Prefetch(g + r * grad.ld + c);
        }
        for (int64_t i = pass.begin; i < pass.end; ++i) {
          const Item& item = plan.item(i);
          const Factor& f = factors[static_cast<size_t>(item.factor)];
          const auto e = static_cast<size_t>(item.example);
          const Ending end{how.weight[e], how.withheld.empty() ? 0.0f : how.withheld[e], norms != nullptr};
          double norm = 0.0;
          if (f.kind == Factor::Kind::scatter) {
            scatter_tile(plan, f, item, row, m, col, n, sum);
          } else {
            const float* pa = a.get() + ip * a_step + item.slot * kMR;
            const float* pb = b.get() + jp * b_step + item.slot * kNR;
            if (item.last && whole) {
              norm = finish_tile(pa, pb, item.count, item.first ? nullptr : sum, end, g, grad.ld, kept, ld_kept);
            } else if (n <= kLanes) {
              continue_tile<1>(pa, pb, item.count, item.first, sum);
            } else {
              continue_tile<kNV>(pa, pb, item.count, item.first, sum);
            }
          }
          if (item.last && !whole) {
            norm = finish_edge(sum, m, n, end, g, grad.ld, kept, ld_kept);
          } else if (item.last && f.kind == Factor::Kind::scatter) {
            norm = finish_saved(sum, end, g, grad.ld, kept, ld_kept);
          }
          if (item.last && norms != nullptr) norms[e] += norm;
        }
      }
    }
  }
}

}  // namespace govtrain::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace govtrain::cpu {
HWY_EXPORT(ContractJob);

namespace {

void contract_matrix(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad) {
  const ContractPlan plan(factors, rows, how);
  const int64_t strips = ceil_div(grad.rows, kStrip);
  const int64_t across = ceil_div(grad.cols, kColumns);
  const int64_t width = ceil_div(ceil_div(grad.cols, across), kColumnStep) * kColumnStep;  // as even as possible
  const int64_t units = strips * across;  // norms are kept per strip and column block
  const auto examples = static_cast<int64_t>(how.norm2.size());
  const Scratch<double> norms(std::max<int64_t>(1, units * examples));
  std::fill_n(norms.get(), units * examples, 0.0);
  // Long jobs read x less often; every thread should have one.
  const int64_t tall = std::clamp<int64_t>(units / thread_count(), 1, 6);
  const int64_t down = ceil_div(strips, tall);
  for_each(down * across, [&](int64_t i) {
    const int64_t strip = i % down * tall;
    const int64_t column = i / down;
    const int64_t row0 = strip * kStrip;
    const int64_t col0 = column * width;
    if (col0 >= grad.cols) return;
    double* first = examples == 0 ? nullptr : norms.get() + (column * strips + strip) * examples;
    const Job job{row0,    std::min(tall * kStrip, grad.rows - row0), col0, std::min(width, grad.cols - col0), first,
                  examples};
    HWY_DYNAMIC_DISPATCH(ContractJob)(factors, plan, how, job, grad);
  });
  for (int64_t e = 0; e < examples; ++e) {
    for (int64_t u = 0; u < units; ++u) how.norm2[static_cast<size_t>(e)] += norms[u * examples + e];
  }
}

bool all_of_kind(std::span<const Factor> factors, Factor::Kind kind) {
  return std::all_of(factors.begin(), factors.end(), [&](const Factor& f) { return f.kind == kind; });
}

bool is_vector(const Factor& f) { return f.kind == Factor::Kind::gain || f.kind == Factor::Kind::bias; }

}  // namespace

void contract(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad) {
  assert(static_cast<int>(how.weight.size()) == rows.examples());
  assert(how.norm2.empty() || how.norm2.size() == how.weight.size());
  assert(how.withheld.empty() || how.withheld.size() == how.weight.size());
  if (factors.empty() || rows.examples() == 0 || grad.size() == 0) return;
  if (is_vector(factors[0])) return contract_vector(factors, rows, how, grad);
  if (all_of_kind(factors, Factor::Kind::scatter)) return contract_scatter(factors, rows, how, grad);
  contract_matrix(factors, rows, how, grad);
}

void contract_plain(std::span<const Factor> factors, MutView grad) {
  // Pieces of fixed length stand in for the examples, one factor after the other.
  for (const Factor& f : factors) {
    const auto total = static_cast<int32_t>(f.dy.rows);
    if (total == 0) continue;
    std::vector<int32_t> offsets;
    for (int32_t t = 0; t < total; t += static_cast<int32_t>(kDepth)) offsets.push_back(t);
    offsets.push_back(total);
    const Rows pieces(std::move(offsets));
    const std::vector<float> ones(static_cast<size_t>(pieces.examples()), 1.0f);
    Contraction how;
    how.weight = ones;
    contract({&f, 1}, pieces, how, grad);
  }
}

}  // namespace govtrain::cpu
#endif
