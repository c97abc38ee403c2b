// Which combinations of values cannot work. Values by themselves are the schema's business.
#include <fmt/format.h>

#include <filesystem>

#include "autograd/technique.h"
#include "core/error.h"
#include "routing/date.h"
#include "tools/govtrain/config/blocks_config.h"

namespace govtrain {
namespace {

// Reports at the first of `keys` that was given, so that the message stands at a line that the user wrote.
class Report {
 public:
  Report(const LoadedConfig& loaded, Diagnostics& diagnostics) : loaded_(loaded), diagnostics_(diagnostics) {}

  void error(const std::vector<std::string>& keys, const std::string& message, const std::string& hint) {
    std::string at = keys.front();
    for (const std::string& key : keys) {
      if (loaded_.given.count(key) != 0) {
        at = key;
        break;
      }
    }
    diagnostics_.error(loaded_.where(at), message, hint);
  }

 private:
  const LoadedConfig& loaded_;
  Diagnostics& diagnostics_;
};

bool is_inside(const std::string& inner, const std::string& outer) {
  namespace fs = std::filesystem;
  const auto normal = [](const std::string& p) {
    fs::path path = fs::absolute(p).lexically_normal();
    return path.has_filename() ? path : path.parent_path();
  };
  const fs::path relative = normal(inner).lexically_relative(normal(outer));
  return !relative.empty() && *relative.begin() != "..";
}

void check_model(const RunConfig& c, Report& r) {
  const auto& m = c.model;
  if (m.width < 1 || m.heads < 1) return;  // missing; said already
  if (m.width % m.heads != 0)
    r.error({"model.heads", "model.width"},
            fmt::format("model.width {} is not a multiple of model.heads {}", m.width, m.heads),
            fmt::format("a width of {} or {} fits",
                        m.width / m.heads * m.heads == 0 ? m.heads : m.width / m.heads * m.heads,
                        (m.width / m.heads + 1) * m.heads));
  else if (m.positions == "rope" && (m.width / m.heads) % 2 != 0)
    r.error({"model.positions", "model.heads", "model.width"},
            fmt::format("positions 'rope' turns pairs, but a head has {} channels (model.width {} / model.heads {})",
                        m.width / m.heads, m.width, m.heads),
            "choose an even width per head, or positions: learned");
  if (m.kv_heads > 0 && m.heads % m.kv_heads != 0)
    r.error({"model.kv_heads"},
            fmt::format("model.heads {} is not a multiple of model.kv_heads {}", m.heads, m.kv_heads),
            "each key and value head serves the same number of heads");
}

void check_optim(const RunConfig& c, Report& r) {
  const auto& o = c.optim;
  if (o.betas.size() != 2)
    r.error({"optim.betas"}, fmt::format("optim.betas needs two numbers, found {}", o.betas.size()),
            "for example [0.9, 0.95]");
  for (const double beta : o.betas)
    if (beta >= 1) r.error({"optim.betas"}, "optim.betas must be less than 1", "for example [0.9, 0.95]");
  if (o.schedule != "constant" && o.min_lr > o.lr)
    r.error({"optim.min_lr", "optim.lr"}, fmt::format("optim.min_lr {} is greater than optim.lr {}", o.min_lr, o.lr),
            "the learning rate falls from lr to min_lr");
  if (c.train.steps >= 1 && o.warmup_steps >= c.train.steps)
    r.error({"optim.warmup_steps", "train.steps"},
            fmt::format("optim.warmup_steps {} leaves nothing of train.steps {}", o.warmup_steps, c.train.steps),
            "warm up for fewer steps than the run has");
  if (o.nesterov && (o.kind != "sgd" || o.momentum == 0))
    r.error({"optim.nesterov"}, "optim.nesterov needs optim.kind sgd with optim.momentum above 0", "");
  if (o.momentum != 0 && o.kind != "sgd")
    r.error({"optim.momentum"}, fmt::format("optim.momentum belongs to sgd; optim.kind is {}", o.kind),
            "adam and adamw take optim.betas");
}

// Keys of a probe set that is not there. A replayed run may leave out the measuring and nothing else.
void check_probe(const RunConfig& c, Report& r) {
  const auto& p = c.probe;
  const auto defaults = RunConfig().probe;  // a configuration that is written out whole gives them, too
  if (p.examples > 0 || !c.adaptation.replay.empty()) return;
  for (const auto& [key, changed] :
       {std::pair("probe.file", p.file != defaults.file), std::pair("probe.every", p.every != defaults.every),
        std::pair("probe.alpha", p.alpha != defaults.alpha),
        std::pair("probe.reference_step", p.reference_step != defaults.reference_step)}) {
    if (changed)
      r.error({key}, fmt::format("{} belongs to a probe set, but probe.examples is 0", key),
              "remove it, or say how many texts, for example probe.examples: 64");
  }
}

void check_data(const RunConfig& c, Report& r) {
  const auto& t = c.data.tokenizer;
  if (t.kind == "sentencepiece" && (t.vocab_size < 300 || t.vocab_size > 262144))
    r.error({"data.tokenizer.vocab_size"},
            fmt::format("data.tokenizer.vocab_size {} is out of range for sentencepiece", t.vocab_size),
            "expected 300 to 262144: 256 byte pieces, 3 control pieces, and room for words");
  if (c.train.tokens_per_step < c.data.context)
    r.error(
        {"train.tokens_per_step", "data.context"},
        fmt::format("train.tokens_per_step {} is less than data.context {}", c.train.tokens_per_step, c.data.context),
        "the longest example must fit into a step");
  if (c.train.micro_batch_tokens > 0 && c.train.micro_batch_tokens < c.data.context)
    r.error({"train.micro_batch_tokens", "data.context"},
            fmt::format("train.micro_batch_tokens {} is less than data.context {}", c.train.micro_batch_tokens,
                        c.data.context),
            "the longest example must fit into a micro-batch");
  if (c.eval.every > 0 && c.data.validation_fraction == 0)
    r.error({"eval.every"}, "eval.every needs a validation split, but data.validation_fraction is 0",
            "hold out some documents, for example validation_fraction: 0.05");
  if (c.probe.examples == 1)
    r.error({"probe.examples"}, "probe.examples 1 has no entropy", "at least 2, for example 64");
  if (c.probe.examples > 0 && c.probe.file.empty() && c.data.validation_fraction == 0)
    r.error({"probe.examples"}, "the probe set needs a validation split, but data.validation_fraction is 0",
            "hold out some documents, or name a file with texts (probe.file)");
  if ((c.probe.examples > 0 || !c.adaptation.replay.empty()) && !c.train.routing)
    r.error({"probe.examples", "adaptation.replay"}, "train.routing is false: no profile could change",
            "set probe.examples: 0 and leave adaptation.replay empty");
  if (c.sample.every > 0 && c.sample.prompts.empty())
    r.error({"sample.every"}, "sample.every is set, but sample.prompts is empty", "for example prompts: [\"The \"]");
}

void check_routing(const RunConfig& c, Report& r) {
  const std::vector<std::string>& techniques = c.routing.technique;
  try {
    parse_techniques(techniques);
  } catch (const Error& e) {
    const std::string said = e.what();
    r.error({"routing.technique"}, "routing.technique: " + said.substr(said.find("] ") + 2),
            "for example technique: [boundary]");
    return;
  }
  const std::string& withheld = c.routing.withheld;
  const std::string& point = c.routing.enforcement;
  if (point != "backward" && techniques != std::vector<std::string>{"scale"})
    r.error({"routing.enforcement", "routing.technique"},
            fmt::format("routing.enforcement is {}, but gates act in the backward pass only", point),
            "expected technique: [scale], or enforcement: backward");
  if (point != "backward" && !c.train.routing)
    r.error({"routing.enforcement", "train.routing"},
            fmt::format("routing.enforcement is {}, but there is nothing to enforce with train.routing: false", point),
            "expected enforcement: backward, or a routed run");
  if (point == "loss" && withheld != "discard")
    r.error({"routing.enforcement", "routing.withheld"},
            fmt::format("routing.enforcement is loss, but what is withheld is no part of the loss (routing.withheld is "
                        "{})",
                        withheld),
            "expected enforcement: backward or optimizer, or withheld: discard");
  if (withheld != "discard" && techniques != std::vector<std::string>{"scale"})
    r.error({"routing.withheld", "routing.technique"},
            fmt::format("routing.withheld is {}, but only the technique scale tells what is withheld", withheld),
            "expected technique: [scale], or withheld: discard");
  // A configuration that is written out whole gives the default, too.
  if (withheld != "shadow" && c.routing.shadow.every != RunConfig().routing.shadow.every)
    r.error({"routing.shadow.every"},
            fmt::format("routing.shadow.every belongs to routing.withheld shadow; routing.withheld is {}", withheld),
            "remove it, or set routing.withheld: shadow");
  if (withheld == "discard") return;
  if (!c.train.routing)
    r.error({"routing.withheld", "train.routing"},
            fmt::format("routing.withheld is {}, but nothing is withheld with train.routing: false", withheld),
            "expected withheld: discard, or a routed run");
  else if (withheld == "shadow" && !c.lineage.enabled)
    r.error({"routing.withheld", "lineage.enabled"},
            "routing.withheld: shadow needs the log, but lineage.enabled is "
            "false",
            "a review says from the log what a pending update is made of");
}

void check_places(const RunConfig& c, Report& r) {
  if (!c.run.out.empty() && !c.data.cache.empty() && is_inside(c.run.out, c.data.cache))
    r.error({"run.out"}, fmt::format("run.out {} lies inside data.cache {}", c.run.out, c.data.cache),
            "the cache holds nothing but prepared data and may be deleted at any time");
  if (!c.run.out.empty() && !c.lineage.key.empty() && is_inside(c.lineage.key, c.run.out))
    r.error({"lineage.key"}, fmt::format("lineage.key {} lies inside run.out {}", c.lineage.key, c.run.out),
            "whoever is given the run folder must not be given the key that signs its log");
  if (c.run.name.empty() || c.run.name.find_first_of("/ +\t\n") != std::string::npos || c.run.name[0] == '.')
    r.error({"run.name"}, "run.name must be a file name without spaces, '/' and '+'", "");
  if (c.lineage.origin.find_first_of(" +\t\n") != std::string::npos)
    r.error({"lineage.origin"}, "lineage.origin must not have spaces or '+'", "for example example.org/lm");
  if (c.run.resume.empty())
    r.error({"run.resume"}, "run.resume is empty", "expected never, auto, or the folder of a checkpoint");
  if (!c.policy.date.empty() && !Date::parse(c.policy.date))
    r.error({"policy.date"}, fmt::format("policy.date {} is no day", in_quotes(c.policy.date)), "expected YYYY-MM-DD");
  const bool simulated = c.policy.clock == "simulated";
  if (simulated && c.policy.steps_per_day == 0)
    r.error({"policy.clock"}, "policy.clock is simulated, but policy.steps_per_day is 0",
            "say how many steps a day has, for example steps_per_day: 100");
  if (!simulated && c.policy.steps_per_day > 0)
    r.error({"policy.steps_per_day"},
            fmt::format("policy.steps_per_day belongs to policy.clock simulated; policy.clock is {}", c.policy.clock),
            "remove it, or set clock: simulated");
  if (c.policy.clock == "wall" && !c.policy.date.empty())
    r.error({"policy.clock", "policy.date"}, "policy.clock wall starts on the day of the start, not on policy.date",
            "leave one of them out");
  for (const auto& [key, given] :
       {std::pair("policy.watch", c.policy.watch), std::pair("policy.revocations", !c.policy.revocations.empty()),
        std::pair("policy.reference", !c.policy.reference.empty()),
        std::pair("policy.classification", !c.policy.classification.empty())}) {
    if (given && c.policy.file.empty())
      r.error({key}, fmt::format("{} is given, but policy.file is not", key), "name a policy, or remove it");
  }
  if (c.policy.file.empty() && c.train.routing)
    r.error({"policy.file", "train.routing"}, "policy.file is required: it says what each document may teach",
            "name a policy, or compare without one by train.routing: false");
}

}  // namespace

void check(const RunConfig& config, const LoadedConfig& loaded, Diagnostics& diagnostics) {
  Report report(loaded, diagnostics);
  check_model(config, report);
  check_optim(config, report);
  check_data(config, report);
  check_probe(config, report);
  check_routing(config, report);
  check_places(config, report);
  check_blocks(config, loaded, diagnostics);
}

}  // namespace govtrain
