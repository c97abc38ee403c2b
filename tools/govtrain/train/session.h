// Everything a run is made of, built from its configuration: policy, prepared data, model, sampler, trainer. Building
// one trains nothing and writes nothing but the data cache.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "models/transformer.h"
#include "routing/blocks.h"
#include "routing/resolve.h"
#include "tools/govtrain/classify/classification_of.h"
#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/data/prepare.h"
#include "tools/govtrain/data/sampler.h"
#include "tools/govtrain/train/adapter.h"
#include "tools/govtrain/train/entropy_router.h"
#include "tools/govtrain/train/evaluate.h"
#include "tools/govtrain/train/governance.h"
#include "tools/govtrain/train/trainer.h"
#include "tools/govtrain/train/withheld.h"

namespace govtrain {

// The policy of the configuration, bound to its model, with what its revocation list names on `date` (today's, if none
// is given) as one more exclusion, named "revocations". Throws ConfigError.
BoundPolicy bound_policy(const RunConfig& config, const std::optional<Date>& date = std::nullopt);

// The policy with which the run of a checkpoint began: where its files are followed while training (policy.watch,
// policy.revocations), what they say today does not matter to a run that goes on. `part`: the checkpoint's part
// "governance", or null.
BoundPolicy starting_policy(const RunConfig& config, const Date& date, const nlohmann::json& part);

// What training holds of the model's size at least: weights, gradients, moments, what is withheld, the weights of an
// averaged reference. A Session that would not fit into memory throws Failure before its model is made.
double copies_of_model(const RunConfig& config, const Policy& policy);

PrepareOptions prepare_options(const RunConfig& config);

// policy.date, or today.
Date policy_date(const RunConfig& config);

// Prepares the data as the run would: classified, and without what the policy excludes on that day. Throws Error or
// Failure.
PrepareReport prepare_data(FileSystem& fs, const RunConfig& config, const BoundPolicy& policy, const Date& date,
                           DocumentClassifier* classifier);

class Session {
 public:
  // `date`: the day on which the policy is evaluated. Throws ConfigError, Error or Failure.
  // `part`: as for starting_policy.
  Session(FileSystem& fs, const RunConfig& config, const Date& date, const nlohmann::json& part = nullptr);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const RunConfig& config;
  Backend& backend;
  Date date;
  BoundPolicy policy;
  std::unique_ptr<DocumentClassifier> classifier;  // null: the class is the metadata's
  PrepareReport prepared;
  Dataset dataset;
  std::unique_ptr<Transformer> model;
  BlockMap blocks;
  std::string blocks_sha256;  // block_map_digest
  std::unique_ptr<Governance> governance;
  std::unique_ptr<Sampler> sampler;
  std::unique_ptr<Trainer> trainer;
  std::unique_ptr<WithheldKeeper> withheld;  // null: discarded
  std::unique_ptr<EntropyRouter> entropy;    // null: the policy has no bands, or the run is not routed
  std::unique_ptr<Evaluator> evaluator;
  std::unique_ptr<Adapter> adapter;  // null in plain training
  std::optional<double> unigram;     // nats per token on the validation split

  // A batch as the trainer takes it. `batch` must outlive the result.
  static TrainBatch train_batch(const Batch& batch);
  RouteTable route(const Batch& batch) const;
};

}  // namespace govtrain
