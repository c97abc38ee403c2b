// The policy of a run at inference: what it says of a prompt, and of a text as it is written, and the record of each
// answer in the run's log. The same policy, classification and resolution as in training: a text is a document that
// nobody has seen yet. Changes no forward value; decides only whether text is written.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "routing/resolve.h"
#include "tools/govtrain/data/facts.h"
#include "tools/govtrain/train/resume.h"
#include "tools/govtrain/train/run_log.h"
#include "tools/govtrain/train/text_samples.h"

namespace govtrain {

struct InferenceOptions {
  std::string policy;  // a newer version of the run's policy; empty: the one in the checkpoint
  std::string date;    // YYYY-MM-DD; empty: the later of the run's day and policy.date (today without it)
  Meta meta;           // what is known of the prompts
};

// The run that a checkpoint or run folder belongs to, when it has a log; empty otherwise.
std::string run_of(FileSystem& fs, const std::string& model);

struct TextVerdict {
  bool admitted = true;
  // False: there is no metadata, and no class is claimed. Only lists that name the text by its digest were asked.
  bool known = false;
  std::string rule, why;             // the table entries that keep it out, and the reason; empty when it is admitted
  std::vector<std::string> classes;  // claimed for it
};

class Inference {
 public:
  // Takes the log's lock, and so refuses while the run is in progress. `checkpoint` is one of the run's. Throws
  // Failure or ConfigError.
  Inference(FileSystem& fs, const std::string& run, const std::string& checkpoint, const Transformer& model,
            const InferenceOptions& options);

  TextVerdict judge(const std::string& text) const;
  // Texts are judged by what is in them, so that a verdict may change as they grow.
  bool classifies() const { return classifier_ != nullptr; }
  const std::string& policy_id() const { return id_; }
  const Date& day() const { return day_; }

  // One `infer` record for each sample, made durable and signed before this returns: digests and numbers of tokens,
  // never the text. Throws Failure, and then nothing should be shown.
  void log(const std::vector<TextSample>& samples, const std::vector<TextVerdict>& verdicts);

 private:
  std::unique_ptr<RunConfigFile> file_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<DocumentClassifier> classifier_;  // null: the class is the metadata's
  std::optional<BoundPolicy> policy_;
  std::string id_;
  Exclusion revoked_;
  Date day_ = Date::today();
  nlohmann::json meta_, head_;  // what each record says alike
};

}  // namespace govtrain
