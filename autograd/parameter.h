// What a model learns. A Parameter is a type of its own, not a Var: no op can take it as an ordinary input, so its
// gradient can come from param_grad alone. Holds values and bookkeeping; computes nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/tensor.h"
#include "routing/blocks.h"

namespace govtrain {

class Backend;
class ParameterSet;
struct BlockClip;

class Parameter {
 public:
  // A rectangle of the parameter and the block that owns it.
  struct Slice {
    int block = 0;
    int64_t row_begin = 0, row_end = 0, col_begin = 0, col_end = 0;
  };

  // Value [rows, cols], contents undefined; vectors are [1, d]. One slice in block 0 covers all of it.
  Parameter(ParameterInfo info, int index, Allocator& allocator);
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;

  const std::string& name() const { return info_.name; }
  const ParameterInfo& info() const { return info_; }
  int index() const { return index_; }  // position in its set
  int64_t rows() const { return info_.rows; }
  int64_t cols() const { return info_.cols; }
  bool is_vector() const { return vector_; }
  Tensor& value() { return value_; }
  const Tensor& value() const { return value_; }

  const std::vector<Slice>& slices() const { return slices_; }
  // Whether anything was admitted to slice k since the gradients were last zeroed.
  bool touched(size_t k) const { return touched_[k]; }
  // The routed gradient [rows, cols]; undefined before the first backward pass.
  const Tensor& grad() const { return grad_; }
  // What was not admitted, sum_i (1 - w) g_i over w < 1; undefined unless it is asked for.
  const Tensor& withheld() const { return withheld_; }
  // Whether anything was withheld from slice k since the withheld gradients were last zeroed.
  bool withholds(size_t k) const { return k < withholds_.size() && withholds_[k]; }

 private:
  friend class ParameterSet;
  // The only writers of gradients; all of param_grad.h.
  friend class ParamGrad;
  friend class ProfileGroups;
  friend void zero_grad(ParameterSet& set, Backend& backend);
  friend void zero_withheld(ParameterSet& set, Backend& backend);
  friend std::vector<BlockClip> clip_blocks(ParameterSet& set, Backend& backend, double max_norm);
  friend std::vector<BlockClip> clip_withheld(ParameterSet& set, Backend& backend, double max_norm);
  friend void set_gradient(ParameterSet& set, Backend& backend, std::span<const Tensor> gradient, float scale);

  ParameterInfo info_;
  int index_ = 0;
  bool vector_ = false;
  Tensor value_;
  std::vector<Slice> slices_;
  std::vector<bool> touched_;
  Tensor grad_;
  Tensor withheld_;
  std::vector<bool> withholds_;  // per slice; empty before the first withheld gradient
  Tensor group_;                 // of Enforcement::optimizer: unweighted sum over the group that is open
  std::vector<bool> grouped_;    // per slice: something was added to it; empty before the first group
};

// The parameters of one model, in a fixed order; addresses are stable.
class ParameterSet {
 public:
  explicit ParameterSet(Allocator& allocator = host_allocator()) : allocator_(&allocator) {}

  // Throws Error on a second parameter of the same name.
  Parameter& add_matrix(std::string name, std::string role, int layer, int64_t rows, int64_t cols,
                        Division division = {});
  Parameter& add_vector(std::string name, std::string role, int layer, int64_t size, Division division = {});

  size_t size() const { return items_.size(); }
  Parameter& operator[](size_t i) { return *items_[i]; }
  const Parameter& operator[](size_t i) const { return *items_[i]; }
  Parameter* find(std::string_view name);  // nullptr when there is none
  const Parameter* find(std::string_view name) const;
  int64_t elements() const;
  std::vector<ParameterInfo> infos() const;

  int blocks() const { return blocks_; }
  // Cuts the parameters into the slices of `map`. Throws Error unless the map is a partition. Gradients and optimizer
  // states made for other slices are no longer valid: call before training.
  void assign_blocks(const BlockMap& map);

 private:
  Parameter& add(ParameterInfo info, bool vector);
  Allocator* allocator_;
  std::vector<std::unique_ptr<Parameter>> items_;
  int blocks_ = 1;
};

}  // namespace govtrain
