#include "tools/govtrain/train/reference_model.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/tape.h"
#include "core/error.h"
#include "core/hash.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/checkpoint.h"

namespace govtrain {

ReferenceModel::ReferenceModel(std::unique_ptr<Transformer> model, double decay, Backend& backend)
    : model_(std::move(model)), decay_(decay), backend_(&backend) {}

std::unique_ptr<ReferenceModel> ReferenceModel::average(const Transformer& model, double decay, Backend& backend) {
  if (!(decay > 0 && decay < 1)) throw Error("reference model", "expected a decay between 0 and 1, got {}", decay);
  auto copy = std::make_unique<Transformer>(model.config(), 0, backend.allocator());
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const Tensor& from = model.parameters()[i].value();
    copy->parameters()[i].value().assign(from.host().values());
  }
  return std::unique_ptr<ReferenceModel>(new ReferenceModel(std::move(copy), decay, backend));
}

std::unique_ptr<ReferenceModel> ReferenceModel::frozen(FileSystem& fs, const std::string& folder,
                                                       const Tokenizer& tokenizer, int64_t context, Backend& backend) {
  if (fs.exists(join_path(folder, "DONE"))) require(verify_checkpoint_folder(fs, folder));
  const std::string weights = join_path(folder, "model.safetensors");
  auto model = require(load_model(fs, folder, backend.allocator()));
  const auto theirs = require(load_tokenizer_from(fs, folder));
  if (theirs->digest() != tokenizer.digest()) {
    throw Failure(exit_data,
                  fmt::format("policy.reference {}: its tokenizer is {}, the data's is {}; surprisal per "
                              "token can only be compared with the same tokenizer",
                              folder, hex(theirs->digest()).substr(0, 12), hex(tokenizer.digest()).substr(0, 12)));
  }
  if (model->config().vocab != tokenizer.vocab_size() || model->config().context < context) {
    throw Failure(exit_data,
                  fmt::format("policy.reference {}: a vocabulary of {} and a context of {}; expected {}, and "
                              "at least {}",
                              folder, model->config().vocab, model->config().context, tokenizer.vocab_size(), context));
  }
  std::unique_ptr<ReferenceModel> out(new ReferenceModel(std::move(model), 0, backend));
  out->digest_ = "sha256:" + hex(sha256(require(MappedFile::open(weights)).bytes()));
  return out;
}

ReferenceModel::Measured ReferenceModel::measure(const TrainBatch& batch, const std::vector<uint8_t>& wanted,
                                                 int64_t max_rows) {
  const int examples = batch.rows.examples();
  Measured out{std::vector<double>(static_cast<size_t>(examples), 0.0),
               std::vector<int64_t>(static_cast<size_t>(examples), 0)};
  for (int first = 0; first < examples;) {
    std::vector<int32_t> tokens, targets, lengths;
    std::vector<size_t> which;
    int e = first;
    for (; e < examples; ++e) {
      if (wanted[static_cast<size_t>(e)] == 0) continue;
      const auto begin = static_cast<ptrdiff_t>(batch.rows.begin(e)), end = static_cast<ptrdiff_t>(batch.rows.end(e));
      const int64_t rows = static_cast<int64_t>(tokens.size()) + end - begin;
      if (max_rows > 0 && !which.empty() && rows > max_rows) break;
      tokens.insert(tokens.end(), batch.tokens.begin() + begin, batch.tokens.begin() + end);
      targets.insert(targets.end(), batch.targets.begin() + begin, batch.targets.begin() + end);
      lengths.push_back(batch.rows.length(e));
      which.push_back(static_cast<size_t>(e));
    }
    first = e;
    if (which.empty()) break;
    const Rows rows = Rows::of_lengths(lengths);
    Tape tape(*backend_, rows, Mode::eval);
    const Losses losses = model_->loss(tape, {tokens, {}}, targets);
    rows_ += rows.total();
    for (size_t i = 0; i < which.size(); ++i) {
      out.nll[which[i]] = losses.nll[i];
      out.counts[which[i]] = losses.counts[i];
    }
  }
  return out;
}

void ReferenceModel::follow(const Transformer& model) {
  if (decay_ == 0) return;
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const Tensor& now = model.parameters()[i].value();
    Tensor& mean = model_->parameters()[i].value();
    Tensor share(now.rows(), now.cols(), backend_->allocator());
    const std::vector<float> factor(static_cast<size_t>(now.rows()), static_cast<float>(1 - decay_));
    backend_->scale_rows(now.cview(), factor, share.view());
    backend_->scale({mean.data(), static_cast<size_t>(mean.size())}, static_cast<float>(decay_));
    backend_->accumulate(share.cview(), mean.view());
  }
}

}  // namespace govtrain
