// How the batch is cut for the routed kernel: which examples take part, in which order their factors are summed, and
// which rows are packed together. Depends on shapes and weights only; the cut never changes a bit of the result,
// because a tile's sum goes on through memory where an example is longer than one pass.
#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/scratch.h"

namespace govtrain::cpu {

// One piece of one example's tile sum.
struct Item {
  int32_t example;
  int32_t factor;
  int32_t begin;  // outer: first row; scatter: first entry of the sorted list
  int32_t count;
  int32_t slot;  // outer: where its rows stand in the packed panels
  bool first;    // starts the example's sum
  bool last;     // ends it: norm and weighted add follow
};

// A group of items whose outer rows are packed together.
struct Pass {
  int32_t begin;  // items [begin, end)
  int32_t end;
};

// Row `row` of a scatter factor is added at `index`.
struct Entry {
  int32_t index;
  int32_t row;
};

// The work of one thread: rows [row0, row0+rows) and columns [col0, col0+cols) of the parameter. `norms` is null or the
// partial norms of its first strip of kStrip rows, [examples] of double; the next strip's stand `norm_step` further.
// Strips are fixed by the parameter's shape, so that norms do not depend on how strips are shared out.
struct Job {
  int64_t row0, rows, col0, cols;
  double* norms;
  int64_t norm_step;
};

constexpr int64_t kStrip = 48;       // rows of one strip, a multiple of every tile's height
constexpr int64_t kColumns = 384;    // columns of one job at most
constexpr int64_t kColumnStep = 64;  // their number is a multiple of this, which every tile's width divides
constexpr int64_t kDepth = 128;      // rows packed per pass

inline bool takes_part(const Contraction& how, int e) {
  const auto i = static_cast<size_t>(e);
  return how.weight[i] != 0.0f || (!how.withheld.empty() && how.withheld[i] != 0.0f);
}

// Sorts the rows [begin, end) of a scatter factor into entries by (index, row).
void sort_entries(const int32_t* index, int begin, int end, Entry* entries);

class ContractPlan {
 public:
  ContractPlan(std::span<const Factor> factors, const Rows& rows, const Contraction& how);
  int64_t passes() const { return passes_count_; }
  const Pass& pass(int64_t i) const { return passes_[i]; }
  const Item& item(int64_t i) const { return items_[i]; }
  // Entries of scatter item `item` whose index is in [from, to).
  std::span<const Entry> entries(const Item& item, int64_t from, int64_t to) const;

 private:
  void add(Item item, bool open_pass);

  Scratch<Item> items_;
  Scratch<Pass> passes_;
  Scratch<Entry> entries_;
  int64_t items_count_ = 0;
  int64_t passes_count_ = 0;
};

}  // namespace govtrain::cpu
