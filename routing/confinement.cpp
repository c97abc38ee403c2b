#include "routing/confinement.h"

#include <fmt/format.h>

#include <cmath>

#include "core/number.h"
#include "routing/reach.h"

namespace govtrain {
void check_confinement(const BoundPolicy& bound, Diagnostics& diagnostics) {
  const Policy& p = bound.policy();
  if (p.privacy.empty()) return;
  for (const ProfileEnd& end : profile_ends(bound)) {
    std::vector<std::string> classes;
    for (const PrivacyClass& c : p.privacy) {
      if (c.profile == end.profile) classes.push_back(in_quotes(c.name));
    }
    if (p.unlisted_privacy == end.profile) classes.emplace_back("unlisted");
    const std::vector<float>& own = bound.stated_weights(end.profile);
    size_t b = 0;
    while (b < own.size() && std::abs(end.weights[b]) <= std::abs(own[b])) ++b;
    if (classes.empty() || b == own.size()) continue;
    const std::string& profile = p.profiles[static_cast<size_t>(end.profile)].name;
    diagnostics.error(end.at,
                      fmt::format("{} widens the profile {}, to which 'privacy' confines {}: {} from {} to {}",
                                  end.section, in_quotes(profile), join(classes), bound.blocks()[b],
                                  number_text(own[b]), number_text(end.weights[b])),
                      "give 'privacy' a profile of its own, with these weights, that nothing widens");
  }
}

}  // namespace govtrain
