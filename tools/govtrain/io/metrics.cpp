#include "tools/govtrain/io/metrics.h"

#include <chrono>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "core/number.h"

namespace govtrain {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

// The lines of `text` that are whole and not after `last_step`.
std::string keep_lines(std::string_view text, int64_t last_step) {
  std::string kept;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    const std::string_view line = text.substr(0, end + 1);
    text.remove_prefix(end + 1);
    const auto parsed = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (!parsed.is_object()) continue;
    const auto step = parsed.find("step");
    if (step != parsed.end() && step->is_number_integer() && step->get<int64_t>() <= last_step) kept += line;
  }
  return kept;
}

}  // namespace

Status keep_lines_to_step(FileSystem& fs, const std::string& path, int64_t last_step) {
  if (!fs.exists(path)) return {};
  const Result<std::string> old = fs.read(path);
  if (!old.ok()) return old.status();
  const std::string kept = keep_lines(old.value(), last_step);
  return kept == old.value() ? Status() : write_atomic(fs, path, kept);
}

Result<MetricsWriter> MetricsWriter::open(FileSystem& fs, const std::string& folder, int64_t last_step,
                                          bool tensorboard) {
  if (Status s = fs.make_dirs(folder); !s.ok()) return s;
  MetricsWriter writer;
  writer.fs_ = &fs;
  writer.path_ = join_path(folder, "metrics.jsonl");
  if (Status s = keep_lines_to_step(fs, writer.path_, last_step); !s.ok()) return s;
  if (tensorboard) {
    const std::string events = join_path(folder, "tensorboard");
    if (Status s = fs.make_dirs(events); !s.ok()) return s;
    Result<TfEventsWriter> created = TfEventsWriter::create(fs, events, last_step < 0 ? 0 : last_step + 1, now());
    if (!created.ok()) return created.status();
    writer.events_ = std::move(created).value();
  }
  return writer;
}

Status MetricsWriter::log(int64_t step, const std::vector<std::pair<std::string, double>>& values) {
  std::map<std::string, std::string> fields = {{"step", std::to_string(step)}};
  for (const auto& [name, value] : values) {
    std::string& text = fields[name];
    if (std::isfinite(value))
      append_number(text, value);
    else
      text = "null";
  }
  std::string line = "{";
  for (const auto& [name, text] : fields)
    line += (line.size() > 1 ? "," : "") + nlohmann::json(name).dump() + ":" + text;
  if (Status s = fs_->append(path_, line + "}\n"); !s.ok()) return s;
  return events_ ? events_->add(step, now(), values) : Status();
}

}  // namespace govtrain
