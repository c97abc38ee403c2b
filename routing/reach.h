// How far the weights of profiles can go while a run trains: the ends of what the policy's adaptation, controller and
// schedule do with them. Pure functions of the bound policy; what a run really does is in its log.
#pragma once

#include <string>
#include <vector>

#include "routing/resolve.h"

namespace govtrain {

struct ProfileEnd {
  int profile = 0;             // index into Policy::profiles: whose weights change
  std::vector<float> weights;  // [B] at this end
  std::string section, text;   // "schedule 'narrow'", "shallow reaches confined from epoch 1 on"
  Position at;                 // of the entry in the policy
};

// In the order of the policy's sections: the broad and the narrow end of what adapts, floor and ceiling of what the
// controller may change, then where each entry of the schedule leads. A section that is off or
// frozen has none.
std::vector<ProfileEnd> profile_ends(const BoundPolicy& bound);

// With the weights that a run begins with: what adapts begins at its broad end.
BoundPolicy at_start(const BoundPolicy& bound);

// What may become of one document's weights.
struct DocumentReach {
  Decision start;  // when the run begins
  struct End {
    std::string text;            // "schedule 'narrow': shallow reaches confined from epoch 1 on"
    std::vector<float> weights;  // [B] of the document, all other profiles being as at the start
  };
  std::vector<End> ends;  // only of profiles that have a say
};

// A document that is kept out throughout (widest()) has no ends, and Decision::excluded says so; one that is only kept
// out at the start is not `excluded` here.
DocumentReach reach_of(const BoundPolicy& bound, const DocumentFacts& facts, const Date& today);

}  // namespace govtrain
