#include "tools/govtrain/data/sampler.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "core/error.h"
#include "core/rng.h"

namespace govtrain {
namespace {

void check(const SamplerOptions& options) {
  if (options.context < 1) throw Error("data", "context is {}; expected at least 1", options.context);
  if (options.tokens_per_step < options.context) {
    throw Error("data",
                "tokens_per_step is {}, less than the context of {}; an example can have {} rows and would never fit. "
                "Raise tokens_per_step or lower the context",
                options.tokens_per_step, options.context, options.context);
  }
}

// Place of an example in an epoch: 128 bits, one Philox block, a bijection of the id for a given seed and epoch, so
// that different ids never tie.
std::array<uint32_t, 4> place(uint64_t seed, uint64_t epoch, uint64_t id) {
  const auto low = [](uint64_t x) { return static_cast<uint32_t>(x); };
  const auto high = [](uint64_t x) { return static_cast<uint32_t>(x >> 32); };
  const uint32_t domain = high(epoch) ^ (static_cast<uint32_t>(Stream::sampler) << 24);
  return philox({low(id), high(id), low(epoch), domain}, {low(seed), high(seed)});
}

void append(const Dataset& dataset, const Example& e, Batch& batch) {
  const DatasetDocument& doc = dataset.documents()[static_cast<size_t>(e.document)];
  const Tokenizer& tokenizer = dataset.tokenizer();
  for (uint64_t r = e.begin; r < e.end; ++r) {
    batch.tokens.push_back(r == 0 ? tokenizer.bos() : dataset.token(doc.begin + r - 1));
    batch.targets.push_back(r == doc.tokens ? tokenizer.eos() : dataset.token(doc.begin + r));
  }
  batch.examples.push_back(e);
}

void finish(Batch& batch) {
  std::vector<int32_t> lengths;
  for (const Example& e : batch.examples) lengths.push_back(e.rows());
  batch.rows = Rows::of_lengths(lengths);
}

}  // namespace

uint64_t example_id(const Digest& document, uint64_t begin) {
  std::string bytes(document.begin(), document.end());
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(begin >> (8 * i)));
  const Digest digest = sha256(bytes);
  uint64_t id = 0;
  for (size_t i = 0; i < 8; ++i) id = id << 8 | digest[i];
  return id;
}

std::vector<Example> examples_of(const Dataset& dataset, const std::vector<int32_t>& documents, int context) {
  std::vector<Example> out;
  for (int32_t d : documents) {
    const DatasetDocument& doc = dataset.documents()[static_cast<size_t>(d)];
    const uint64_t rows = doc.tokens + 1, step = static_cast<uint64_t>(context);
    for (uint64_t begin = 0; begin < rows; begin += step) {
      const uint64_t end = std::min(rows, begin + step);
      out.push_back({d, static_cast<uint32_t>(begin), static_cast<uint32_t>(end), example_id(doc.digest, begin)});
    }
  }
  return out;
}

std::vector<int32_t> documents_of(const Dataset& dataset, Split split, const std::vector<uint8_t>& admitted) {
  const auto& all = dataset.documents();
  if (!admitted.empty() && admitted.size() != all.size()) {
    throw Error("data", "the admitted mask has {} entries; expected one for each of {} documents", admitted.size(),
                all.size());
  }
  std::vector<int32_t> out;
  for (size_t d = 0; d < all.size(); ++d) {
    if (all[d].split == split && (admitted.empty() || admitted[d] != 0)) out.push_back(static_cast<int32_t>(d));
  }
  return out;
}

Sampler::Sampler(const Dataset& dataset, const SamplerOptions& options, const std::vector<uint8_t>& admitted)
    : dataset_(dataset), options_(options) {
  check(options);
  examples_ = examples_of(dataset, documents_of(dataset, Split::train, admitted), options.context);
  if (examples_.empty()) {
    throw Error("data", "no training document is left in '{}': every document is excluded or in the validation split",
                dataset.folder());
  }
  for (const Example& e : examples_) rows_per_epoch_ += static_cast<uint64_t>(e.rows());
}

void Sampler::order_epoch(uint64_t epoch) {
  if (ordered_ == epoch) return;
  using Key = std::array<uint32_t, 4>;
  std::vector<std::pair<Key, uint32_t>> keys(examples_.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    keys[i] = {place(options_.seed, epoch, examples_[i].id), static_cast<uint32_t>(i)};
  }
  std::sort(keys.begin(), keys.end());
  order_.resize(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) order_[i] = keys[i].second;
  ordered_ = epoch;
}

Batch Sampler::next(const Keep& keep) {
  order_epoch(state_.epoch);
  Batch batch;
  batch.epoch = state_.epoch;
  batch.cursor = state_.cursor;
  for (; state_.cursor < order_.size(); ++state_.cursor) {
    const Example& e = examples_[order_[state_.cursor]];
    if (batch.slot_rows + e.rows() > options_.tokens_per_step) break;
    ++batch.slots;
    batch.slot_rows += e.rows();
    if (!keep || keep(e.document)) append(dataset_, e, batch);
  }
  if (state_.cursor == order_.size()) state_ = {state_.epoch + 1, 0};
  finish(batch);
  return batch;
}

void Sampler::set_state(const SamplerState& state) {
  if (state.cursor >= examples_.size()) {
    throw Error("data",
                "the sampler cannot continue at place {} of epoch {}; expected less than the {} examples of an epoch. "
                "The checkpoint belongs to other data, another context or another policy",
                state.cursor, state.epoch, examples_.size());
  }
  state_ = state;
}

FixedBatches::FixedBatches(const Dataset& dataset, const std::vector<int32_t>& documents, int context,
                           int tokens_per_step, uint64_t max_rows)
    : dataset_(dataset) {
  check({context, tokens_per_step, 0});
  std::vector<int32_t> taken;
  uint64_t total = 0;
  for (int32_t d : documents) {
    total += dataset.documents()[static_cast<size_t>(d)].tokens + 1;
    if (max_rows > 0 && total > max_rows && !taken.empty()) break;
    taken.push_back(d);
  }
  examples_ = examples_of(dataset, taken, context);
  int32_t rows = 0;
  for (size_t i = 0; i < examples_.size(); ++i) {
    if (ranges_.empty() || rows + examples_[i].rows() > tokens_per_step) {
      ranges_.push_back({i, i});
      rows = 0;
    }
    rows += examples_[i].rows();
    ranges_.back().second = i + 1;
    rows_ += static_cast<uint64_t>(examples_[i].rows());
  }
}

Batch FixedBatches::batch(size_t i, const Sampler::Keep& keep) const {
  Batch batch;
  batch.cursor = ranges_.at(i).first;
  for (size_t e = ranges_[i].first; e < ranges_[i].second; ++e) {
    if (!keep || keep(examples_[e].document)) append(dataset_, examples_[e], batch);
    ++batch.slots;
    batch.slot_rows += examples_[e].rows();
  }
  finish(batch);
  return batch;
}

int64_t FixedBatches::kept_out(const Sampler::Keep& keep) const {
  int64_t count = 0;
  for (const Example& e : examples_) count += e.begin == 0 && keep && !keep(e.document) ? 1 : 0;
  return count;
}

std::vector<std::pair<std::string, std::vector<int32_t>>> group_documents(const Dataset& dataset,
                                                                          const std::vector<int32_t>& documents,
                                                                          const std::string& key) {
  std::map<std::string, std::vector<int32_t>> groups;
  for (int32_t d : documents) {
    std::set<std::string> values;
    const DatasetDocument& document = dataset.documents()[static_cast<size_t>(d)];
    for (const Meta& meta : facts_of(document.origins(), document.digest).provenances) {
      const auto found = meta.find(key);
      values.insert(found == meta.end() ? "(none)" : found->second);
    }
    std::string name;
    for (const std::string& v : values) name += (name.empty() ? "" : " + ") + v;
    groups[name].push_back(d);
  }
  return {groups.begin(), groups.end()};
}

}  // namespace govtrain
