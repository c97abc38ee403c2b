// The quarantine: an inert optimizer of the run's own rule, with moments and clocks of its own, that is fed what is
// withheld. What it would have done to the model is kept as a displacement, to be looked at and never applied.
#include "core/error.h"
#include "tools/govtrain/train/setup.h"
#include "tools/govtrain/train/withheld.h"

namespace govtrain {
namespace {

using nlohmann::json;

class Quarantine final : public WithheldKeeper {
 public:
  Quarantine(const RunConfig& config, Transformer& model, Backend& backend)
      : optimizer_(model.parameters(), backend, optimizer_options(config), Drives::displacement),
        not_finite_(static_cast<size_t>(model.parameters().blocks()), 0) {}

  std::vector<json> after_step(int64_t, const StepResult& result, double lr) override {
    for (size_t b = 0; b < result.withheld.size(); ++b) {
      if (!std::isfinite(result.withheld[b].norm)) ++not_finite_[b];
    }
    optimizer_.step(lr);
    return {};
  }

  json part() const override {
    json clocks = json::object();
    for (const auto& c : optimizer_.export_state().clocks) clocks[c.name] = c.steps;
    return {{"mode", "quarantine"}, {"optimizer_steps", clocks}, {"not_finite", not_finite_}};
  }

  std::vector<SafetensorsInput> tensors() const override {
    std::vector<SafetensorsInput> out;
    for (const auto& b : optimizer_.export_state().buffers) {
      out.push_back({b.name, {b.value.rows(), b.value.cols()}, b.value.values(), b.value});
    }
    return out;
  }

  void load(const json& part, const std::vector<NamedTensor>& tensors) override {
    if (part.at("mode") != "quarantine") {
      throw Error("withheld", "expected the state of a quarantine, got {}", part.at("mode").dump());
    }
    OptimizerState state;
    for (const NamedTensor& t : tensors) state.buffers.push_back({t.name, t.value});
    for (const auto& [name, steps] : part.at("optimizer_steps").items()) {
      state.clocks.push_back({name, steps.get<std::vector<int64_t>>()});
    }
    const auto not_finite = part.at("not_finite").get<std::vector<int64_t>>();
    if (not_finite.size() != not_finite_.size()) {
      throw Error("withheld", "expected {} blocks, got {}", not_finite_.size(), not_finite.size());
    }
    optimizer_.import_state(state);
    not_finite_ = not_finite;
  }

 private:
  Optimizer optimizer_;
  std::vector<int64_t> not_finite_;  // [B] steps whose withheld gradient was not finite and was left out
};

}  // namespace

std::unique_ptr<WithheldKeeper> make_quarantine(const RunConfig& config, Transformer& model, Backend& backend) {
  return std::make_unique<Quarantine>(config, model, backend);
}

}  // namespace govtrain
