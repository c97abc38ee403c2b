// The verbs, one maker each; the file that implements it is named beside it.
#pragma once

#include "tools/govtrain/cli/verb.h"

namespace govtrain {

// run_verbs.cpp
Verb run_verb();
Verb validate_verb();
Verb eval_verb();

// sample_verb.cpp
Verb sample_verb();

// data_verbs.cpp
Verb data_prepare_verb();
Verb data_inspect_verb();
Verb data_stats_verb();

// classify_verbs.cpp
Verb classify_train_verb();
Verb classify_show_verb();
Verb classify_explain_verb();

// policy_verbs.cpp
Verb policy_check_verb();
Verb policy_explain_verb();
Verb policy_replay_verb();

// proposal_verbs.cpp
Verb proposals_list_verb();
Verb proposals_show_verb();
Verb proposals_approve_verb();
Verb proposals_reject_verb();
// blocks_verbs.cpp
Verb blocks_show_verb();
Verb blocks_learn_verb();

// config_verbs.cpp
Verb config_show_verb();
Verb config_schema_verb();
Verb config_docs_verb();
Verb config_diff_verb();

// lineage_verbs.cpp
Verb lineage_verify_verb();
Verb lineage_show_verb();
Verb lineage_prove_verb();

// review_verbs.cpp
Verb review_list_verb();
Verb review_show_verb();
Verb review_approve_verb();
Verb review_reject_verb();

// inspect.cpp
Verb inspect_verb();

// completion.cpp
Verb completion_verb();

// about.cpp
Verb version_verb();
Verb env_verb();
Verb help_verb();

}  // namespace govtrain
