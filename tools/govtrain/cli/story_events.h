// One line of text for each control record of a log, for people. Kinds without a sentence of their own show their
// members.
#pragma once

#include <string>

#include "lineage/record.h"

namespace govtrain {

std::string event_text(const ControlRecord& record);

}  // namespace govtrain
