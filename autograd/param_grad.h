// Where routing enters, and the only code that writes a parameter's gradient:
//
//     grad[slice of block b] += sum over examples i of w[i,b] * g_i
//
// in example order, where g_i is the sum of all uses of the parameter by example i. Ops hand over their part of g as a
// Factor, before any sum over examples; when the last use of a parameter in the graph has arrived, its factors are
// contracted once, slice by slice. Exact per-example norms are a by-product. Decides nothing: the weights are data.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "autograd/enforcement.h"
#include "autograd/parameter.h"
#include "autograd/technique.h"
#include "core/buffer.h"
#include "core/rows.h"
#include "kernels/backend.h"
#include "routing/route_table.h"

namespace govtrain {

// The state of Enforcement::optimizer over the micro-batches of a step: the profile (row of weights) whose examples are
// being summed. A group is a longest run, in the order of the examples, of equal profiles; examples that are kept out
// everywhere do not end one. Its gradient is summed unweighted in buffers of its own, for each block that the profile
// does not keep out, and when the run ends
//
//     grad[slice of block b] += w[b] * sum over the group's examples of g_i          (and withheld += (1-w[b]) * sum)
//
// How the batch is cut into micro-batches changes no bit.
class ProfileGroups {
 public:
  // Ends the group that is open, if any. To be called after the last micro-batch of a step.
  void close(ParameterSet& set, Backend& backend);
  // Forgets it, after zero_grad: for a step that is given up.
  void forget() { open_.clear(); }

 private:
  friend class ParamGrad;
  static void fold(Parameter& p, size_t slice, float weight, bool withheld, Backend& backend);
  std::vector<float> open_;  // [B]; empty: none
  bool withheld_ = false;
};

struct ParamGradOptions {
  bool norms = true;  // keep |g_i| per example and block
  // Keep sum_i (1-w) g_i over w < 1 in buffers of its own (Parameter::withheld). Attenuated: the rest. Kept out: all.
  // Negative: more than all, so that admitted and withheld still add up to g_i. Admitted or amplified (w >= 1):
  // nothing.
  bool withheld = false;
  // The model's gates; null: none. Then the weights of the table are those of the gates, and parameters take what
  // GatePlan::parameter_weights makes of them; not together with `withheld`. Must outlive the ParamGrad.
  const GatePlan* gates = nullptr;
  // Not null: Enforcement::optimizer. Not together with `gates`. Must outlive the ParamGrad; at most one ParamGrad that
  // has it may be gone back into at a time.
  ProfileGroups* groups = nullptr;
};

// The first n examples of a batch.
Rows leading_examples(const Rows& rows, int n);

// The gradients of one batch (or micro-batch). They are added to what the parameters already hold: several
// micro-batches give the same bits as one batch of the same examples in the same order.
class ParamGrad {
 public:
  // Routed. `rows` must outlive this object. Throws Error when the table does not fit the batch or the set's blocks,
  // or holds a weight that is not finite.
  ParamGrad(ParameterSet& set, Backend& backend, const Rows& rows, const RouteTable& route,
            ParamGradOptions options = {});
  // Plain training: every weight 1, no regard to examples, no norms. The sum runs over the whole batch at once, so its
  // bits do depend on how the batch is cut.
  static ParamGrad plain(ParameterSet& set, Backend& backend, const Rows& rows);

  // False when nobody is admitted to any slice of `p`: its gradient need not be computed.
  bool active(const Parameter& p) const { return active_[static_cast<size_t>(p.index())]; }
  // The end of the leading examples of which some is admitted to `p`: rows of later ones are not needed. In plain
  // training all of them.
  int reach(const Parameter& p) const { return reach_[static_cast<size_t>(p.index())]; }
  // The table's weights of a block, one for each example, for gates; empty in plain training, which has none.
  std::span<const float> gate_weights(int block) const { return gate_[static_cast<size_t>(block)]; }
  // Whether a gate of this block lets any example through.
  bool gate_opens(int block) const;
  // Announces one use; Tape::backward does so for every use that it will reach, before the first add.
  void expect(const Parameter& p);
  // One use's factor, of the leading rows of the batch up to reach(p) or more. `keep` and `index` own what the factor
  // points into. Does nothing when `p` is not active.
  // Throws Error when the factor does not fit the parameter or was not announced.
  void add(Parameter& p, const Factor& factor, std::vector<Tensor> keep, std::shared_ptr<const void> index = nullptr);
  // All slices to which some example is admitted are touched from now on, whether or not a gradient reached them.
  // Throws Error when an announced use did not arrive.
  void finish();

  // |w[i,b]| * |g_i,b| as [E, B], exactly 0 where w is 0: what example i really contributed to block b.
  // REQUIRES: routed, with norms, after the backward pass. The copy to the host starts now; the call waits for it.
  std::function<std::vector<double>()> realised_norms_later() const;
  std::vector<double> realised_norms() const { return realised_norms_later()(); }

 private:
  struct Pending {
    int uses = 0;
    std::vector<Factor> factors;
    std::vector<Tensor> keep;
    std::vector<std::shared_ptr<const void>> indices;
  };
  ParamGrad(ParameterSet& set, Backend& backend, const Rows& rows);
  // Factors and `rows` are those of the leading examples up to reach(p).
  void contract(Parameter& p, const std::vector<Factor>& factors, const Rows& rows);
  void contract_slice(const Parameter& p, const Parameter::Slice& s, const std::vector<Factor>& factors,
                      const Rows& rows, const Contraction& how, const Tensor& into) const;
  void contract_scattered(const Parameter::Slice& s, const Factor& factor, const Rows& rows, const Contraction& how,
                          MutView grad) const;
  std::span<double> norms_of(size_t block, size_t examples) const;
  void touch_admitted();
  void enter_first_group();
  void contract_groups(Parameter& p, const std::vector<Factor>& factors, const Rows& rows);

  ParameterSet* set_;
  Backend* backend_;
  const Rows* rows_;
  bool routed_ = false;
  ParamGradOptions options_;
  int blocks_ = 0;
  std::vector<std::vector<float>> gate_;      // [B][E] as in the table; empty: no gates
  std::vector<std::vector<float>> weight_;    // [B][E] of the parameters
  std::vector<std::vector<float>> withheld_;  // [B][E]; empty: none
  std::shared_ptr<Buffer<double>> norm2_;     // [B][E], the backend's memory; copies share it
  std::vector<bool> admits_;                  // [B] some weight is not 0
  std::vector<bool> withholds_;               // [B]
  std::vector<bool> active_;                  // per parameter
  std::vector<int> reach_;                    // per parameter
  std::vector<Pending> pending_;              // per parameter
  ProfileRuns runs_;                          // with groups
  bool entered_ = false;                      // the first run is the group that is open
  std::vector<bool> summed_;                  // per parameter: has been contracted
};

// Sets all gradients to 0 and all slices to untouched. Withheld gradients are kept: they have their own function.
void zero_grad(ParameterSet& set, Backend& backend);
void zero_withheld(ParameterSet& set, Backend& backend);

// What clipping did to one block.
struct BlockClip {
  double norm = 0;   // L2 norm of the block's routed gradient before clipping
  float factor = 1;  // what the gradient was multiplied by
};

// Clips the gradient of each block by its own norm: factor = min(1, max_norm / (norm + 1e-6)), the rule of PyTorch's
// clip_grad_norm_ per block, so that no block learns of another's examples. max_norm <= 0 measures only. Fixed order.
// Waits for the gradients.
std::vector<BlockClip> clip_blocks(ParameterSet& set, Backend& backend, double max_norm);

// The same for the withheld gradients, which clip on their own: what is withheld never changes what is admitted. In a
// block where they are not finite they are set to 0 and marked as not there; the norm that is returned then tells.
std::vector<BlockClip> clip_withheld(ParameterSet& set, Backend& backend, double max_norm);

// Overwrites all gradients: those of the set become scale * gradient[parameter], and a block is touched where any of
// its elements is not 0. For a gradient that was kept from earlier steps and is to be applied now. Throws Error when
// the shapes differ.
void set_gradient(ParameterSet& set, Backend& backend, std::span<const Tensor> gradient, float scale);

}  // namespace govtrain
