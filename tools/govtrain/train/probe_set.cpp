#include "tools/govtrain/train/probe_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "core/error.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/parallel.h"

namespace govtrain {
namespace {

Representation rows_of(const Tensor& t, const std::vector<size_t>& kept) {
  Representation out{kept.size(), static_cast<size_t>(t.cols()), {}};
  for (const size_t i : kept) {
    const float* row = t.data() + static_cast<int64_t>(i) * t.cols();
    out.values.insert(out.values.end(), row, row + t.cols());
  }
  return out;
}

}  // namespace

ProbeSet::ProbeSet(const Dataset& dataset, const std::vector<int32_t>& documents, const ProbeOptions& options)
    : options_(options) {
  const Tokenizer& tokenizer = dataset.tokenizer();
  const auto most = static_cast<size_t>(options.examples), context = static_cast<size_t>(options.context);
  const auto add = [&](int32_t document, std::vector<int32_t> tokens) {
    tokens.insert(tokens.begin(), tokenizer.bos());
    tokens.resize(std::min(tokens.size(), context));
    const std::string_view bytes(reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(int32_t));
    texts_.push_back({document, tokens, hex(sha256(bytes))});
  };
  if (options.file.empty()) {
    for (const int32_t d : documents) {
      if (texts_.size() == most) break;
      const DatasetDocument& document = dataset.documents()[static_cast<size_t>(d)];
      std::vector<int32_t> tokens;
      for (uint64_t t = 0; t < document.tokens && tokens.size() < context; ++t) {
        tokens.push_back(dataset.token(document.begin + t));
      }
      add(d, std::move(tokens));
    }
  } else {
    const Result<std::string> text = real_file_system().read(options.file);
    if (!text.ok()) throw Error("probe", "{}", text.status().message());
    std::istringstream lines(text.value());
    for (std::string line; texts_.size() < most && std::getline(lines, line);) {
      if (line.find_first_not_of(" \t\r") != std::string::npos) add(-1, tokenizer.encode(line));
    }
  }
  if (texts_.size() < 2) {
    throw Error("probe", "found {} texts in {}; expected at least 2. {}", texts_.size(),
                options.file.empty() ? "the validation documents that every block is admitted to" : options.file,
                options.file.empty() ? "Raise data.validation_fraction, or name a file with texts (probe.file)"
                                     : "Write one text per line");
  }
  std::vector<const Text*> all;
  for (const Text& t : texts_) all.push_back(&t);
  digest_ = digest_of(all);
}

std::string ProbeSet::digest_of(const std::vector<const Text*>& texts) {
  std::string lines;
  for (const Text* t : texts) lines += t->digest + "\n";
  return "sha256:" + hex(sha256(lines));
}

std::vector<Tensor> ProbeSet::represent(Transformer& model, Backend& backend) const {
  const int64_t width = model.config().width;
  std::vector<Tensor> out;
  for (int s = 0; s < model.stages(); ++s) out.emplace_back(examples(), width);
  for (size_t first = 0; first < texts_.size();) {
    std::vector<int32_t> tokens, lengths;
    size_t last = first;
    for (; last < texts_.size(); ++last) {
      const std::vector<int32_t>& t = texts_[last].tokens;
      if (last > first && tokens.size() + t.size() > static_cast<size_t>(options_.rows_per_batch)) break;
      tokens.insert(tokens.end(), t.begin(), t.end());
      lengths.push_back(static_cast<int32_t>(t.size()));
    }
    const Rows rows = Rows::of_lengths(lengths);
    Tape tape(backend, rows, Mode::eval);
    model.hidden(tape, {tokens, {}}, [&](int stage, View value) {
      parallel_for(rows.examples(), [&](int64_t e) {
        const int example = static_cast<int>(e);
        float* to = out[static_cast<size_t>(stage)].data() + (static_cast<int64_t>(first) + e) * width;
        for (int64_t d = 0; d < width; ++d) {
          double sum = 0;
          for (int r = rows.begin(example); r < rows.end(example); ++r) sum += static_cast<double>(value.at(r, d));
          to[d] = static_cast<float>(sum / rows.length(example));
        }
      });
    });
    first = last;
  }
  return out;
}

ProbeMeasurement ProbeSet::measure(Transformer& model, Backend& backend, const std::function<bool(int32_t)>& keep,
                                   bool set_reference) {
  std::vector<size_t> kept;
  std::vector<const Text*> texts;
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (texts_[i].document >= 0 && !keep(texts_[i].document)) continue;
    kept.push_back(i);
    texts.push_back(&texts_[i]);
  }
  if (kept.size() < 2) return {static_cast<int64_t>(kept.size()), digest_of(texts), {}, {}, {}};
  std::vector<Tensor> now = represent(model, backend);
  if (set_reference && reference_.empty()) reference_ = now;
  const size_t stages = now.size();
  ProbeMeasurement out{static_cast<int64_t>(kept.size()), digest_of(texts), std::vector<double>(stages),
                       std::vector<double>(stages), std::vector<double>(reference_.empty() ? 0 : stages)};
  parallel_for(static_cast<int64_t>(stages), [&](int64_t i) {
    const auto s = static_cast<size_t>(i);
    const Representation x = rows_of(now[s], kept);
    const std::vector<double> spectrum = gram_spectrum(x);
    out.entropy[s] = normalised_entropy(spectrum, options_.alpha);
    out.capacity[s] = capacity_use(spectrum);
    if (!reference_.empty()) out.drift[s] = 1 - linear_cka(x, rows_of(reference_[s], kept));
  });
  return out;
}

std::vector<NamedTensor> ProbeSet::reference() const {
  std::vector<NamedTensor> out;
  for (size_t s = 0; s < reference_.size(); ++s) {
    out.push_back({fmt::format("stage.{}", s), {reference_[s].rows(), reference_[s].cols()}, reference_[s]});
  }
  return out;
}

void ProbeSet::restore(const std::vector<NamedTensor>& reference) {
  std::vector<Tensor> tensors(reference.size());
  for (const NamedTensor& t : reference) {
    size_t s = 0;
    while (s < reference.size() && t.name != fmt::format("stage.{}", s)) ++s;
    if (s == reference.size() || t.value.rows() != examples()) {
      throw Error("probe", "the reference '{}' of {} examples is of another probe set; expected {} examples", t.name,
                  t.value.rows(), examples());
    }
    tensors[s] = t.value;
  }
  reference_ = std::move(tensors);
}

}  // namespace govtrain
