// What happened in a run, in order, one line for each event: the control records of a log, with the stretches of
// training between them in one line each. For people; the records themselves are what `lineage show` prints.
#pragma once

#include "lineage/reader.h"

namespace govtrain {

// Prints the whole log; superseded records are told as such in one line. Throws Failure when the log does not verify.
void print_lineage_story(LogReader& log);

}  // namespace govtrain
