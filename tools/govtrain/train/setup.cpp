#include "tools/govtrain/train/setup.h"

#include <fmt/format.h>

namespace govtrain {

using nlohmann::json;

TransformerConfig model_config(const RunConfig& config, int64_t vocab) {
  const auto& m = config.model;
  TransformerConfig c;
  c.vocab = vocab;
  c.context = config.data.context;
  c.layers = m.layers;
  c.width = m.width;
  c.heads = m.heads;
  c.kv_heads = m.kv_heads;
  c.mlp_width = m.mlp_width;
  c.mlp = parse_mlp(m.mlp);
  c.norm = parse_norm(m.norm);
  c.norm_eps = m.norm_eps;
  c.positions = parse_positions(m.positions);
  c.rope_base = m.rope_base;
  c.tied_head = m.tied_head;
  c.bias = m.bias;
  c.dropout = m.dropout;
  return c;
}

OptimizerOptions optimizer_options(const RunConfig& config) {
  const auto& o = config.optim;
  OptimizerOptions options;
  options.kind = o.kind == "sgd" ? OptimizerKind::sgd : o.kind == "adam" ? OptimizerKind::adam : OptimizerKind::adamw;
  options.momentum = static_cast<float>(o.momentum);
  options.nesterov = o.nesterov;
  options.beta1 = static_cast<float>(o.betas.at(0));
  options.beta2 = static_cast<float>(o.betas.at(1));
  options.eps = static_cast<float>(o.eps);
  options.weight_decay = static_cast<float>(o.weight_decay);
  options.untouched = o.untouched == "step" ? Untouched::step : Untouched::skip;
  return options;
}

TrainerOptions trainer_options(const RunConfig& config) {
  TrainerOptions options;
  options.seed = static_cast<uint64_t>(config.run.seed);
  options.loss_denominator = config.train.tokens_per_step;
  options.micro_batch_rows = config.train.micro_batch_tokens;
  options.clip = config.optim.clip;
  options.routed = config.train.routing;
  options.norms = config.lineage.norms;
  options.withheld = config.routing.withheld != "discard";
  // What waits for a review is summed as it is: it is clipped when it is applied.
  options.withheld_clip = config.routing.withheld == "quarantine" ? config.optim.clip : 0;
  options.enforcement = parse_enforcement(config.routing.enforcement);
  options.skip = config.routing.skip;
  options.forward_excluded = config.routing.forward_excluded;
  return options;
}

Schedule schedule(const RunConfig& config) {
  Schedule s;
  s.kind = config.optim.schedule == "constant" ? Schedule::Kind::constant
           : config.optim.schedule == "linear" ? Schedule::Kind::linear
                                               : Schedule::Kind::cosine;
  s.lr = config.optim.lr;
  s.min_lr = config.optim.min_lr;
  s.warmup_steps = config.optim.warmup_steps;
  s.total_steps = config.train.steps;
  return s;
}

json training_config(const RunConfig& config) {
  json all = json::parse(resolved_json(config));
  for (const char* section : {"eval", "lineage", "log", "sample", "save"}) all.erase(section);
  for (const char* key : {"inputs", "cache"}) all.at("data").erase(key);
  all.at("blocks").erase("file");
  for (const char* key : {"classification", "file", "date", "reference", "revocations"}) all.at("policy").erase(key);
  for (const char* key : {"skip", "forward_excluded"}) all.at("routing").erase(key);
  for (const char* key : {"device", "out", "resume", "threads"}) all.at("run").erase(key);
  all.at("train").erase("max_minutes");
  all.at("probe").erase("file");  // the texts themselves, and the log that is replayed, are told by Adapter::state()
  all.erase("adaptation");
  return all;
}

std::vector<std::string> differences(const json& a, const json& b) {
  const json left = a.flatten(), right = b.flatten();
  std::vector<std::string> out;
  const auto name = [](const std::string& pointer) {
    std::string key = pointer.substr(1);
    for (char& c : key) c = c == '/' ? '.' : c;
    return key;
  };
  for (const auto& [key, value] : left.items()) {
    if (!right.contains(key)) {
      out.push_back(fmt::format("{}: {} against nothing", name(key), value.dump()));
    } else if (right.at(key) != value) {
      out.push_back(fmt::format("{}: {} against {}", name(key), value.dump(), right.at(key).dump()));
    }
  }
  for (const auto& [key, value] : right.items()) {
    if (!left.contains(key)) out.push_back(fmt::format("{}: nothing against {}", name(key), value.dump()));
  }
  return out;
}

}  // namespace govtrain
