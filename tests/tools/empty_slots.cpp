#include "tests/tools/empty_slots.h"

#include <filesystem>
#include <memory>
#include <stdexcept>

#include "core/file.h"
#include "core/hash.h"
#include "tools/govtrain/train/checkpoint.h"
#include "tools/govtrain/train/session.h"
#include "tools/govtrain/train/setup.h"

namespace govtrain::testing {
namespace {

const std::string model_file = "model.safetensors", optimizer_file = "optimizer.safetensors";

void add_pending(const std::string& run, std::map<std::string, std::string>& out) {
  const std::string folder = run + "/pending";
  if (!std::filesystem::exists(folder)) return;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    out[entry.path().filename()] = hex(sha256(real_file_system().read(entry.path()).value()));
  }
}

}  // namespace

std::map<std::string, std::string> empty_slots(const TinyRun& tiny, const std::string& out, int64_t first,
                                               const std::function<bool(const nlohmann::json& meta)>& gone) {
  FileSystem& fs = real_file_system();
  const std::string folder = tiny.path(out + "-slots");
  std::filesystem::remove_all(folder);
  const auto file = read_run_config(tiny.path(out), {"run.out=" + folder});
  if (file->diagnostics.has_errors()) throw std::runtime_error(file->diagnostics.render());
  const RunConfig& config = file->config;
  const Date day = policy_date(config);
  Session session(fs, config, day);
  std::vector<Decision> decisions;
  for (const DatasetDocument& d : session.dataset.documents()) {
    DocumentFacts facts{hex(d.digest), hex(d.digest), {}};
    for (const nlohmann::json& meta : d.provenance) facts.provenances.push_back(policy_meta(meta));
    decisions.push_back(session.policy.resolve(facts, day));
  }
  const Schedule rate = schedule(config);
  for (int64_t step = 1; step <= config.train.steps; ++step) {
    Batch batch = session.sampler->next([&](int32_t d) {
      return step < first || !gone(session.dataset.documents()[static_cast<size_t>(d)].provenance.front());
    });
    RouteTable route(static_cast<int>(batch.examples.size()), static_cast<int>(session.policy.blocks().size()), 0);
    for (int e = 0; e < route.examples; ++e) {
      const Decision& d = decisions[static_cast<size_t>(batch.examples[static_cast<size_t>(e)].document)];
      for (int b = 0; b < route.blocks; ++b) route.at(e, b) = d.weights[static_cast<size_t>(b)];
    }
    arrange(batch, route, session.trainer->skip_plan());
    if (session.entropy && session.entropy->begin(batch, route))
      session.entropy->reorder(arrange(batch, route, session.trainer->skip_plan()));
    const double lr = rate.at(step - 1);
    const StepResult result =
        session.trainer->step(Session::train_batch(batch), route, static_cast<uint64_t>(step - 1), lr,
                              session.entropy ? session.entropy->complete() : CompleteRoute());
    if (session.entropy) session.entropy->end(batch, step, *session.model);
    if (session.withheld) session.withheld->after_step(step, result, lr);
  }
  TrainerState state;
  state.step = config.train.steps;
  state.config_json = "{}";
  std::map<std::string, std::vector<SafetensorsInput>> tensors;
  if (session.withheld) tensors[withheld_file] = session.withheld->tensors();
  const auto staged =
      CheckpointStore(fs, folder + "/ckpt").stage(*session.model, session.trainer->optimizer(), state, {}, tensors);
  if (!staged.ok()) throw std::runtime_error(staged.status().message());
  std::map<std::string, std::string> digests;
  for (const std::string& name : {model_file, optimizer_file, std::string(withheld_file)}) {
    if (const auto found = staged.value().sha256.find(name); found != staged.value().sha256.end())
      digests[name] = found->second;
  }
  add_pending(folder, digests);
  std::filesystem::remove_all(folder);
  return digests;
}

std::map<std::string, std::string> files_of(const TinyRun& tiny, const std::string& out) {
  std::map<std::string, std::string> digests;
  for (const std::string& name : {model_file, optimizer_file, std::string(withheld_file)}) {
    const std::string digest = tiny.final_sha256(out, name);
    if (digest.size() == 64) digests[name] = digest;
  }
  add_pending(tiny.path(out), digests);
  return digests;
}

}  // namespace govtrain::testing
