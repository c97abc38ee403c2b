// The records at the head of a run's log, and the tables at its end: what is being trained, under which policy, without
// which documents. Pure functions from a session to records and text.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/file.h"
#include "lineage/record.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {

// Version, compiler, instruction set, device, seed, configuration, data and tokenizer digests, blocks. No wall clock,
// host, thread count or path.
nlohmann::json run_record(const Session& session);
// What may change the bits beside sources and configuration: build, device, instruction set. In the run record, and in
// the state of checkpoints as the part `device_part`.
inline constexpr const char* device_part = "device";
nlohmann::json device_record(const Session& session);
// Names and elements of the blocks when they do not fit into the run record: "first" and "blocks" each.
std::vector<nlohmann::json> block_records(const Session& session);
// Id, SHA-256, and canonical text of the classification, and what the headers of its models say. REQUIRES: there is
// one.
nlohmann::json classes_record(const Session& session);
// Id, rule table, and the policy's canonical text. A text that is too long for one entry goes on in others, which have
// the id, "part" and "text"; then all have "parts".
std::vector<nlohmann::json> policy_records(const BoundPolicy& policy);
// Adds what a record holds of the text; true when that was all of it.
bool add_policy_text(const nlohmann::json& record, std::string& text);
// One record per profile: id and weight per block.
std::vector<nlohmann::json> profile_records(const Session& session);

// What the policy kept out when the data were prepared: a record of the corpus, or a text of several records that leave
// it nothing to teach when they are joined.
struct ExcludedDocument {
  std::string digest;  // hex
  std::vector<Origin> origins;
};
std::vector<ExcludedDocument> excluded_documents(FileSystem& fs, const std::string& dataset_folder);
// `classification`: its id; empty: there is none.
ExampleRecord excluded_record(const ExcludedDocument& document, const BoundPolicy& policy, const Date& date,
                              const std::string& classification);

// generation_config.json of a Hugging Face folder.
std::string generation_config(const Tokenizer& tokenizer);

// By source: tokens in the schedule, blocks that they may teach, validation loss.
std::string effect_table(const Session& session, const EvalResult& result);

}  // namespace govtrain
