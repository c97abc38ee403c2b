// The file of an upstream classifier: one class, and perhaps a score, for each document. JSON lines
//   {"document": "sha256:<64 hex digits>", "class": "letter", "score": 0.97}
// or CSV with a header line; `id` in the place of `document` names a record by the id that the corpus gives it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "routing/classification.h"

namespace govtrain {

inline constexpr uint64_t max_label_bytes = uint64_t{1} << 31;

// The labels in `text`, keyed as in ClassSource. `file` ends in .jsonl or .csv and stands in messages. Reports what is
// wrong with each line: what is no label, classes that are not in `classes`, and a second label of a document that
// disagrees with the first; of two that agree the lower score holds. Gives nothing after an error.
std::optional<std::map<std::string, ClassLabel>> read_class_labels(const std::string& file, const std::string& text,
                                                                   const std::vector<std::string>& classes,
                                                                   Diagnostics& diagnostics);

}  // namespace govtrain
