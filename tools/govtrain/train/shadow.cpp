#include "tools/govtrain/train/shadow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/hash.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/train/checkpoint.h"

namespace govtrain {
namespace {

using nlohmann::json;

constexpr const char* file_format = "govtrain pending update 1";
const std::string suffix = ".safetensors";

std::span<float> all(const Tensor& t) { return {t.data(), static_cast<size_t>(t.size())}; }

SafetensorsInput input(const std::string& name, const Tensor& t) {
  const Tensor on_host = t.host();
  return {name, {t.rows(), t.cols()}, on_host.values(), on_host};
}

// Per block, over a parameter's elements in order, in double: |a|^2, |b|^2, <a, b>.
struct Products {
  std::vector<double> aa, bb, ab;
};

void add_products(const Parameter& p, const Tensor& a, const Tensor& b, Products& out) {
  for (const Parameter::Slice& s : p.slices()) {
    const auto block = static_cast<size_t>(s.block);
    for (int64_t r = s.row_begin; r < s.row_end; ++r) {
      for (int64_t c = s.col_begin; c < s.col_end; ++c) {
        const auto x = static_cast<double>(a.data()[r * p.cols() + c]);
        const auto y = static_cast<double>(b.data()[r * p.cols() + c]);
        out.aa[block] += x * x;
        out.bb[block] += y * y;
        out.ab[block] += x * y;
      }
    }
  }
}

void take(const Tensor& to, const NamedTensor& from) {
  if (from.value.rows() != to.rows() || from.value.cols() != to.cols()) {
    throw Error("withheld", "'{}'; expected [{}, {}], got [{}, {}]", from.name, to.rows(), to.cols(), from.value.rows(),
                from.value.cols());
  }
  to.assign(from.value.host().values());
}

}  // namespace

double PendingUpdate::cosine(size_t b) const {
  const double norms = withheld[b] * admitted[b];
  return norms == 0 ? 0 : dot[b] / norms;
}

json PendingUpdate::evidence() const {
  return {{"format", file_format}, {"first", first},       {"last", last}, {"lr", lr},
          {"withheld", withheld},  {"admitted", admitted}, {"dot", dot},   {"not_finite", not_finite}};
}

std::string pending_path(const std::string& run, const std::string& name) {
  return join_path(join_path(run, pending_dir), name + suffix);
}

std::vector<PendingName> pending_names(const json& part) {
  std::vector<PendingName> out;
  for (const json& p : part.at("pending")) out.push_back({p.at("name"), p.at("sha256")});
  return out;
}

PendingUpdate read_pending(const std::string& run, const PendingName& name) {
  PendingUpdate out;
  out.name = name.name;
  out.path = pending_path(run, name.name);
  const std::string found = hex(sha256(require(MappedFile::open(out.path)).bytes()));
  if (found != name.sha256) {
    throw Failure(exit_data, fmt::format("{}: expected sha256 {}, got {}; the file was changed or damaged", out.path,
                                         name.sha256, found));
  }
  const Safetensors file = require(Safetensors::open(out.path));
  try {
    const json e = json::parse(file.metadata().at("evidence"));
    if (e.at("format") != file_format) throw Error("withheld", "unknown format {}", e.at("format").dump());
    out.first = e.at("first");
    out.last = e.at("last");
    out.steps = out.last - out.first + 1;
    out.lr = e.at("lr");
    out.withheld = e.at("withheld").get<std::vector<double>>();
    out.admitted = e.at("admitted").get<std::vector<double>>();
    out.dot = e.at("dot").get<std::vector<double>>();
    out.not_finite = e.at("not_finite").get<std::vector<int64_t>>();
  } catch (const std::exception& e) {
    throw Failure(exit_data, fmt::format("{} is not a pending update: {}", out.path, e.what()));
  }
  out.sum = require(read_tensors(out.path));
  return out;
}

Shadow::Shadow(FileSystem& fs, const RunConfig& config, Transformer& model, Backend& backend)
    : fs_(&fs),
      run_(config.run.out),
      every_(config.routing.shadow.every),
      last_step_(config.train.steps),
      model_(&model),
      backend_(&backend) {
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    const Parameter& p = model.parameters()[i];
    sums_.push_back({Tensor(p.rows(), p.cols(), backend.allocator()), Tensor(p.rows(), p.cols(), backend.allocator())});
  }
  clear();
}

void Shadow::clear() {
  for (const Sums& s : sums_) {
    backend_->fill(all(s.withheld), 0.0f);
    backend_->fill(all(s.admitted), 0.0f);
  }
  steps_ = 0;
  lr_ = 0;
  not_finite_.assign(static_cast<size_t>(model_->parameters().blocks()), 0);
}

void Shadow::add(const StepResult& result) {
  for (size_t b = 0; b < result.withheld.size(); ++b) {
    if (!std::isfinite(result.withheld[b].norm)) ++not_finite_[b];
  }
  for (size_t i = 0; i < sums_.size(); ++i) {
    const Parameter& p = model_->parameters()[i];
    bool withheld = false, admitted = false;
    for (size_t k = 0; k < p.slices().size(); ++k) {
      withheld = withheld || p.withholds(k);
      admitted = admitted || p.touched(k);
    }
    if (withheld) backend_->accumulate(p.withheld().cview(), sums_[i].withheld.view());
    if (admitted) backend_->accumulate(p.grad().cview(), sums_[i].admitted.view());
  }
}

std::vector<json> Shadow::after_step(int64_t step, const StepResult& result, double lr) {
  add(result);
  ++steps_;
  lr_ += lr;
  if (step % every_ != 0 && step != last_step_) return {};
  const PendingUpdate update = closed(step);
  std::vector<json> records;
  const auto counts = [](auto n) { return n != 0; };
  if (std::any_of(update.withheld.begin(), update.withheld.end(), counts) ||
      std::any_of(update.not_finite.begin(), update.not_finite.end(), counts)) {
    records.push_back(write(update));
  }
  clear();
  return records;
}

void Shadow::drop(const Tensor Sums::*which, size_t block) {
  for (size_t i = 0; i < sums_.size(); ++i) {
    const Tensor& t = sums_[i].*which;
    for (const Parameter::Slice& s : model_->parameters()[i].slices()) {
      if (static_cast<size_t>(s.block) != block) continue;
      for (int64_t r = s.row_begin; r < s.row_end; ++r) {
        backend_->fill({t.data() + r * t.cols() + s.col_begin, static_cast<size_t>(s.col_end - s.col_begin)}, 0.0f);
      }
    }
  }
}

PendingUpdate Shadow::closed(int64_t step) {
  PendingUpdate out;
  out.first = step - steps_ + 1;
  out.last = step;
  out.steps = steps_;
  out.lr = lr_ / static_cast<double>(steps_);
  out.not_finite = not_finite_;
  out.name = fmt::format("steps-{:06}-{:06}", out.first, out.last);
  const auto blocks = static_cast<size_t>(model_->parameters().blocks());
  Products products{std::vector<double>(blocks), std::vector<double>(blocks), std::vector<double>(blocks)};
  for (size_t i = 0; i < sums_.size(); ++i) {
    add_products(model_->parameters()[i], sums_[i].withheld.host(), sums_[i].admitted.host(), products);
  }
  for (size_t b = 0; b < blocks; ++b) {
    if (std::isfinite(products.ab[b]) && std::isfinite(products.aa[b]) && std::isfinite(products.bb[b])) continue;
    // A sum of finite gradients passed the largest float: it says nothing any more.
    drop(&Sums::withheld, b);
    drop(&Sums::admitted, b);
    products.aa[b] = products.bb[b] = products.ab[b] = 0;
    out.not_finite[b] = not_finite_[b] = steps_;
  }
  for (size_t b = 0; b < blocks; ++b) {
    out.withheld.push_back(std::sqrt(products.aa[b]));
    out.admitted.push_back(std::sqrt(products.bb[b]));
    out.dot.push_back(products.ab[b]);
  }
  return out;
}

json Shadow::write(const PendingUpdate& update) {
  std::vector<SafetensorsInput> tensors;
  for (size_t i = 0; i < sums_.size(); ++i) {
    tensors.push_back(input(model_->parameters()[i].name(), sums_[i].withheld));
  }
  const std::string path = pending_path(run_, update.name);
  require(fs_->make_dirs(parent_path(path)));
  require(write_safetensors(*fs_, path, tensors, {{"evidence", update.evidence().dump()}}));
  const std::string digest = hex(sha256(require(MappedFile::open(path)).bytes()));
  forget(update.name);
  pending_.push_back({update.name, digest});
  json record = update.evidence();
  record.erase("format");
  record["event"] = "pending";
  record["update"] = update.name;
  record["sha256"] = digest;
  record["step"] = update.last;
  return record;
}

void Shadow::forget(const std::string& name) {
  std::erase_if(pending_, [&](const PendingName& p) { return p.name == name; });
}

json Shadow::part() const {
  json pending = json::array();
  for (const PendingName& p : pending_) pending.push_back({{"name", p.name}, {"sha256", p.sha256}});
  return {{"mode", "shadow"}, {"steps", steps_}, {"lr", lr_}, {"not_finite", not_finite_}, {"pending", pending}};
}

std::vector<SafetensorsInput> Shadow::tensors() const {
  std::vector<SafetensorsInput> out;
  for (size_t i = 0; i < sums_.size(); ++i) {
    const std::string& name = model_->parameters()[i].name();
    out.push_back(input(name + ".withheld", sums_[i].withheld));
    out.push_back(input(name + ".admitted", sums_[i].admitted));
  }
  return out;
}

void Shadow::load(const json& part, const std::vector<NamedTensor>& tensors) {
  if (part.at("mode") != "shadow") {
    throw Error("withheld", "expected the state of a shadow, got {}", part.at("mode").dump());
  }
  if (tensors.size() != 2 * sums_.size()) {
    throw Error("withheld", "expected {} tensors, got {}", 2 * sums_.size(), tensors.size());
  }
  const auto not_finite = part.at("not_finite").get<std::vector<int64_t>>();
  if (not_finite.size() != not_finite_.size()) {
    throw Error("withheld", "expected {} blocks, got {}", not_finite_.size(), not_finite.size());
  }
  for (const NamedTensor& t : tensors) {
    const size_t dot = t.name.rfind('.');
    const Parameter* p = dot == std::string::npos ? nullptr : model_->parameters().find(t.name.substr(0, dot));
    const std::string what = dot == std::string::npos ? "" : t.name.substr(dot + 1);
    if (p == nullptr || (what != "withheld" && what != "admitted")) throw Error("withheld", "'{}' is unknown", t.name);
    const Sums& sums = sums_[static_cast<size_t>(p->index())];
    take(what == "withheld" ? sums.withheld : sums.admitted, t);
  }
  steps_ = part.at("steps");
  lr_ = part.at("lr");
  not_finite_ = not_finite;
  pending_ = pending_names(part);
}

std::vector<json> Shadow::settle(FileSystem& fs) {
  std::vector<json> records;
  std::vector<PendingName> kept;
  for (const PendingName& p : pending_) {
    if (fs.exists(pending_path(run_, p.name))) {
      kept.push_back(p);
    } else {
      records.push_back({{"event", "gone"},
                         {"update", p.name},
                         {"sha256", p.sha256},
                         {"reason", "reviewed after the checkpoint from which the run goes on, or removed by hand"}});
    }
  }
  pending_ = kept;
  const std::string folder = join_path(run_, pending_dir);
  if (!fs.exists(folder)) return records;
  for (const std::string& file : require(fs.list(folder))) {
    if (!file.starts_with("steps-")) continue;
    const bool named = std::any_of(kept.begin(), kept.end(), [&](const auto& p) { return file == p.name + suffix; });
    if (!named) require(fs.remove(join_path(folder, file)));
  }
  return records;
}

}  // namespace govtrain
