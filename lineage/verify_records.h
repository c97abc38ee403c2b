// The part of a verification that reads what the entries say, one after another. Knows nothing of trees and files.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "lineage/record.h"
#include "lineage/verify_findings.h"

namespace govtrain {

// Rules: the first entry is the `run` record; every record is canonical and valid; an example names a policy that an
// earlier `policy` record holds under "id", rules within that record's "rules", and a provenance object that is stored;
// places (step, mb, i) ascend; a `rewind` goes back to where its step ended.
class RecordChecker {
 public:
  // `provenance`: names (16 hex digits) of the stored objects.
  RecordChecker(Findings& findings, std::set<std::string> provenance)
      : findings_(findings), provenance_(std::move(provenance)) {}
  void add(uint64_t index, std::string_view leaf);

 private:
  using Place = ExampleRecord::Place;
  struct Step {
    int64_t step;
    uint64_t first;  // index of its first and last record
    uint64_t last;
  };
  struct Seen {
    uint64_t index;
    Place place;
    uint64_t digest;  // of what a replay must repeat
  };
  void add_example(uint64_t index, const Result<ExampleRecord>& parsed);
  void add_control(uint64_t index, std::string_view leaf);
  void check_place(uint64_t index, const ExampleRecord& record);
  void rewind(uint64_t index, const nlohmann::json& payload);

  Findings& findings_;
  std::set<std::string> provenance_;
  std::map<std::string, std::optional<uint64_t>> policies_;  // id -> number of rules, where the record lists them
  std::set<std::string> profiles_;
  std::set<std::string> warned_profiles_;
  std::vector<std::pair<uint64_t, uint64_t>> superseded_;
  std::vector<Step> steps_;  // of the effective records, ascending
  std::optional<Place> last_;
  std::deque<Seen> recent_;  // bounded
  std::map<Place, uint64_t> replay_;
};

}  // namespace govtrain
