#include "autograd/parameter.h"

#include "core/error.h"

namespace govtrain {

Parameter::Parameter(ParameterInfo info, int index, Allocator& allocator)
    : info_(std::move(info)), index_(index), value_(info_.rows, info_.cols, allocator), touched_(1, false) {
  slices_.push_back({0, 0, info_.rows, 0, info_.cols});
}

Parameter& ParameterSet::add(ParameterInfo info, bool vector) {
  if (find(info.name) != nullptr) throw Error("parameter", "a second parameter named '{}'", info.name);
  if (info.rows < 1 || info.cols < 1) {
    throw Error("parameter", "'{}': expected sizes >= 1, got [{}, {}]", info.name, info.rows, info.cols);
  }
  items_.push_back(std::make_unique<Parameter>(std::move(info), static_cast<int>(items_.size()), *allocator_));
  items_.back()->vector_ = vector;
  return *items_.back();
}

Parameter& ParameterSet::add_matrix(std::string name, std::string role, int layer, int64_t rows, int64_t cols,
                                    Division division) {
  return add({std::move(name), std::move(role), layer, rows, cols, division}, false);
}

Parameter& ParameterSet::add_vector(std::string name, std::string role, int layer, int64_t size, Division division) {
  return add({std::move(name), std::move(role), layer, 1, size, division}, true);
}

const Parameter* ParameterSet::find(std::string_view name) const {
  for (const auto& p : items_) {
    if (p->name() == name) return p.get();
  }
  return nullptr;
}

Parameter* ParameterSet::find(std::string_view name) {
  return const_cast<Parameter*>(static_cast<const ParameterSet*>(this)->find(name));
}

int64_t ParameterSet::elements() const {
  int64_t n = 0;
  for (const auto& p : items_) n += p->value().size();
  return n;
}

std::vector<ParameterInfo> ParameterSet::infos() const {
  std::vector<ParameterInfo> out;
  out.reserve(items_.size());
  for (const auto& p : items_) out.push_back(p->info());
  return out;
}

void ParameterSet::assign_blocks(const BlockMap& map) {
  check_partition(map, infos());
  for (const auto& p : items_) p->slices_.clear();
  for (const Slice& s : map.slices) {
    items_[static_cast<size_t>(s.parameter)]->slices_.push_back(
        {s.block, s.row_begin, s.row_end, s.col_begin, s.col_end});
  }
  for (const auto& p : items_) p->touched_.assign(p->slices_.size(), false);
  blocks_ = map.blocks();
}

}  // namespace govtrain
