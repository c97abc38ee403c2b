#include "tools/govtrain/train/session.h"

#include <fmt/format.h>
#include <unistd.h>

#include "core/config/diagnostics.h"
#include "core/error.h"
#include "core/parallel.h"
#include "kernels/backend.h"
#include "tools/govtrain/base/device.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/config/blocks_config.h"
#include "tools/govtrain/config/policy_needs.h"
#include "tools/govtrain/data/baseline.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/train/setup.h"

namespace govtrain {
namespace {

constexpr const char* no_policy = "policy: none\nversion: 0\ndefault: full\nprofiles: {full: {all: 1}}\n";

// A machine that is asked for more than it has kills the program without a word.
void check_memory(const RunConfig& config, const Policy& policy, const TransformerConfig& shape) {
  const auto parameters = static_cast<double>(shape.parameter_count());
  const double needed = 4 * copies_of_model(config, policy) * parameters;
  const double present = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (needed > present) {
    throw Failure(exit_resource,
                  fmt::format("the model's {:.3g} parameters need at least {} of memory, this machine has "
                              "{}; lower model.width or model.layers",
                              parameters, human_bytes(static_cast<uint64_t>(needed)),
                              human_bytes(static_cast<uint64_t>(present))));
  }
}

Policy file_policy(const RunConfig& config, Diagnostics& diagnostics) {
  std::optional<Policy> policy = config.policy.file.empty() ? Policy::parse("(no policy)", no_policy, diagnostics)
                                                            : Policy::read(config.policy.file, diagnostics);
  if (!policy) throw ConfigError(diagnostics);
  return std::move(*policy);
}

BoundPolicy bind(const RunConfig& config, Policy policy, Diagnostics& diagnostics) {
  std::optional<BoundPolicy> bound = BoundPolicy::bind(std::move(policy), planned_blocks(config), diagnostics);
  if (!bound) throw ConfigError(diagnostics);
  return std::move(*bound);
}

// The policy without the revocations of the start: what a change of its file is compared with.
std::string text_of_file(const BoundPolicy& bound, const RunConfig& config) {
  Policy policy = bound.policy();
  if (!config.policy.revocations.empty())
    std::erase_if(policy.exclusions, [](const Exclusion& e) { return e.name == revocations_name; });
  return policy.canonical();
}

// The model that the policy's bands measure with; null when it is the trained one.
std::unique_ptr<ReferenceModel> reference_model(FileSystem& fs, const Session& s) {
  switch (s.policy.policy().entropy->source) {
    case SurprisalSource::model:
      return nullptr;
    case SurprisalSource::average:
      return ReferenceModel::average(*s.model, s.policy.policy().entropy->decay, s.backend);
    case SurprisalSource::frozen:
      return ReferenceModel::frozen(fs, s.config.policy.reference, s.dataset.tokenizer(), s.config.data.context,
                                    s.backend);
  }
  return nullptr;
}

void check_fit(const RunConfig& config, const Policy& policy) {
  Diagnostics diagnostics;
  check_needs(policy, config, diagnostics);
  check_reference(policy, config, {"policy.reference"}, diagnostics);
  check_replay(policy, config, {"adaptation.replay"}, diagnostics);
  diagnostics.throw_if_errors();
}

Dataset open_dataset(const PrepareReport& prepared) { return require(Dataset::open(prepared.folder)); }

}  // namespace

BoundPolicy bound_policy(const RunConfig& config, const std::optional<Date>& date) {
  Diagnostics diagnostics;
  Policy policy = file_policy(config, diagnostics);
  const std::vector<Revocation> list = listed_revocations(policy, config, {config.policy.revocations}, diagnostics);
  diagnostics.throw_if_errors();
  const Date day = date ? *date : policy_date(config);
  std::vector<std::string> entries;
  for (const Revocation& item : list) {
    if (!item.from || *item.from <= day) entries.push_back(item.entry);
  }
  if (!entries.empty()) policy.exclusions.push_back(as_exclusion(revocations_name, entries));
  return bind(config, std::move(policy), diagnostics);
}

BoundPolicy starting_policy(const RunConfig& config, const Date& date, const nlohmann::json& part) {
  const auto start = part.is_object() ? part.find("start") : part.end();
  if (!part.is_object() || start == part.end() || !start->is_string()) return bound_policy(config, date);
  if (!config.policy.watch && config.policy.revocations.empty()) return bound_policy(config, date);
  Diagnostics diagnostics;
  std::optional<Policy> saved = Policy::parse("the checkpoint's policy", *start, diagnostics);
  if (!saved) throw ConfigError(diagnostics);
  if (config.policy.watch) return bind(config, std::move(*saved), diagnostics);
  Policy policy = file_policy(config, diagnostics);
  for (Exclusion& e : saved->exclusions) {
    if (e.name == revocations_name) policy.exclusions.push_back(std::move(e));
  }
  return bind(config, std::move(policy), diagnostics);
}

double copies_of_model(const RunConfig& config, const Policy& policy) {
  const double live = config.optim.kind == "sgd" ? (config.optim.momentum > 0 ? 3 : 2) : 4;
  double copies = live;
  if (config.routing.withheld == "quarantine") copies += live;
  if (config.routing.withheld == "shadow") copies += 3;
  if (config.routing.enforcement == "optimizer") copies += 1;
  const bool average = policy.entropy && policy.entropy->source == SurprisalSource::average;
  if (average && config.train.routing) copies += 1;
  return copies;
}

PrepareOptions prepare_options(const RunConfig& config) {
  PrepareOptions options;
  options.inputs = config.data.inputs;
  options.cache = config.data.cache;
  options.tokenizer.kind = config.data.tokenizer.kind;
  options.tokenizer.vocab_size = static_cast<int>(config.data.tokenizer.vocab_size);
  options.cleaning.min_chars = config.data.min_chars;
  options.validation_fraction = config.data.validation_fraction;
  return options;
}

Date policy_date(const RunConfig& config) {
  return config.policy.date.empty() ? Date::today() : Date::parse(config.policy.date).value();
}

PrepareReport prepare_data(FileSystem& fs, const RunConfig& config, const BoundPolicy& policy, const Date& date,
                           DocumentClassifier* classifier) {
  try {
    return require(prepare(fs, prepare_options(config), exclude_by(policy, date), classifier));
  } catch (const Error& e) {
    throw Failure(exit_data, e.what());
  }
}

Session::Session(FileSystem& fs, const RunConfig& run_config, const Date& day, const nlohmann::json& part)
    : config(run_config),
      backend(device_backend(run_config.run.device, {"run.device"},
                             {run_config.run.precision, run_config.run.determinism})),
      date(day),
      policy(starting_policy(run_config, day, part)),
      classifier(classification_of(run_config)),
      prepared(prepare_data(fs, run_config, policy, day, classifier.get())),
      dataset(open_dataset(prepared)) {
  check_fit(config, policy.policy());
  const TransformerConfig shape = model_config(config, dataset.tokenizer().vocab_size());
  for (const std::string& problem : shape.problems()) throw Failure(exit_usage, problem);
  check_memory(config, policy.policy(), shape);
  model = std::make_unique<Transformer>(shape, static_cast<uint64_t>(config.run.seed), backend.allocator());
  const std::vector<ParameterInfo> infos = model->parameters().infos();
  blocks = blocks_of(config, infos);
  if (blocks.names != policy.blocks()) throw Error("blocks", "names changed with the vocabulary");
  blocks_sha256 = block_map_digest(blocks, infos);
  model->parameters().assign_blocks(blocks);
  try {
    model->set_techniques(parse_techniques(config.routing.technique));
  } catch (const Error& e) {
    throw Failure(exit_usage, std::string("routing.technique: ") + e.what());
  }
  governance = std::make_unique<Governance>(policy, date, dataset, text_of_file(policy, config));
  SamplerOptions options;
  options.context = static_cast<int>(config.data.context);
  options.tokens_per_step = static_cast<int>(config.train.tokens_per_step);
  options.seed = static_cast<uint64_t>(config.run.seed);
  const std::vector<uint8_t> admitted = governance->admitted();
  sampler = std::make_unique<Sampler>(dataset, options, admitted);
  trainer = std::make_unique<Trainer>(*model, backend, optimizer_options(config), trainer_options(config));
  withheld = make_withheld_keeper(fs, config, *model, backend);
  if (policy.policy().entropy && config.train.routing) {
    entropy = std::make_unique<EntropyRouter>(*governance, dataset, reference_model(fs, *this),
                                              config.train.micro_batch_tokens);
  }
  evaluator =
      std::make_unique<Evaluator>(dataset, "package", options.context, options.tokens_per_step, config.eval.max_tokens);
  if (config.train.routing) {
    adapter = std::make_unique<Adapter>(fs, config, dataset, blocks, *governance, *model, backend, *evaluator);
  }
  unigram = unigram_loss(dataset, admitted);
}

TrainBatch Session::train_batch(const Batch& batch) {
  TrainBatch out{batch.tokens, batch.targets, batch.rows, {}};
  for (const Example& e : batch.examples) out.example_ids.push_back(e.id);
  return out;
}

RouteTable Session::route(const Batch& batch) const { return governance->decide(batch.examples); }

}  // namespace govtrain
