// The table of verbs.
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/verb.h"

namespace govtrain {

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table = {
      run_verb(),
      validate_verb(),
      config_show_verb(),
      config_schema_verb(),
      config_docs_verb(),
      config_diff_verb(),
      data_prepare_verb(),
      data_inspect_verb(),
      data_stats_verb(),
      blocks_show_verb(),
      blocks_learn_verb(),
      classify_train_verb(),
      classify_show_verb(),
      classify_explain_verb(),
      policy_check_verb(),
      policy_explain_verb(),
      policy_replay_verb(),
      proposals_list_verb(),
      proposals_show_verb(),
      proposals_approve_verb(),
      proposals_reject_verb(),
      eval_verb(),
      sample_verb(),
      lineage_verify_verb(),
      lineage_show_verb(),
      lineage_prove_verb(),
      review_list_verb(),
      review_show_verb(),
      review_approve_verb(),
      review_reject_verb(),
      inspect_verb(),
      env_verb(),
      completion_verb(),
      version_verb(),
      help_verb(),
  };
  return table;
}

}  // namespace govtrain
