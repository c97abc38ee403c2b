#include "tools/govtrain/classify/classification_of.h"

#include <fmt/format.h>

#include <filesystem>

#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/classify/model_file.h"

namespace govtrain {

std::unique_ptr<DocumentClassifier> classification_of(const RunConfig& config, bool models) {
  if (config.policy.classification.empty()) return nullptr;
  Diagnostics diagnostics;
  std::optional<Classification> read = Classification::read(
      config.policy.classification, models ? read_classifier_for : Classification::ReadModel(), diagnostics);
  if (!read) throw ConfigError(diagnostics);
  return std::make_unique<DocumentClassifier>(std::move(*read));
}

void check_classification(const RunConfig& config, const Position& at, Diagnostics& diagnostics) {
  const std::string& file = config.policy.classification;
  if (file.empty()) return;
  if (std::filesystem::exists(file)) {
    (void)Classification::read(file, read_classifier_for, diagnostics);
  } else {
    diagnostics.error(at, fmt::format("policy.classification: {} does not exist", in_quotes(file)),
                      "looked for " + std::filesystem::absolute(file).lexically_normal().string());
  }
}

nlohmann::json classifier_header(const std::string& path) { return require(read_classifier(path)).header; }

}  // namespace govtrain
