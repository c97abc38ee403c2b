// Where the weights of a route table are enforced. All points give grad_b = sum_i w[i,b] g_i,b (technique 'scale');
// they differ in what they cost and in the order of their sums. Here is the arithmetic of weights; who carries it out
// is param_grad and the trainer. Formulas, cost and error bounds: docs/enforcement.md.
#pragma once

#include <string>
#include <vector>

#include "routing/route_table.h"

namespace govtrain {

enum class Enforcement {
  backward,   // each example is weighted as its contribution is added
  optimizer,  // unweighted sums over runs of examples with the same profile, weighted as a whole before the step
  loss,       // a sum of loss terms with stop-gradients: backpropagation itself gives the weighted sum
};

// From "backward", "optimizer", "loss". Throws Error on others.
Enforcement parse_enforcement(const std::string& name);

// The longest runs, in the order of the examples, of equal rows of the table.
struct ProfileRuns {
  std::vector<std::vector<float>> profile;  // [runs][B]
  std::vector<int> of;                      // [E] the run; -1: kept out everywhere, which does not end a run
};
// With `excluded`, examples that are kept out everywhere make runs of their own: their gradients are withheld.
ProfileRuns profile_runs(const RouteTable& route, bool excluded);

// The loss whose gradient is the routed one. The distinct weights of example i that are above 0 are its levels
// v_1 < v_2 < ..., then come those below 0, v_-1 > v_-2 > ...; level by level
//
//   L = sum_l sum_i share[i,l] * nll_i(theta; stop-gradient in every block whose weight does not reach level l)
//   share[i,l] = v_l - v_(l-1), v_0 = 0;   w[i,b] = sum of the shares of the levels that w[i,b] reaches
//
// An example's terms depend on its own weights only. Weights 0 and 1 give one term with share 1.
struct LossTerm {
  RouteTable reaches;        // [E, B] 1 where the gradient goes into the block, 0 where it is stopped
  std::vector<float> share;  // [E] rounded once from the exact difference; 0 where the example has no such level
};

// The term `l` (from 0) of every example.
LossTerm loss_term(const RouteTable& route, int l);
// The most terms that an example of the table has.
int loss_terms(const RouteTable& route);

}  // namespace govtrain
