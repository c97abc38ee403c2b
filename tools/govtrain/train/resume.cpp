#include "tools/govtrain/train/resume.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "core/error.h"
#include "core/hash.h"
#include "lineage/note.h"
#include "lineage/reader.h"
#include "lineage/record.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/adapter.h"
#include "tools/govtrain/train/entropy_router.h"
#include "tools/govtrain/train/outside.h"
#include "tools/govtrain/train/run_head.h"
#include "tools/govtrain/train/setup.h"
#include "tools/govtrain/train/withheld.h"

namespace govtrain {
namespace {

using nlohmann::json;

std::string sha256_of(const std::string& path) {
  return "sha256:" + hex(sha256(require(MappedFile::open(path)).bytes()));
}

// The record that the note ends with names the very weights and moments that are in the folder.
void check_logged_weights(const ResumePoint& point, LogReader& reader) {
  const uint64_t index = point.state.log_size - 1;
  const std::string leaf = require(reader.entry(index), exit_unverified);
  const Result<ControlRecord> record = parse_control(leaf);
  json expected = {{"step", point.state.step},
                   {"model", sha256_of(join_path(point.folder, "model.safetensors"))},
                   {"optimizer", sha256_of(join_path(point.folder, "optimizer.safetensors"))}};
  const std::pair<const char*, const char*> parts[] = {
      {"withheld", withheld_file}, {"average", entropy_file}, {"probe", probe_file}};
  for (const auto& [key, name] : parts) {
    const std::string path = join_path(point.folder, name);
    if (std::filesystem::exists(path)) expected[key] = sha256_of(path);
  }
  if (record.ok() && record.value().kind == "ckpt") {
    const json& logged = record.value().payload;
    const auto same = [&](const char* key) { return logged.value(key, json()) == expected.value(key, json()); };
    if (same("step") && same("model") && same("optimizer") && same("withheld") && same("average") && same("probe"))
      return;
  }
  throw Failure(exit_unverified, fmt::format("entry {} of the log does not name the weights in {}: they were changed "
                                             "after they were logged\n  logged   {}\n  found    {}",
                                             index, point.folder, leaf, expected.dump()));
}

void check_not_superseded(const ResumePoint& point, LogReader& reader) {
  uint64_t by = 0;
  require(reader.visit(point.state.log_size, reader.size(),
                       [&](uint64_t index, std::string_view leaf) {
                         if (leaf.find("\"k\":\"rewind\"") == std::string_view::npos) return true;
                         const Result<ControlRecord> record = parse_control(leaf);
                         if (!record.ok() || record.value().kind != "rewind") return true;
                         const auto from = record.value().payload.find("from");
                         if (from != record.value().payload.end() && from->is_number_unsigned() &&
                             from->get<uint64_t>() < point.state.log_size) {
                           by = index;
                         }
                         return by == 0;
                       }),
          exit_unverified);
  if (by > 0) {
    throw Failure(exit_unverified, fmt::format("{} was abandoned: a later resume from an older checkpoint superseded "
                                               "its records (entry {} of the log); resume from a newer checkpoint",
                                               point.folder, by));
  }
}

// A run makes ckpt/ before any file: those in a folder without it belong to somebody else.
void check_own_folder(FileSystem& fs, const std::string& out) {
  if (fs.exists(join_path(out, "ckpt")) || fs.exists(join_path(out, "lineage"))) return;
  for (const char* name : {"config.yaml", "metrics.jsonl", "samples.jsonl", "train.log"}) {
    if (!fs.exists(join_path(out, name))) continue;
    throw Failure(exit_usage, fmt::format("{} is not a run's and would be overwritten; nothing was started\n"
                                          "  give the run a folder of its own: run.out=DIR",
                                          join_path(out, name)));
  }
}

void check_same_training(const ResumePoint& point, const RunConfig& config, const std::string& dataset_key,
                         const std::string& policy_id) {
  const auto saved = json::parse(point.state.config_json);
  const std::vector<std::string> changed = differences(saved, training_config(config));
  if (!changed.empty()) {
    throw Failure(exit_usage,
                  fmt::format("{} was made with another configuration; resuming would not continue that run\n  {}",
                              point.folder, fmt::join(changed, "\n  ")));
  }
  if (point.state.policy_id != policy_id) {
    throw Failure(exit_usage, fmt::format("{} was made under policy {}, found {}; resume with the same policy or start "
                                          "another run",
                                          point.folder, point.state.policy_id, policy_id));
  }
  if (point.state.dataset_key != dataset_key) {
    throw Failure(exit_usage, fmt::format("{} was made with prepared data {}, found {}; the inputs have changed",
                                          point.folder, point.state.dataset_key, dataset_key));
  }
}

void check_same_blocks(const ResumePoint& point, const std::string& blocks_sha256) {
  const auto part = point.state.parts.find("blocks");
  const std::string saved = part == point.state.parts.end() ? "nothing" : part->value("sha256", "nothing");
  if (saved == blocks_sha256) return;
  throw Failure(exit_usage,
                fmt::format("{} was made with another division into blocks ({:.12}, found {:.12}); resume with "
                            "the same blocks.file or start another run",
                            point.folder, saved, blocks_sha256));
}

}  // namespace

std::optional<ResumePoint> find_resume_point(FileSystem& fs, const RunConfig& config) {
  const std::string& mode = config.run.resume;
  CheckpointStore store(fs, join_path(config.run.out, "ckpt"));
  check_own_folder(fs, config.run.out);
  if (mode == "never") {
    if (fs.exists(join_path(config.run.out, "lineage")) || fs.exists(join_path(config.run.out, "ckpt"))) {
      throw Failure(exit_usage, fmt::format("{} holds a run already; nothing was started\n"
                                            "  go on with it:   --resume auto\n"
                                            "  start another:   run.out=DIR",
                                            config.run.out));
    }
    return std::nullopt;
  }
  std::string folder = mode;
  if (mode == "auto") {
    require(store.recover());
    const std::vector<int64_t> steps = require(store.steps());
    if (steps.empty()) return std::nullopt;
    folder = store.path(steps.back());
  }
  require(verify_checkpoint_folder(fs, folder));
  return ResumePoint{folder, require(load_trainer_state(fs, folder))};
}

void check_same_classification(const ResumePoint& point, const DocumentClassifier* classifier) {
  using nlohmann::json;
  const auto part = point.state.parts.find("classification");
  const bool had = part != point.state.parts.end();
  const std::string was = had ? part->value("id", "") : "no classification";
  const std::string is = classifier != nullptr ? classifier->classification().id() : "no classification";
  const json before = had ? json::parse(part->value("text", ""), nullptr, false) : json::object();
  const json now = classifier != nullptr ? json::parse(classifier->classification().canonical()) : json::object();
  if (before == now) return;
  const std::vector<std::string> changed =
      had && classifier != nullptr && before.is_object() ? differences(before, now) : std::vector<std::string>();
  throw Failure(exit_usage,
                fmt::format("{} was made with {}, found {}; resume with the same classification and the "
                            "same files, or start another run{}{}",
                            point.folder, was, is, changed.empty() ? "" : "\n  ", fmt::join(changed, "\n  ")));
}

void load_session(FileSystem& fs, const ResumePoint& point, Session& session) {
  check_same_training(point, session.config, session.prepared.key, session.policy.policy().id());
  check_same_blocks(point, session.blocks_sha256);
  require(load_training(fs, point.folder, *session.model, session.trainer->optimizer()));
  const json& parts = point.state.parts;
  if (session.withheld) load_withheld(fs, point.folder, parts, *session.withheld);
  try {
    if (parts.contains("governance")) session.governance->restore(parts.at("governance"));
    if (session.adapter) load_adapter(fs, point.folder, parts, *session.adapter);
    session.sampler->set_state({static_cast<uint64_t>(point.state.epoch), static_cast<uint64_t>(point.state.cursor)});
  } catch (const Error& e) {
    throw Failure(exit_data, point.folder + ": " + e.what());
  }
  if (session.entropy) session.entropy->load(parts, point.folder);
}

void take_in_outside(const ResumePoint& point, Session& session) {
  Outside outside(session.config, session.date);
  try {
    if (const auto part = point.state.parts.find("outside"); part != point.state.parts.end()) outside.restore(*part);
  } catch (const json::exception& e) {
    throw Failure(exit_data,
                  fmt::format("{}: the trainer state's part 'outside' is malformed: {}", point.folder, e.what()));
  }
  session.governance->take_in(outside.look(point.state.step + 1));
}

std::vector<GovernanceEvent> device_change(const ResumePoint& point, const Session& session) {
  const auto before = point.state.parts.find(device_part);
  json now = device_record(session);
  if (before == point.state.parts.end() || *before == now) return {};
  const auto text = [](const json& r) {
    std::vector<std::string> words;
    for (const char* key : {"device", "instruction_set", "build"}) {
      if (r.contains(key) && r.at(key).is_string()) words.push_back(r.at(key));
    }
    return fmt::format("{}", fmt::join(words, ", "));
  };
  std::string said = fmt::format("{} was made on {}; the run goes on with {}: other bits may follow", point.folder,
                                 text(*before), text(now));
  now["before"] = *before;
  now["step"] = point.state.step + 1;
  return {{.kind = "device", .payload = std::move(now), .text = std::move(said)}};
}

void check_lineage_covers(FileSystem& fs, const ResumePoint& point, const std::string& log_folder, const NoteKey& key) {
  LogReader reader = require(LogReader::open(fs, log_folder, key), exit_unverified);
  const std::string note = require(fs.read(join_path(point.folder, "lineage.checkpoint")), exit_unverified);
  const Result<Checkpoint> covered = reader.covers(note);
  if (!covered.ok()) {
    throw Failure(exit_unverified,
                  fmt::format("the log in {} does not cover the weights in {}: {}\nweights whose history is not in the "
                              "log are not trained further",
                              log_folder, point.folder, covered.status().message()));
  }
  if (covered.value().size != point.state.log_size) {
    throw Failure(exit_unverified, fmt::format("{}: its note covers {} records, its state says {}", point.folder,
                                               covered.value().size, point.state.log_size));
  }
  check_logged_weights(point, reader);
  check_not_superseded(point, reader);
}

}  // namespace govtrain
