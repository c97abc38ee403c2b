#include "tools/govtrain/train/probe.h"

#include <fmt/format.h>

#include <sstream>

#include "autograd/param_grad.h"
#include "autograd/tape.h"
#include "core/error.h"
#include "models/hf_names.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/data/clean.h"
#include "tools/govtrain/data/input.h"

namespace govtrain {
namespace {

std::vector<std::string> texts_of(const std::string& file) {
  std::vector<std::string> out;
  if (file.find(".jsonl") != std::string::npos) {
    try {
      for (const Record& record : read_inputs({file})) out.push_back(record.text);
    } catch (const Error& e) {
      throw Failure(exit_data, e.what());
    }
    return out;
  }
  std::istringstream lines(require(real_file_system().read(file)));
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) out.push_back(line);
  }
  return out;
}

}  // namespace

Probe::Probe(const Session& s, const std::string& file) {
  const auto context = static_cast<int>(s.config.data.context);
  const auto most = static_cast<int>(s.config.train.tokens_per_step);
  if (file.empty()) {
    name_ = "validation split";
    const FixedBatches batches(s.dataset, documents_of(s.dataset, Split::validation), context, most,
                               static_cast<uint64_t>(s.config.eval.max_tokens));
    const auto keep = [&](int32_t d) { return s.governance->keep(d); };
    kept_out_ = batches.kept_out(keep);
    for (size_t i = 0; i < batches.size(); ++i) {
      Batch b = batches.batch(i, keep);
      if (b.empty()) continue;
      parts_.push_back({std::move(b.tokens), std::move(b.targets), std::move(b.rows)});
    }
  } else {
    name_ = file;
    const Tokenizer& tokenizer = s.dataset.tokenizer();
    for (const std::string& content : texts_of(file)) {
      std::vector<int32_t> ids = {tokenizer.bos()};
      const std::vector<int32_t> text = tokenizer.encode(clean(content, {}));
      ids.insert(ids.end(), text.begin(), text.end());
      ids.push_back(tokenizer.eos());
      for (size_t begin = 0; begin + 1 < ids.size(); begin += static_cast<size_t>(context)) {
        const size_t end = std::min(begin + static_cast<size_t>(context), ids.size() - 1);
        const auto at = [&](size_t i) { return ids.begin() + static_cast<ptrdiff_t>(i); };
        parts_.push_back({{at(begin), at(end)},
                          {at(begin + 1), at(end + 1)},
                          Rows::of_lengths(std::vector<int32_t>{static_cast<int32_t>(end - begin)})});
      }
    }
  }
  if (rows() == 0 && kept_out_ > 0) {
    throw Failure(exit_data, fmt::format("no document of the probe set ({}) is left: {} are kept out; name another by "
                                         "--probe",
                                         name_, kept_out_));
  }
  if (rows() == 0) throw Failure(exit_data, fmt::format("the probe set ({}) is empty; name another by --probe", name_));
}

int64_t Probe::rows() const {
  int64_t rows = 0;
  for (const Part& part : parts_) rows += part.rows.total();
  return rows;
}

Probe::Point Probe::at(const Transformer& model, Backend& backend, bool gradient) const {
  TransformerConfig shape = model.config();
  shape.dropout = 0;
  Transformer copy(shape, 0, backend.allocator());
  import_tensors(copy, export_tensors(model));
  const auto total = static_cast<float>(rows());
  double nll = 0;
  for (const Part& part : parts_) {
    Tape tape(backend, part.rows, gradient ? Mode::train : Mode::eval);
    const Losses losses = copy.loss(tape, {part.tokens, {}}, part.targets);
    for (const double one : losses.nll()) nll += one;
    if (!gradient) continue;
    ParamGrad grads = ParamGrad::plain(copy.parameters(), backend, part.rows);
    tape.backward(losses, std::vector<float>(static_cast<size_t>(part.rows.examples()), 1.0f / total), grads);
  }
  Point point;
  point.loss = nll / static_cast<double>(rows());
  if (gradient) {
    for (size_t i = 0; i < copy.parameters().size(); ++i) point.gradient.push_back(copy.parameters()[i].grad().host());
  }
  return point;
}

}  // namespace govtrain
