// The classification that a configuration names, with its label files and classifiers.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/data/facts.h"

namespace govtrain {

// Null when policy.classification is empty. `models`: false leaves its sources of kind model out. Throws ConfigError.
std::unique_ptr<DocumentClassifier> classification_of(const RunConfig& config, bool models = true);

// Reports everything that is wrong with the classification and the files that it names, at their places; a file that is
// not there at `at`, the place of policy.classification. Nothing to report when that is empty.
void check_classification(const RunConfig& config, const Position& at, Diagnostics& diagnostics);

// The header of a classifier's file. Throws Failure.
nlohmann::json classifier_header(const std::string& path);

}  // namespace govtrain
