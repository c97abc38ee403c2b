// `inspect`: what is in a checkpoint, a safetensors file, prepared data, or a run folder.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "lineage/checkpoint.h"
#include "lineage/reader.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/data/dataset.h"
#include "tools/govtrain/io/human.h"
#include "tools/govtrain/io/safetensors.h"

namespace govtrain {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  return shape.empty() ? "scalar" : fmt::format("{}", fmt::join(shape, " x "));
}

// Mean, deviation, extremes and the number of non-finite values.
std::vector<std::string> statistics(const Safetensors& file, const SafetensorsEntry& entry) {
  if (entry.dtype != "F32") return {"", "", "", "", ""};
  std::vector<float> values(static_cast<size_t>(entry.elements()));
  require(file.read(entry.name, entry.shape, values));
  double sum = 0, squares = 0, low = INFINITY, high = -INFINITY;
  int64_t finite = 0;
  for (const float v : values) {
    if (!std::isfinite(v)) continue;
    const auto d = static_cast<double>(v);
    sum += d;
    squares += d * d;
    low = std::min(low, d);
    high = std::max(high, d);
    ++finite;
  }
  if (finite == 0) return {"-", "-", "-", "-", grouped(entry.elements())};
  const double mean = sum / static_cast<double>(finite);
  const double variance = std::max(0.0, squares / static_cast<double>(finite) - mean * mean);
  return {fmt::format("{:.3g}", mean), fmt::format("{:.3g}", std::sqrt(variance)), fmt::format("{:.3g}", low),
          fmt::format("{:.3g}", high), grouped(entry.elements() - finite)};
}

void print_tensors(const std::string& path, bool stats) {
  const Safetensors file = require(Safetensors::open(path));
  fmt::print("{}\n", bold(path, stdout));
  for (const auto& [key, value] : file.metadata()) fmt::print("  {} = {}\n", key, value);
  std::vector<std::vector<std::string>> rows = {{"tensor", "dtype", "shape", "elements", "bytes"}};
  if (stats) rows[0].insert(rows[0].end(), {"mean", "std", "min", "max", "not finite"});
  int64_t elements = 0;
  uint64_t bytes = 0;
  for (const SafetensorsEntry& e : file.entries()) {
    rows.push_back({e.name, e.dtype, shape_text(e.shape), grouped(e.elements()), human_bytes(e.end - e.begin)});
    if (stats) {
      const auto more = statistics(file, e);
      rows.back().insert(rows.back().end(), more.begin(), more.end());
    }
    elements += e.elements();
    bytes += e.end - e.begin;
  }
  fmt::print("{}{} tensors, {} elements, {}\n", table(rows), file.entries().size(), grouped(elements),
             human_bytes(bytes));
}

void print_json(const std::string& path) {
  FileSystem& fs = real_file_system();
  if (!fs.exists(path)) return;
  const auto value = nlohmann::ordered_json::parse(require(fs.read(path)), nullptr, false);
  if (value.is_discarded()) throw Failure(exit_data, path + " is not JSON");
  fmt::print("{}\n", bold(path, stdout));
  for (const auto& [key, item] : value.items()) {
    std::string text = item.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
    if (text.size() > 100) text = text.substr(0, 97) + "...";
    fmt::print("  {} = {}\n", key, text);
  }
}

void print_note(const std::string& folder) {
  FileSystem& fs = real_file_system();
  const std::string path = join_path(folder, "lineage.checkpoint");
  if (!fs.exists(path)) return;
  const std::string note = require(fs.read(path));
  const Result<Checkpoint> head = parse_checkpoint(note.substr(0, note.rfind("\n\n") + 1));
  if (!head.ok()) throw Failure(exit_data, fmt::format("{}: {}", path, head.status().message()));
  fmt::print(
      "{}\n  origin = {}\n  entries = {}\n  root = {}\n  (the signature is checked by 'govtrain lineage verify')\n",
      bold(path, stdout), head.value().origin, head.value().size, hex(head.value().root));
}

void print_checkpoint(const std::string& folder, bool stats) {
  if (!real_file_system().exists(join_path(folder, "DONE")))
    fmt::print("warning: {} has no DONE file: it was not finished\n", folder);
  print_json(join_path(folder, "config.json"));
  print_json(join_path(folder, "trainer_state.json"));
  print_note(folder);
  print_tensors(join_path(folder, "model.safetensors"), stats);
}

void print_dataset(const std::string& folder) {
  const Dataset dataset = require(Dataset::open(folder));
  int64_t train = 0;
  for (const DatasetDocument& d : dataset.documents()) train += d.split == Split::train ? 1 : 0;
  const auto documents = static_cast<int64_t>(dataset.documents().size());
  fmt::print(
      "{}\n  documents = {} ({} training, {} validation)\n  tokens = {}\n  tokenizer = {}, {} ids\n  digest = {}\n",
      bold(folder, stdout), grouped(documents), grouped(train), grouped(documents - train),
      grouped(static_cast<int64_t>(dataset.tokens())), dataset.tokenizer().kind(),
      grouped(dataset.tokenizer().vocab_size()), hex(dataset.digest()));
  print_json(join_path(folder, "manifest.json"));
}

std::string last_line(const std::string& text) {
  const size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "";
  const size_t begin = text.find_last_of('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

void print_run(const std::string& folder) {
  FileSystem& fs = real_file_system();
  fmt::print("{}\n", bold(folder, stdout));
  const std::string checkpoints = join_path(folder, "ckpt");
  if (fs.exists(checkpoints))
    for (const std::string& name : require(fs.list(checkpoints)))
      fmt::print("  checkpoint {}/{}{}\n", checkpoints, name,
                 fs.exists(join_path(join_path(checkpoints, name), "DONE")) ? "" : "  (not finished)");
  const std::string log = join_path(folder, "lineage");
  if (fs.exists(log)) {
    const LogReader reader =
        require(LogReader::open(fs, log, require(read_log_key(fs, log), exit_unverified)), exit_unverified);
    fmt::print("  log {} with {} entries, root {}\n", log, grouped(static_cast<int64_t>(reader.size())),
               hex(reader.checkpoint().root));
  }
  const std::string metrics = join_path(folder, "metrics.jsonl");
  if (fs.exists(metrics)) fmt::print("  last metrics {}\n", last_line(require(fs.read(metrics))));
}

int inspect(const std::string& path, bool stats) {
  FileSystem& fs = real_file_system();
  const auto has = [&](const char* name) { return fs.exists(join_path(path, name)); };
  if (!fs.exists(path)) throw Failure(exit_data, fmt::format("{} does not exist", path));
  if (has("model.safetensors")) return print_checkpoint(path, stats), exit_ok;
  if (has("manifest.json")) return print_dataset(path), exit_ok;
  if (has("ckpt") || has("metrics.jsonl")) return print_run(path), exit_ok;
  if (has("."))
    throw Failure(exit_data,
                  fmt::format("{} is no checkpoint, prepared data or run folder; expected model.safetensors, "
                              "manifest.json or ckpt/ in it",
                              path));
  return print_tensors(path, stats), exit_ok;
}

}  // namespace

Verb inspect_verb() {
  return {"inspect", "Print what is in a checkpoint, safetensors file, prepared data, or run folder", "",
          [](CLI::App& app) {
            auto path = std::make_shared<std::string>();
            auto stats = std::make_shared<bool>(false);
            app.add_option("PATH", *path, "A file or folder")->required()->type_name("");
            app.add_flag("--stats", *stats,
                         "For each tensor also mean, deviation, extremes, and how many are not finite");
            return [path, stats] { return inspect(*path, *stats); };
          }};
}

}  // namespace govtrain
