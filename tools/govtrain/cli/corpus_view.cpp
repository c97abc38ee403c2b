#include "tools/govtrain/cli/corpus_view.h"

#include <fmt/format.h>

#include <set>

#include "core/config/diagnostics.h"
#include "tools/govtrain/base/exit.h"

namespace govtrain {

CorpusView::CorpusView(const RunConfig& config)
    : policy(bound_policy(config)),
      date(policy_date(config)),
      classifier(classification_of(config)),
      prepared(prepare_data(real_file_system(), config, policy, date, classifier.get())),
      dataset(require(Dataset::open(prepared.folder))) {}

int32_t CorpusView::find(const std::string& digest) const {
  const std::string wanted = digest.starts_with("sha256:") ? digest.substr(7) : digest;
  std::vector<int32_t> found;
  for (size_t i = 0; i < dataset.documents().size(); ++i)
    if (hex(dataset.documents()[i].digest).starts_with(wanted)) found.push_back(static_cast<int32_t>(i));
  if (found.size() == 1) return found[0];
  throw Failure(exit_usage,
                found.empty()
                    ? fmt::format("no document's digest begins with '{}'; it may be excluded by the policy", wanted)
                    : fmt::format("{} documents' digests begin with '{}'; give more digits", found.size(), wanted));
}

DocumentFacts CorpusView::facts(int32_t document) const {
  const DatasetDocument& d = dataset.documents()[static_cast<size_t>(document)];
  return facts_of(d.origins(), d.digest);
}

std::string CorpusView::value(int32_t document, const std::string& key) const {
  std::set<std::string> values;
  for (const Meta& meta : facts(document).provenances)
    if (const auto it = meta.find(key); it != meta.end() && !it->second.empty()) values.insert(it->second);
  return values.empty() ? "(none)" : join({values.begin(), values.end()}, " + ");
}

}  // namespace govtrain
