// From the configuration to the options of the parts, and to the identity of a training: what two runs must share to
// give the same bits. No state, no files.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "autograd/optimizer.h"
#include "models/transformer_config.h"
#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/train/trainer.h"

namespace govtrain {

TransformerConfig model_config(const RunConfig& config, int64_t vocab);
OptimizerOptions optimizer_options(const RunConfig& config);
TrainerOptions trainer_options(const RunConfig& config);
Schedule schedule(const RunConfig& config);

// The part of the configuration that decides the bits: without places on disk, threads, and what is only shown or
// saved.
nlohmann::json training_config(const RunConfig& config);

// Keys ("optim.lr") whose values differ, each with both values, for a message.
std::vector<std::string> differences(const nlohmann::json& a, const nlohmann::json& b);

}  // namespace govtrain
