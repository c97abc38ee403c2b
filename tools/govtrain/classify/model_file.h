// The file of a trained classifier: safetensors with the tensors `weight` [C, buckets] and `bias` [C], and in its
// metadata a JSON header that says what it was trained on and how well it does. A SHA-256 over both guards against
// damage, not against somebody who writes a new one: for that a classification can name the file's SHA-256, and the log
// of a run holds it.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "core/config/diagnostics.h"
#include "core/file.h"
#include "routing/linear_classifier.h"

namespace govtrain {

inline constexpr const char* classifier_format = "govtrain-classifier";
inline constexpr int classifier_version = 1;

struct ClassifierFile {
  LinearClassifier model;
  nlohmann::json header;  // "classes", "ngrams", and what TrainedClassifier::header() adds
};

// `invalid` when the shapes of the model do not agree. Same arguments, same bytes.
Status write_classifier(FileSystem& fs, const std::string& path, const ClassifierFile& file);
// `corrupt` or `invalid`, with what was found and expected, for a file that is no classifier, of another version, or
// changed. Weights that are not finite are `invalid`.
Result<ClassifierFile> read_classifier(const std::string& path);

// For Classification::read.
std::optional<LinearClassifier> read_classifier_for(const std::string& path, const Position& at,
                                                    Diagnostics& diagnostics);

}  // namespace govtrain
