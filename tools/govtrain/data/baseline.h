// What a model without context reaches, to print beside the validation loss.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tools/govtrain/data/dataset.h"

namespace govtrain {

// Cross-entropy, in nats per token, of the validation targets (eos included) under the add-one smoothed frequencies of
// the training targets. Only documents whose `admitted` flag is not 0 (empty: all). Nothing when there are no
// validation documents.
std::optional<double> unigram_loss(const Dataset& dataset, const std::vector<uint8_t>& admitted = {});

}  // namespace govtrain
