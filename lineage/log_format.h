// Names and texts of the files of a log other than its tiles; shared by writer, reader and verifier. The format is
// described in docs/log_format.md.
#pragma once

#include <string>
#include <string_view>

#include "core/hash.h"
#include "core/status.h"

namespace govtrain {

inline constexpr char checkpoint_file[] = "checkpoint";
inline constexpr char key_file[] = "log.vkey";
inline constexpr char provenance_dir[] = "prov";
inline constexpr char state_dir[] = ".state";
inline constexpr char state_file[] = ".state/treeState";
inline constexpr char lock_file[] = ".state/lock";
inline constexpr char version_file[] = ".state/version";
inline constexpr char version_text[] = "govtrain-lineage 1\n";

// The writer's private state; replacing its file is the commit point.
struct TreeState {
  uint64_t size = 0;
  Digest root{};
  std::string run;
};

std::string tree_state_text(const TreeState& state);
Result<TreeState> parse_tree_state(std::string_view text);

}  // namespace govtrain
