#include "tools/govtrain/train/checkpoint.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/hash.h"
#include "models/hf_names.h"
#include "tools/govtrain/io/safetensors.h"

namespace govtrain {
namespace {

using nlohmann::json;

constexpr const char* state_format = "govtrain trainer state 1";

std::span<const float> values(const Tensor& t) { return {t.data(), static_cast<size_t>(t.size())}; }

json state_json(const TrainerState& s, const OptimizerState& optimizer) {
  json clocks = json::object();
  for (const auto& c : optimizer.clocks) clocks[c.name] = c.steps;
  return {{"format", state_format},
          {"step", s.step},
          {"epoch", s.epoch},
          {"cursor", s.cursor},
          {"log_size", s.log_size},
          {"tokens", s.tokens},
          {"policy_date", s.policy_date},
          {"policy_id", s.policy_id},
          {"dataset_key", s.dataset_key},
          {"config", json::parse(s.config_json)},
          {"parts", s.parts},
          {"optimizer_steps", clocks}};
}

Result<json> read_json(FileSystem& fs, const std::string& path) {
  const Result<std::string> text = fs.read(path);
  if (!text.ok()) return text.status();
  json parsed = json::parse(text.value(), nullptr, false);
  if (parsed.is_discarded()) return Status(StatusCode::corrupt, path + ": expected JSON");
  return parsed;
}

// Numbers of bytes and steps that no checkpoint has are refused before anything is computed with them.
int64_t count(const json& state, const char* key) {
  const json& value = state.at(key);
  if (!value.is_number_unsigned() || value > INT64_MAX) {
    throw Error("state", "'{}' is {}; expected a whole number from 0 on", key, value.dump());
  }
  return value;
}

// What nlohmann-json says, without its error number.
std::string plain(const json::exception& e) {
  const std::string text = e.what();
  const size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

std::string done_text(const std::map<std::string, std::string>& sha256_of) {
  std::string text;
  for (const auto& [name, digest] : sha256_of) text += digest + "  " + name + "\n";
  return text;
}

}  // namespace

Result<std::vector<NamedTensor>> read_tensors(const std::string& path) {
  const Result<Safetensors> file = Safetensors::open(path);
  if (!file.ok()) return file.status();
  std::vector<NamedTensor> tensors;
  for (const SafetensorsEntry& entry : file.value().entries()) {
    const int64_t cols = entry.shape.empty() ? 1 : entry.shape.back();
    NamedTensor t{entry.name, entry.shape, Tensor(cols == 0 ? 0 : entry.elements() / cols, cols)};
    const std::span<float> out(t.value.data(), static_cast<size_t>(t.value.size()));
    if (Status s = file.value().read(entry.name, entry.shape, out); !s.ok())
      return Status(StatusCode::corrupt, s.message());
    tensors.push_back(std::move(t));
  }
  return tensors;
}

std::string CheckpointStore::path(int64_t step) const { return join_path(folder_, fmt::format("step-{:06}", step)); }

Result<std::vector<int64_t>> CheckpointStore::steps() const {
  std::vector<int64_t> steps;
  if (!fs_->exists(folder_)) return steps;
  const auto names = fs_->list(folder_);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    const bool number = name.size() >= 11 && name.starts_with("step-") && name.size() <= 20 &&
                        name.find_first_not_of("0123456789", 5) == std::string::npos;
    if (!number) continue;
    const int64_t step = std::stoll(name.substr(5));
    if (fs_->exists(join_path(path(step), "DONE"))) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

Result<CheckpointStore::Staged> CheckpointStore::stage(
    const Transformer& model, const Optimizer& optimizer, const TrainerState& state,
    const std::map<std::string, std::string>& files,
    const std::map<std::string, std::vector<SafetensorsInput>>& tensors) {
  const std::string folder = path(state.step) + ".tmp";
  if (Status s = fs_->remove_all(folder); !s.ok()) return s;
  if (Status s = fs_->make_dirs(folder); !s.ok()) return s;

  const std::vector<NamedTensor> weights = export_tensors(model);
  std::vector<SafetensorsInput> inputs;
  for (const NamedTensor& t : weights) inputs.push_back({t.name, t.shape, values(t.value)});
  if (Status s = write_safetensors(*fs_, join_path(folder, "model.safetensors"), inputs, {{"format", "pt"}}); !s.ok()) {
    return s;
  }
  const OptimizerState moments = optimizer.export_state();
  inputs.clear();
  for (const auto& b : moments.buffers) {
    inputs.push_back({b.name, {b.value.rows(), b.value.cols()}, values(b.value)});
  }
  if (Status s = write_safetensors(*fs_, join_path(folder, "optimizer.safetensors"), inputs, {}); !s.ok()) return s;

  for (const auto& [name, list] : tensors) {
    if (Status s = write_safetensors(*fs_, join_path(folder, name), list, {}); !s.ok()) return s;
  }

  std::map<std::string, std::string> texts = files;
  texts["config.json"] = hf_config_json(model.config());
  texts["trainer_state.json"] = state_json(state, moments).dump(1) + "\n";
  for (const auto& [name, text] : texts) {
    if (Status s = write_atomic(*fs_, join_path(folder, name), text); !s.ok()) return s;
  }
  Staged staged{state.step, {}};
  const auto names = fs_->list(folder);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    const Result<MappedFile> file = MappedFile::open(join_path(folder, name));
    if (!file.ok()) return file.status();
    staged.sha256[name] = hex(sha256(file.value().bytes()));
  }
  return staged;
}

Status CheckpointStore::publish(const Staged& staged, const std::string& lineage_note) {
  const std::string target = path(staged.step);
  const std::string temporary = target + ".tmp";
  std::map<std::string, std::string> all = staged.sha256;
  if (!lineage_note.empty()) {
    all["lineage.checkpoint"] = hex(sha256(lineage_note));
    if (Status s = write_atomic(*fs_, join_path(temporary, "lineage.checkpoint"), lineage_note); !s.ok()) return s;
  }
  if (Status s = write_atomic(*fs_, join_path(temporary, "DONE"), done_text(all)); !s.ok()) return s;
  // A checkpoint of the same step is there when a run that was resumed from an older one reaches it again.
  if (fs_->exists(target)) {
    const std::string former = target + ".former.tmp";
    if (Status s = fs_->remove_all(former); !s.ok()) return s;
    if (Status s = fs_->rename(target, former); !s.ok()) return s;
  }
  if (Status s = fs_->rename(temporary, target); !s.ok()) return s;
  return fs_->sync_dir(folder_);
}

Status CheckpointStore::recover() {
  if (!fs_->exists(folder_)) return {};
  const auto names = fs_->list(folder_);
  if (!names.ok()) return names.status();
  const std::string suffix = ".former.tmp";
  for (const std::string& name : names.value()) {
    if (!name.starts_with("step-") || !name.ends_with(suffix)) continue;
    const std::string target = join_path(folder_, name.substr(0, name.size() - suffix.size()));
    if (fs_->exists(target) || !fs_->exists(join_path(target + ".tmp", "DONE"))) continue;
    if (Status s = fs_->rename(target + ".tmp", target); !s.ok()) return s;
    if (Status s = fs_->sync_dir(folder_); !s.ok()) return s;
  }
  return {};
}

Result<std::vector<std::string>> CheckpointStore::destroy(const std::string& file, int64_t first, int64_t last) {
  const auto found = steps();
  if (!found.ok()) return found.status();
  std::vector<std::string> names;
  for (const int64_t step : found.value()) {
    if (step < first || step > last || !fs_->exists(join_path(path(step), file))) continue;
    const std::string done = join_path(path(step), "DONE");
    Result<std::string> text = fs_->read(done);
    if (!text.ok()) return text.status();
    const size_t name = text.value().find("  " + file + "\n");
    if (name != std::string::npos && name >= 64) {
      text.value().erase(name - 64, 64 + 2 + file.size() + 1);
      if (Status s = write_atomic(*fs_, done, text.value()); !s.ok()) return s;
    }
    if (Status s = fs_->remove(join_path(path(step), file)); !s.ok()) return s;
    if (Status s = fs_->sync_dir(path(step)); !s.ok()) return s;
    names.push_back(fmt::format("step-{:06}", step));
  }
  return names;
}

Status CheckpointStore::set_aside_after(int64_t step) {
  const auto found = steps();
  if (!found.ok()) return found.status();
  for (const int64_t later : found.value()) {
    if (later <= step) continue;
    std::string target = path(later) + ".superseded";
    for (int n = 2; fs_->exists(target); ++n) target = fmt::format("{}.superseded.{}", path(later), n);
    if (Status s = fs_->rename(path(later), target); !s.ok()) return s;
  }
  return found.value().empty() ? Status() : fs_->sync_dir(folder_);
}

Status CheckpointStore::prune(int64_t keep_last, int64_t keep_every) {
  const auto found = steps();
  if (!found.ok()) return found.status();
  const auto count = static_cast<int64_t>(found.value().size());
  if (keep_last > 0) {
    for (int64_t i = 0; i + keep_last < count; ++i) {
      const int64_t step = found.value()[static_cast<size_t>(i)];
      if (keep_every > 0 && step % keep_every == 0) continue;
      if (Status s = fs_->remove_all(path(step)); !s.ok()) return s;
    }
  }
  if (!fs_->exists(folder_)) return {};
  const auto names = fs_->list(folder_);
  if (!names.ok()) return names.status();
  for (const std::string& name : names.value()) {
    if (!name.starts_with("step-") || !name.ends_with(".tmp")) continue;
    if (Status s = fs_->remove_all(join_path(folder_, name)); !s.ok()) return s;
  }
  return {};
}

Status verify_checkpoint_folder(FileSystem& fs, const std::string& folder) {
  const Result<std::string> done = fs.read(join_path(folder, "DONE"));
  if (!done.ok()) {
    return {done.status().code(), folder + " is not a complete checkpoint: " + done.status().message()};
  }
  std::set<std::string> named;
  for (size_t at = 0; at < done.value().size();) {
    size_t end = done.value().find('\n', at);
    if (end == std::string::npos) end = done.value().size();
    const std::string line = done.value().substr(at, end - at);
    at = end + 1;
    if (line.size() < 67 || line.substr(64, 2) != "  " || line.find('/') != std::string::npos) {
      return {StatusCode::corrupt, join_path(folder, "DONE") + ": expected '<sha256>  <name>', got '" + line + "'"};
    }
    const std::string name = line.substr(66);
    const Result<MappedFile> file = MappedFile::open(join_path(folder, name));
    if (!file.ok()) return {StatusCode::corrupt, file.status().message() + " (named by DONE)"};
    const std::string found = hex(sha256(file.value().bytes()));
    if (found != line.substr(0, 64)) {
      return {StatusCode::corrupt, fmt::format("{}: expected sha256 {}, got {}; the file was changed or damaged",
                                               join_path(folder, name), line.substr(0, 64), found)};
    }
    named.insert(name);
  }
  for (const char* name : {"config.json", "model.safetensors", "optimizer.safetensors", "trainer_state.json"}) {
    if (!named.contains(name)) return {StatusCode::corrupt, folder + ": DONE does not name " + name};
  }
  return {};
}

Result<TrainerState> load_trainer_state(FileSystem& fs, const std::string& folder) {
  const std::string path = join_path(folder, "trainer_state.json");
  const Result<json> parsed = read_json(fs, path);
  if (!parsed.ok()) return parsed.status();
  try {
    const json& j = parsed.value();
    if (j.at("format") != state_format) {
      return Status(StatusCode::corrupt, fmt::format("{}: expected format '{}', got {}; use the version that wrote it",
                                                     path, state_format, j.at("format").dump()));
    }
    TrainerState s;
    s.step = count(j, "step");
    s.epoch = count(j, "epoch");
    s.cursor = count(j, "cursor");
    s.log_size = static_cast<uint64_t>(count(j, "log_size"));
    s.tokens = count(j, "tokens");
    s.policy_date = j.at("policy_date");
    s.policy_id = j.at("policy_id");
    s.dataset_key = j.at("dataset_key");
    s.config_json = j.at("config").dump();
    s.parts = j.at("parts");
    if (!s.parts.is_object()) throw Error("state", "'parts' is {}; expected an object", s.parts.dump());
    return s;
  } catch (const json::exception& e) {
    return Status(StatusCode::corrupt, path + ": " + plain(e));
  } catch (const Error& e) {
    return Status(StatusCode::corrupt, path + ": " + e.what());
  }
}

Result<std::unique_ptr<Transformer>> load_model(FileSystem& fs, const std::string& folder, Allocator& allocator) {
  const Result<std::string> config = fs.read(join_path(folder, "config.json"));
  if (!config.ok()) return config.status();
  const auto tensors = read_tensors(join_path(folder, "model.safetensors"));
  if (!tensors.ok()) return tensors.status();
  try {
    const TransformerConfig shape = config_from_hf_json(config.value());
    int64_t elements = 0;
    for (const NamedTensor& t : tensors.value()) elements += t.value.size();
    if (shape.parameter_count() > elements) {
      throw Error("config.json", "a model of {} parameters, but model.safetensors holds {}", shape.parameter_count(),
                  elements);
    }
    auto model = std::make_unique<Transformer>(shape, 0, allocator);
    import_tensors(*model, tensors.value());
    return model;
  } catch (const Error& e) {
    return Status(StatusCode::corrupt, folder + ": " + e.what());
  }
}

Status load_training(FileSystem& fs, const std::string& folder, Transformer& model, Optimizer& optimizer) {
  const auto tensors = read_tensors(join_path(folder, "model.safetensors"));
  if (!tensors.ok()) return tensors.status();
  const auto moments = read_tensors(join_path(folder, "optimizer.safetensors"));
  if (!moments.ok()) return moments.status();
  const std::string path = join_path(folder, "trainer_state.json");
  const Result<json> parsed = read_json(fs, path);
  if (!parsed.ok()) return parsed.status();

  OptimizerState state;
  for (const NamedTensor& t : moments.value()) state.buffers.push_back({t.name, t.value});
  try {
    for (const auto& [name, steps] : parsed.value().at("optimizer_steps").items()) {
      state.clocks.push_back({name, steps.get<std::vector<int64_t>>()});
    }
    import_tensors(model, tensors.value());
    optimizer.import_state(state);
  } catch (const json::exception& e) {
    return {StatusCode::corrupt, path + ": " + plain(e)};
  } catch (const Error& e) {
    return {StatusCode::corrupt, folder + " does not fit this configuration: " + e.what()};
  }
  return {};
}

}  // namespace govtrain
