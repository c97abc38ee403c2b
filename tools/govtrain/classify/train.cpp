#include "tools/govtrain/classify/train.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "autograd/ops.h"
#include "autograd/optimizer.h"
#include "core/error.h"
#include "core/rng.h"
#include "tools/govtrain/base/build_info.h"
#include "tools/govtrain/base/device.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {
namespace {

using nlohmann::json;

uint64_t low_bits(const Digest& digest) {
  uint64_t out = 0;
  for (size_t i = 0; i < 8; ++i) out = out << 8 | digest[i];
  return out;
}

// One step's documents as a dense matrix: a row each.
struct Rectangle {
  Tensor x;
  Rows rows;
  std::vector<int32_t> target;
};

Rectangle rectangle(const std::vector<ClassifierExample>& examples, const std::vector<size_t>& order, size_t begin,
                    size_t end, const LinearClassifier& model, Backend& backend) {
  const auto count = static_cast<int64_t>(end - begin);
  std::vector<int32_t> offsets;
  for (int32_t i = 0; i <= count; ++i) offsets.push_back(i);
  Rectangle out{Tensor(count, model.ngrams.buckets, backend.allocator()), Rows(offsets), {}};
  const Tensor x = Tensor::zeros(count, model.ngrams.buckets);
  for (int64_t r = 0; r < count; ++r) {
    const ClassifierExample& example = examples[order[begin + static_cast<size_t>(r)]];
    float* row = x.view().row(r);
    const SparseRow features = hashed_ngrams(example.text, model.ngrams);
    for (size_t j = 0; j < features.index.size(); ++j) row[features.index[j]] = features.value[j];
    const auto at = std::lower_bound(model.classes.begin(), model.classes.end(), example.cls);
    out.target.push_back(static_cast<int32_t>(at - model.classes.begin()));
  }
  out.x.assign(x.values());
  return out;
}

std::vector<size_t> order_of_epoch(const std::vector<ClassifierExample>& examples, uint64_t seed, uint64_t epoch) {
  std::vector<std::pair<uint64_t, size_t>> keyed;
  for (size_t i = 0; i < examples.size(); ++i) {
    const Rng rng(seed, Stream::sampler, epoch, low_bits(examples[i].digest));
    keyed.emplace_back(uint64_t{rng.bits(0)} << 32 | rng.bits(1), i);
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<size_t> out;
  for (const auto& [key, i] : keyed) out.push_back(i);
  return out;
}

std::string digest_of_examples(const std::vector<ClassifierExample>& examples) {
  Sha256 hash;
  for (const ClassifierExample& e : examples) hash.update(hex(e.digest) + " " + e.cls + "\n");
  return hex(hash.finish());
}

ClassifierReport report(const LinearClassifier& model, const std::vector<ClassifierExample>& held_out,
                        const std::string& most_seen) {
  ClassifierReport out;
  for (const double threshold : {0.5, 0.7, 0.8, 0.9, 0.95}) out.above.push_back({threshold, 0, 0});
  std::map<std::string, std::pair<int64_t, int64_t>> by_class;
  for (const ClassifierExample& example : held_out) {
    const std::vector<float> p = model.probabilities(example.text);
    const size_t best = largest(p);
    const bool right = model.classes[best] == example.cls;
    ++out.documents;
    out.right += right ? 1 : 0;
    out.largest_class += example.cls == most_seen ? 1 : 0;
    auto& [count, good] = by_class[example.cls];
    ++count;
    good += right ? 1 : 0;
    for (ClassifierReport::Above& above : out.above) {
      if (static_cast<double>(p[best]) < above.threshold) continue;
      ++above.documents;
      above.right += right ? 1 : 0;
    }
  }
  for (const auto& [name, counts] : by_class) {
    out.classes.push_back(name);
    out.of_class.push_back(counts.first);
    out.right_class.push_back(counts.second);
  }
  return out;
}

}  // namespace

LinearClassifier fit_classifier(std::vector<ClassifierExample> examples, const ClassifierOptions& options,
                                Backend& backend) {
  std::sort(examples.begin(), examples.end(), [](const auto& a, const auto& b) { return a.digest < b.digest; });
  LinearClassifier model;
  model.ngrams = options.ngrams;
  std::set<std::string> names;
  for (const ClassifierExample& example : examples) names.insert(example.cls);
  model.classes = {names.begin(), names.end()};
  if (model.classes.size() < 2)
    throw Error("classify", "expected documents of two classes or more, got {}", model.classes.size());

  ParameterSet set(backend.allocator());
  const auto classes = static_cast<int64_t>(model.classes.size());
  Parameter& weight = set.add_matrix("weight", "head", 0, classes, options.ngrams.buckets);
  Parameter& bias = set.add_vector("bias", "head", 0, classes);
  for (Parameter* p : {&weight, &bias}) backend.fill({p->value().data(), static_cast<size_t>(p->value().size())}, 0.0F);
  OptimizerOptions rule;
  rule.kind = OptimizerKind::adamw;
  rule.weight_decay = static_cast<float>(options.decay);
  Optimizer optimizer(set, backend, rule);
  const auto batches = (static_cast<int64_t>(examples.size()) + options.batch - 1) / options.batch;
  const Schedule schedule{Schedule::Kind::cosine, options.lr, 0, 0, options.epochs * batches};
  int64_t step = 0;
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const std::vector<size_t> order = order_of_epoch(examples, options.seed, static_cast<uint64_t>(epoch));
    for (size_t begin = 0; begin < order.size(); begin += static_cast<size_t>(options.batch), ++step) {
      const size_t end = std::min(order.size(), begin + static_cast<size_t>(options.batch));
      Rectangle batch = rectangle(examples, order, begin, end, model, backend);
      Tape tape(backend, batch.rows, Mode::train);
      const Losses losses = cross_entropy(linear(tape.constant(std::move(batch.x)), weight, &bias), batch.target);
      const RouteTable route(batch.rows.examples(), set.blocks(), 1.0F);
      ParamGrad grads(set, backend, batch.rows, route, {.norms = false});
      const std::vector<float> coefficient(end - begin, 1.0F / static_cast<float>(options.batch));
      tape.backward(losses, coefficient, grads);
      optimizer.step(schedule.at(step));
      zero_grad(set, backend);
    }
  }
  const auto values = [](const Parameter& p) {
    const Tensor on_host = p.value().host();
    return std::vector<float>(on_host.values().begin(), on_host.values().end());
  };
  model.weight = values(weight);
  model.bias = values(bias);
  return model;
}

ClassifierTraining train_classifier(const RunConfig& config, const ClassifierOptions& options) {
  const auto classifier = classification_of(config, false);
  if (!classifier) throw Failure(exit_usage, "policy.classification is empty: nothing says which class a document has");
  Backend& backend = device_backend(config.run.device);
  const BoundPolicy policy = bound_policy(config);
  const Date date = policy_date(config);
  ClassifierTraining out;
  std::vector<ClassifierExample> train, held_out;
  for (SelectedDocument& d : select_documents(prepare_options(config), exclude_by(policy, date), classifier.get())) {
    std::vector<Claim> all;
    for (const Origin& origin : d.origins) all.insert(all.end(), origin.claims->begin(), origin.claims->end());
    const std::vector<std::string> classes = claimed_classes(all);
    if (classes.size() != 1) {
      ++(classes.empty() ? out.none : out.several);
      continue;
    }
    (d.split == Split::train ? train : held_out).push_back({d.digest, std::move(d.text), classes.front()});
  }
  std::map<std::string, int64_t> counts;
  for (const ClassifierExample& example : train) ++counts[example.cls];
  if (counts.size() < 2) {
    throw Failure(exit_data, fmt::format("{} documents of {} classes are left to train on; expected two classes or "
                                         "more ('govtrain classify show' tells what each source claims)",
                                         train.size(), counts.size()));
  }
  out.trained_on = {counts.begin(), counts.end()};
  const auto most =
      std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  out.file.model = fit_classifier(train, options, backend);
  out.held_out = report(out.file.model, held_out, most->first);
  const ClassifierReport& r = out.held_out;
  out.file.header = {{"made_by", "govtrain " + version()},
                     {"device", backend.name()},
                     {"instruction_set", backend.instruction_set()},
                     {"classification", classifier->classification().id()},
                     {"policy", policy.policy().id()},
                     {"policy_date", date.text()},
                     {"trained_on", counts},
                     {"documents_sha256", digest_of_examples(train)},
                     {"held_out", {{"documents", r.documents}, {"right", r.right}, {"largest_class", r.largest_class}}},
                     {"options",
                      {{"epochs", options.epochs},
                       {"batch", options.batch},
                       {"lr", options.lr},
                       {"decay", options.decay},
                       {"seed", options.seed}}}};
  return out;
}

}  // namespace govtrain
