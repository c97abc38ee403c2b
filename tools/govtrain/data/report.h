// What is in a prepared corpus, as text for people.
#pragma once

#include <cstdint>
#include <string>

#include "tools/govtrain/data/dataset.h"

namespace govtrain {

// Example `index` of the training (or validation) split in document order: its ids, text, targets and provenance.
// Throws Error when there is no such example.
std::string inspect_example(const Dataset& dataset, Split split, uint64_t index, int context);

// Documents and tokens in all, by split, and by package (or source), licence and class; excluded records by reason.
std::string data_stats(const Dataset& dataset);

}  // namespace govtrain
