#include "tools/govtrain/classify/model_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/hash.h"
#include "tools/govtrain/io/safetensors.h"

namespace govtrain {
namespace {

using nlohmann::json;

std::string digest_of_contents(const std::string& header, const LinearClassifier& model) {
  Sha256 hash;
  const auto bytes = [](const std::vector<float>& values) {
    return std::string_view(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  };
  hash.update(header).update(bytes(model.weight)).update(bytes(model.bias));
  return hex(hash.finish());
}

// What is wrong with the header's own part, or the empty model that it describes.
std::optional<LinearClassifier> model_of(const json& header) {
  try {
    LinearClassifier out;
    out.classes = header.at("classes").get<std::vector<std::string>>();
    out.ngrams = {header.at("ngrams").at("shortest"), header.at("ngrams").at("longest"),
                  header.at("ngrams").at("buckets")};
    const NgramOptions& n = out.ngrams;
    const bool sound = n.shortest >= 1 && n.shortest <= n.longest && n.longest <= max_ngram && n.buckets >= 2 &&
                       n.buckets <= max_ngram_buckets && out.classes.size() >= 2 && out.classes.size() <= 10'000 &&
                       std::is_sorted(out.classes.begin(), out.classes.end()) &&
                       std::set<std::string>(out.classes.begin(), out.classes.end()).size() == out.classes.size();
    if (!sound) return {};
    return out;
  } catch (const json::exception&) {
    return {};
  }
}

}  // namespace

Status write_classifier(FileSystem& fs, const std::string& path, const ClassifierFile& file) {
  const LinearClassifier& m = file.model;
  json header = file.header;
  header["classes"] = m.classes;
  header["ngrams"] = {{"shortest", m.ngrams.shortest}, {"longest", m.ngrams.longest}, {"buckets", m.ngrams.buckets}};
  const std::string text = header.dump();
  const auto classes = static_cast<int64_t>(m.classes.size());
  return write_safetensors(fs, path, {{"weight", {classes, m.ngrams.buckets}, m.weight}, {"bias", {classes}, m.bias}},
                           {{"format", classifier_format},
                            {"version", std::to_string(classifier_version)},
                            {"header", text},
                            {"sha256", digest_of_contents(text, m)}});
}

Result<ClassifierFile> read_classifier(const std::string& path) {
  Result<Safetensors> opened = Safetensors::open(path);
  if (!opened.ok()) return opened.status();
  const Safetensors& file = opened.value();
  const auto member = [&](const char* key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  if (member("format") != classifier_format) {
    return Status(StatusCode::invalid,
                  path + ": not a classifier; expected a file that 'govtrain classify train' made");
  }
  if (member("version") != std::to_string(classifier_version)) {
    return Status(StatusCode::invalid, fmt::format("{}: a classifier of version {}; this program reads version {}",
                                                   path, member("version"), classifier_version));
  }
  ClassifierFile out;
  out.header = json::parse(member("header"), nullptr, false);
  std::optional<LinearClassifier> model = model_of(out.header);
  if (!model) return Status(StatusCode::corrupt, path + ": 'header' does not describe a classifier");
  out.model = std::move(*model);
  const size_t classes = out.model.classes.size();
  const std::vector<int64_t> shape = {static_cast<int64_t>(classes), out.model.ngrams.buckets};
  const std::vector<int64_t> row = {shape[0]};
  if (const SafetensorsEntry* weight = file.find("weight"); weight == nullptr || weight->shape != shape) {
    return Status(StatusCode::corrupt,
                  fmt::format("{}: expected a tensor 'weight' of {} x {}", path, classes, out.model.ngrams.buckets));
  }
  out.model.weight.resize(classes * static_cast<size_t>(out.model.ngrams.buckets));
  if (Status s = file.read("weight", shape, out.model.weight); !s.ok()) return s;
  out.model.bias.resize(classes);
  if (const SafetensorsEntry* bias = file.find("bias"); bias == nullptr || bias->shape != row) {
    return Status(StatusCode::corrupt, fmt::format("{}: expected a tensor 'bias' of {}", path, classes));
  }
  if (Status s = file.read("bias", row, out.model.bias); !s.ok()) return s;
  if (digest_of_contents(member("header"), out.model) != member("sha256")) {
    return Status(StatusCode::corrupt, path +
                                           ": header and weights do not have the SHA-256 that the file names: it was "
                                           "changed; train it again");
  }
  for (const auto* values : {&out.model.weight, &out.model.bias}) {
    if (!std::all_of(values->begin(), values->end(), [](float x) { return std::isfinite(x); }))
      return Status(StatusCode::invalid, path + ": a weight is not finite");
  }
  return out;
}

std::optional<LinearClassifier> read_classifier_for(const std::string& path, const Position& at,
                                                    Diagnostics& diagnostics) {
  Result<ClassifierFile> file = read_classifier(path);
  if (file.ok()) return std::move(file.value().model);
  diagnostics.error(at, file.status().message());
  return {};
}

}  // namespace govtrain
