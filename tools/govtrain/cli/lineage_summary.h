// What taught a model, in one table: the records of a log summed by source (the metadata key 'package', else 'source')
// and licence. Reads and checks every entry.
#pragma once

#include <string>

#include "core/file.h"
#include "lineage/reader.h"

namespace govtrain {

// Prints one row per source and licence: example records, tokens, and for each block the mean weight and the share of
// the summed realised norms. Superseded records are left out. Throws Failure when the log does not verify.
void print_lineage_summary(FileSystem& fs, const std::string& folder, LogReader& log);

}  // namespace govtrain
