// The meta-controller: sets what each profile taught each block, between two evaluations, against what became of the
// validation loss of protected groups, and proposes other weights within bounds. Finite differences, no gradients: a
// correlation is evidence, not proof, which is why a proposal has bounds, may need a review, and is logged with
// everything that it was made from.
//
//   d_k      = (L_k - L_(k-1)) / L_(k-1)      relative change of the protected loss in interval k
//   x_k[p,b] = mean over the interval's steps of the sum of realised norms |w g| of the examples for which profile p
//              decided block b
//   c[p,b]   = Pearson's correlation of x_k[p,b] and d_k over the last `window` intervals; 0 without variation
//
//   d_now > tolerance:  the blocks with c >= correlation get the weight w * (1 - rate)
//   d_now < -tolerance: the blocks with c <= -correlation get the weight w * (1 + rate), if w is below its ceiling
//
// At most one profile per evaluation: that with the largest sum of |c| over its blocks, the first of equals. Every
// proposal ends the window: the next one rests on intervals under the new weights. A weight of 0 stays 0, and none
// becomes 0, so no proposal opens a block or closes one.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "routing/adaptation.h"
#include "routing/resolve.h"
#include "routing/route_table.h"

namespace govtrain {

struct ControllerProposal {
  int64_t id = 0;  // from 1
  ProfileChange change;
  bool refused = false;   // by rule: outside its bounds
  nlohmann::json record;  // payload of the `proposal` record, without step
};

class Controller {
 public:
  // Takes the bounds from the policy's own profiles. REQUIRES: policy.policy().controller, not `off`.
  explicit Controller(const BoundPolicy& policy);

  // A step: norms [E,B] as carried out, and the route table that says which entry decided.
  void add_step(const RouteTable& route, const std::vector<double>& norms);
  // An evaluation: protected loss in nats per token; `policy` has the weights in force. When the mode is `on`, may
  // propose. A proposal that leaves its bounds is refused; all others are the caller's to apply or to keep for review.
  std::optional<ControllerProposal> evaluate(double protected_loss, const BoundPolicy& policy);
  // Forgets the window and the last loss, as at the start: the next evaluation is not comparable with the last one.
  void restart();
  // The number of the next proposal, where others have gone before.
  void number_from(int64_t id) { next_id_ = id; }
  int64_t next_id() const { return next_id_; }
  // True when one of the patterns of `protect` names the group.
  bool protects(const std::string& group) const;

  // All that it remembers, as JSON with exact numbers. restore() throws Error when it does not fit this policy.
  nlohmann::json state() const;
  void restore(const nlohmann::json& state);

 private:
  struct Interval {
    double change = 0;              // d_k
    std::vector<double> influence;  // x_k [entry, B]
  };
  nlohmann::json evidence() const;
  friend std::optional<std::string> check_proposal(const BoundPolicy&, const nlohmann::json&);
  std::optional<ControllerProposal> propose(const std::vector<std::vector<float>>& weights);

  ControllerSpec spec_;
  size_t blocks_ = 0;
  std::vector<std::string> names_;
  std::vector<std::vector<float>> floor_, ceiling_;  // [entry][B]
  std::vector<int> entry_of_rule_;                   // [table entry] -> index into spec_.profiles, or -1
  std::optional<double> last_loss_;
  int64_t steps_ = 0;          // of the open interval
  std::vector<double> norms_;  // [entry, B], summed over them
  std::vector<Interval> window_;
  int64_t next_id_ = 1;
};

// What is wrong with a `proposal` record of a run under this policy: computed again from its evidence.
std::optional<std::string> check_proposal(const BoundPolicy& policy, const nlohmann::json& record);

}  // namespace govtrain
