#include "tools/govtrain/train/publish.h"

#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/run_head.h"

namespace govtrain {

RunLogOptions log_options(const RunConfig& config) {
  return {join_path(config.run.out, "lineage"), config.key_path(), config.log_origin(),
          static_cast<uint64_t>(config.lineage.flush_records)};
}

void publish_checkpoint(CheckpointStore& store, RunLog* log, const Session& session, TrainerState state,
                        const std::vector<ControlRecord>& before) {
  state.log_size = log != nullptr ? log->size() + before.size() + 1 : 0;  // with the ckpt record
  state.parts[device_part] = device_record(session);
  std::map<std::string, std::vector<SafetensorsInput>> tensors;
  if (session.withheld) {
    state.parts[withheld_part] = session.withheld->part();
    tensors[withheld_file] = session.withheld->tensors();
  }
  std::vector<NamedTensor> average;  // keeps what `tensors` points to
  if (session.entropy) {
    state.parts[entropy_part] = session.entropy->part();
    average = session.entropy->average();
    for (const NamedTensor& t : average) {
      tensors[entropy_file].push_back({t.name, t.shape, {t.value.data(), static_cast<size_t>(t.value.size())}});
    }
  }
  const std::vector<NamedTensor> reference =
      session.adapter ? session.adapter->reference() : std::vector<NamedTensor>();
  for (const NamedTensor& t : reference) {
    tensors[probe_file].push_back({t.name, t.shape, {t.value.data(), static_cast<size_t>(t.value.size())}});
  }
  const Tokenizer& tokenizer = session.dataset.tokenizer();
  const auto staged = require(store.stage(
      *session.model, session.trainer->optimizer(), state,
      {{tokenizer.file_name(), tokenizer.bytes()}, {"generation_config.json", generation_config(tokenizer)}}, tensors));
  std::string note;
  if (log != nullptr) {
    for (const ControlRecord& record : before) require(log->control(record.kind, record.payload));
    nlohmann::json saved = {{"step", state.step},
                            {"model", "sha256:" + staged.sha256.at("model.safetensors")},
                            {"optimizer", "sha256:" + staged.sha256.at("optimizer.safetensors")}};
    if (session.withheld) saved["withheld"] = "sha256:" + staged.sha256.at(withheld_file);
    if (!average.empty()) saved["average"] = "sha256:" + staged.sha256.at(entropy_file);
    if (!reference.empty()) saved["probe"] = "sha256:" + staged.sha256.at(probe_file);
    require(log->control("ckpt", std::move(saved)));
    require(log->flush());
    note = log->note();
  }
  require(store.publish(staged, note));
}

}  // namespace govtrain
