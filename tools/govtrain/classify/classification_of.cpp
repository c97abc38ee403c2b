#include "tools/govtrain/classify/classification_of.h"

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

nlohmann::json classifier_header(const std::string& path) { return require(read_classifier(path)).header; }

}  // namespace govtrain
