// The prepared corpus as the run of a configuration would see it: documents, and what the policy decides about each.
#pragma once

#include <memory>
#include <string>

#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/train/governance.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {

struct CorpusView {
  BoundPolicy policy;
  Date date;
  std::unique_ptr<DocumentClassifier> classifier;  // null: the configuration has no classification
  PrepareReport prepared;
  Dataset dataset;

  // Prepares the data, or takes it from the cache. Throws ConfigError, Error or Failure.
  explicit CorpusView(const RunConfig& config);

  // The document whose digest begins with `digest`. Throws Failure (exit_usage) unless there is exactly one.
  int32_t find(const std::string& digest) const;
  // What the policy knows about it.
  DocumentFacts facts(int32_t document) const;
  // The values of a metadata key in its provenances, joined by " + "; "(none)" when there is none.
  std::string value(int32_t document, const std::string& key) const;
};

}  // namespace govtrain
