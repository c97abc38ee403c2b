#include "kernels/cpu/contract_plan.h"

#include <algorithm>

namespace govtrain::cpu {
namespace {

int64_t count_of(std::span<const Factor> factors, Factor::Kind kind) {
  return std::count_if(factors.begin(), factors.end(), [&](const Factor& f) { return f.kind == kind; });
}

// Each example gives one item per factor, and one more for each time that its rows cross the end of a pass.
int64_t most_items(std::span<const Factor> factors, const Rows& rows) {
  const auto n = static_cast<int64_t>(factors.size());
  return n * rows.examples() + n * rows.total() / kDepth + rows.examples() + 2;
}

}  // namespace

void sort_entries(const int32_t* index, int begin, int end, Entry* entries) {
  for (int t = begin; t < end; ++t) entries[t - begin] = {index[t], t};
  std::sort(entries, entries + (end - begin),
            [](const Entry& a, const Entry& b) { return a.index != b.index ? a.index < b.index : a.row < b.row; });
}

ContractPlan::ContractPlan(std::span<const Factor> factors, const Rows& rows, const Contraction& how)
    : items_(most_items(factors, rows)),
      passes_(most_items(factors, rows)),
      entries_(std::max<int64_t>(1, rows.total() * count_of(factors, Factor::Kind::scatter))) {
  const int64_t outers = count_of(factors, Factor::Kind::outer);
  int64_t used = kDepth;  // rows of the current pass; full: the first item opens one
  int32_t entry = 0;
  for (int e = 0; e < rows.examples(); ++e) {
    if (!takes_part(how, e)) continue;
    const int length = rows.length(e);
    const int64_t total = outers * length;
    bool open = used + total > kDepth && total <= kDepth;  // do not cut an example that fits into one pass
    for (size_t f = 0; f < factors.size(); ++f) {
      const bool first = f == 0;
      const bool last = f + 1 == factors.size();
      const auto factor = static_cast<int32_t>(f);
      if (factors[f].kind == Factor::Kind::scatter) {
        sort_entries(factors[f].index, rows.begin(e), rows.end(e), entries_.get() + entry);
        open = open || passes_count_ == 0;
        if (open) used = 0;
        add({e, factor, entry, length, 0, first, last}, open);
        open = false;
        entry += length;
        continue;
      }
      for (int done = 0; done < length;) {
        if (open || used == kDepth) {
          open = true;
          used = 0;
        }
        const int take = static_cast<int>(std::min<int64_t>(length - done, kDepth - used));
        add({e, factor, rows.begin(e) + done, take, static_cast<int32_t>(used), first && done == 0,
             last && done + take == length},
            open);
        open = false;
        used += take;
        done += take;
      }
    }
  }
}

void ContractPlan::add(Item item, bool open_pass) {
  if (open_pass) passes_[passes_count_++] = {static_cast<int32_t>(items_count_), 0};
  items_[items_count_++] = item;
  passes_[passes_count_ - 1].end = static_cast<int32_t>(items_count_);
}

std::span<const Entry> ContractPlan::entries(const Item& item, int64_t from, int64_t to) const {
  const Entry* begin = entries_.get() + item.begin;
  const Entry* end = begin + item.count;
  const auto below = [](const Entry& e, int64_t index) { return e.index < index; };
  const Entry* lo = std::lower_bound(begin, end, from, below);
  return {lo, std::lower_bound(lo, end, to, below)};
}

}  // namespace govtrain::cpu
