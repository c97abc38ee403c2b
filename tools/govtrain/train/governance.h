// The policy applied to a prepared corpus and a model: one decision per document, taken before any forward pass, and
// the route table of each batch. Decides by metadata and date only, never by content of other documents.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "routing/resolve.h"
#include "routing/route_table.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/prepare.h"
#include "tools/govtrain/data/sampler.h"
#include "tools/govtrain/train/run_log.h"

namespace govtrain {

// Metadata of a corpus record as the policy sees it: strings as they are, other JSON values as their JSON text.
Meta policy_meta(const nlohmann::json& meta);

// For prepare(): excludes the records and joined documents to which the policy gives weight 0 in every block.
Exclude exclude_by(const BoundPolicy& policy, const Date& date);

class Governance {
 public:
  Governance(BoundPolicy policy, const Date& date, const Dataset& dataset);

  const BoundPolicy& policy() const { return policy_; }
  const Date& date() const { return date_; }
  const Decision& decision(int32_t document) const { return decisions_[static_cast<size_t>(document)]; }
  // What records say of each document; `prov` is filled in by the caller who stores the provenance.
  std::vector<DocumentLabel>& labels() { return labels_; }
  // [documents] 1 where some block is admitted: the schedule of the run.
  std::vector<uint8_t> admitted() const;
  RouteTable table(const std::vector<Example>& examples) const;

  // For people: documents, tokens and mean weight per block, by the value of a metadata key and profile.
  struct Share {
    std::string value, profile;
    int64_t documents = 0, tokens = 0;
    std::vector<float> weights;  // [B]
  };
  std::vector<Share> shares(const std::string& key) const;

 private:
  BoundPolicy policy_;
  Date date_;
  const Dataset* dataset_;
  std::vector<Decision> decisions_;
  std::vector<DocumentLabel> labels_;
};

// The provenance object of a document: {"ex":..,"provenance":[..]}, one canonical line.
std::string provenance_json(const DatasetDocument& document);

}  // namespace govtrain
