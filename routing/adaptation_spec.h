// The sections `adaptation` and `controller` of a policy: which profiles may change while training, between which
// bounds, and what makes them. Text only; what they do is routing/adaptation.h and routing/controller.h.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/yaml.h"

namespace govtrain {

// on: measures and changes. frozen: keeps the weights that it has reached; where nothing was reached, a profile's own.
// off: the section has no effect, every profile has its own weights.
enum class AdaptMode { off, frozen, on };
const char* name(AdaptMode mode);

// What says how far representations have stratified; both are 0 .. 1.
enum class StratificationMeasure { spread, order };  // entropy_spread, entropy_order (routing/representation.h)
const char* name(StratificationMeasure measure);

struct AdaptationSpec {
  struct Entry {
    int profile = 0;  // index into Policy::profiles: the narrow end
    int broad = 0;    // the broad end; admits at least as much in every block
    Position at;
  };
  AdaptMode mode = AdaptMode::on;
  StratificationMeasure measure = StratificationMeasure::spread;
  double begin = 0;         // up to here the profiles stay broad
  double full = 1;          // from here on they are narrow
  double rate = 0.25;       // largest change of the position at once
  double dead_band = 0.05;  // smaller differences between position and target change nothing
  int64_t wait = 1;         // measurements from one change to the next
  std::vector<Entry> profiles;
};

struct ControllerSpec {
  struct Entry {
    int profile = 0;
    int floor = 0, ceiling = 0;  // profiles that bound its weights; 0 as floor is `none`
    Position at;
  };
  AdaptMode mode = AdaptMode::on;
  bool review = false;               // false: proposals are applied or refused by rule
  std::vector<std::string> protect;  // patterns of validation groups
  double tolerance = 0.01;           // relative change of the protected loss that counts
  int64_t window = 4;                // evaluations that a correlation is computed over
  double correlation = 0.5;          // smallest one that counts
  double rate = 0.2;                 // relative change of a weight by one proposal
  std::vector<Entry> profiles;
};

// The profile that a node names; reports and gives 0 when there is none. `what` names the place in messages.
using ProfileLookup = std::function<int(const YamlNode& node, const std::string& what)>;
using ProfileName = std::function<std::string(int profile)>;
using ProfileWeights = std::function<const std::vector<float>&(int profile)>;

AdaptationSpec read_adaptation(const YamlNode& node, const ProfileLookup& lookup, Diagnostics& diagnostics);
ControllerSpec read_controller(const YamlNode& node, const ProfileLookup& lookup, Diagnostics& diagnostics);
// One line of flow YAML that reads back to the same.
std::string to_flow(const AdaptationSpec& spec, const ProfileName& name);
std::string to_flow(const ControllerSpec& spec, const ProfileName& name);

// Reports profiles that are under both sections.
void check_sections(const std::optional<AdaptationSpec>& adaptation, const std::optional<ControllerSpec>& controller,
                    const ProfileName& name, Diagnostics& diagnostics);
// Reports bounds that are not in order in some block: signs that differ, |broad| < |narrow|, a weight outside floor and
// ceiling. With this, whoever the narrow end admits is admitted throughout, and a weight that is 0 stays 0.
void check_bounds(const AdaptationSpec& spec, const std::vector<std::string>& blocks, const ProfileName& name,
                  const ProfileWeights& weights, Diagnostics& diagnostics);
void check_bounds(const ControllerSpec& spec, const std::vector<std::string>& blocks, const ProfileName& name,
                  const ProfileWeights& weights, Diagnostics& diagnostics);

}  // namespace govtrain
