#include "tools/govtrain/train/run_log.h"

#include <fmt/format.h>
#include <openssl/rand.h>

#include <array>
#include <cmath>

#include "core/error.h"
#include "lineage/writer.h"

namespace govtrain {
namespace {

constexpr size_t clips_per_record = 1500;

// Numbers in JSON are finite; what is not is told as in example records.
nlohmann::json norm_json(double norm) {
  if (std::isfinite(norm)) return norm;
  return std::isnan(norm) ? "nan" : "inf";
}

std::string random_hex(size_t bytes) {
  std::array<unsigned char, 16> buffer{};
  if (RAND_bytes(buffer.data(), static_cast<int>(bytes)) != 1) throw Error("run log", "no random bytes from OpenSSL");
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text += fmt::format("{:02x}", buffer[i]);
  return text;
}

}  // namespace

RunLog::RunLog(LogWriter writer, const RunLogOptions& options)
    : verifier_key_(writer.key().text()), log_(std::move(writer), {.flush_records = options.flush_records}) {}

Result<std::unique_ptr<RunLog>> RunLog::create(FileSystem& fs, const RunLogOptions& options, KeyMaker& key_maker,
                                               std::string& notice) {
  const std::string id = random_hex(4);
  Result<NoteSigner> key = key_maker.make(options.origin + "-" + id, notice);
  if (!key.ok()) return key.status();
  Result<LogWriter> writer = LogWriter::create(fs, options.folder, std::move(key).value(), id);
  if (!writer.ok()) {
    const StatusCode code = writer.status().code();
    if (code != StatusCode::locked && code != StatusCode::exists) return writer.status();  // a log may be there
    if (Status s = key_maker.take_back(); !s.ok()) return s;
    return writer.status();
  }
  return std::make_unique<RunLog>(std::move(writer).value(), options);
}

Result<std::unique_ptr<RunLog>> RunLog::open(FileSystem& fs, const RunLogOptions& options) {
  Result<NoteSigner> key = find_log_key(fs, options.key_path, options.folder);
  if (!key.ok()) return key.status();
  Result<LogWriter> writer = LogWriter::open(fs, options.folder, std::move(key).value());
  if (!writer.ok()) return writer.status();
  return std::make_unique<RunLog>(std::move(writer).value(), options);
}

Status RunLog::control(const std::string& kind, nlohmann::json payload) {
  std::string leaf;
  if (Status s = write_leaf(leaf, ControlRecord{kind, std::move(payload)}); !s.ok()) return s;
  return log_.append(std::move(leaf)).status();
}

Status RunLog::excluded(const ExampleRecord& record) {
  std::string leaf;
  if (Status s = write_leaf(leaf, record); !s.ok()) return s;
  return log_.append(std::move(leaf)).status();
}

Status RunLog::step(int64_t step, const Batch& batch, const std::vector<DocumentLabel>& labels,
                    const std::string& policy_id, const StepResult& result, double lr,
                    const std::vector<EntropyMark>& marks) {
  const std::vector<Example>& examples = batch.examples;
  const RouteTable& route = result.route;
  const auto blocks = static_cast<size_t>(route.blocks);
  ExampleRecord record;
  record.pol = policy_id;
  record.w.resize(blocks);
  record.g.resize(blocks);
  record.r.resize(blocks);
  for (size_t e = 0; e < examples.size(); ++e) {
    const Example& example = examples[e];
    const DocumentLabel& label = labels[static_cast<size_t>(example.document)];
    record.place = ExampleRecord::Place{step, 0, static_cast<int64_t>(e)};
    record.ex = label.ex;
    record.prof = label.prof;
    record.cls = label.cls;
    record.prov = label.prov;
    record.clv = label.clv;
    record.score = label.score;
    record.span_begin = example.begin;
    record.span_end = example.end;
    record.tok = example.rows();
    for (size_t b = 0; b < blocks; ++b) {
      record.w[b] = route.weight[e * blocks + b];
      record.r[b] = route.rule[e * blocks + b];
      record.g[b] = result.norms.empty() ? 0 : static_cast<float>(result.norms[e * blocks + b]);
    }
    if (!marks.empty()) {
      record.ent = marks[e].ent;
      record.band = marks[e].band;
      record.slope = marks[e].slope;
    }
    std::string leaf;
    if (Status s = write_leaf(leaf, record); !s.ok()) return s;
    if (auto appended = log_.append(std::move(leaf)); !appended.ok()) return appended.status();
  }
  nlohmann::json payload = {{"step", step}, {"epoch", batch.epoch}, {"examples", examples.size()}, {"lr", lr}};
  if (const double loss = result.mean_loss(); !std::isnan(loss)) payload["loss"] = loss;
  const size_t count = result.clips.size();
  if (count < sparse_blocks) {
    payload["clip"] = payload["stepped"] = nlohmann::json::array();
    for (size_t b = 0; b < count; ++b) {
      payload["clip"].push_back(result.clips[b].factor);
      payload["stepped"].push_back(result.stepped[b] ? 1 : 0);
    }
    for (const BlockClip& clip : result.withheld) payload["withheld"].push_back(norm_json(clip.norm));
    return control("step", std::move(payload));
  }
  // Too many for one entry: what is not 1 or 0 goes ahead in entries of their own, stepped blocks as ranges.
  const auto ahead = [&](const char* key, const std::vector<BlockClip>& values, const auto& of, float usual) {
    nlohmann::json part = nlohmann::json::object();
    Status status;
    for (size_t b = 0; b < values.size() && status.ok(); ++b) {
      if (of(values[b]) != usual) part[std::to_string(b)] = norm_json(of(values[b]));
      if (part.empty() || (part.size() < clips_per_record && b + 1 < values.size())) continue;
      status = control("clip", {{"step", step}, {key, std::move(part)}});
      part = nlohmann::json::object();
    }
    return status;
  };
  if (Status s = ahead(
          "clip", result.clips, [](const BlockClip& c) { return c.factor; }, 1.0f);
      !s.ok())
    return s;
  if (Status s = ahead(
          "withheld", result.withheld, [](const BlockClip& c) { return c.norm; }, 0.0f);
      !s.ok())
    return s;
  payload["b"] = count;
  payload["stepped"] = nlohmann::json::array();
  for (size_t b = 0; b < count; ++b) {
    nlohmann::json& ranges = payload["stepped"];
    if (!result.stepped[b]) continue;
    if (!ranges.empty() && ranges.back()[1] == b - 1) {
      ranges.back()[1] = b;
    } else {
      ranges.push_back({b, b});
    }
  }
  return control("step", std::move(payload));
}

}  // namespace govtrain
