#include "models/hf_names.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace govtrain {
namespace {

// One tensor of the file: the parameters of which it is made, side by side along the output dimension, and whether the
// file holds [in, out] where we hold [out, in] (GPT-2's Conv1D).
struct Entry {
  std::string name;
  std::vector<size_t> parts;
  bool transposed = false;
};

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::vector<Entry> layout(const Transformer& model) {
  std::vector<Entry> out;
  const ParameterSet& set = model.parameters();
  const bool gpt2 = model.config().is_gpt2();
  for (size_t i = 0; i < set.size(); ++i) {
    std::string name = set[i].name();
    Entry* fused = nullptr;
    bool transposed = false;
    if (gpt2) {
      const size_t at = name.find(".c_attn.");
      if (at != std::string::npos) {
        name.erase(at + std::strlen(".c_attn."), 2);  // "q.", "k." or "v."
        for (Entry& e : out) {
          if (e.name == name) fused = &e;
        }
      }
      transposed = !set[i].is_vector() &&
                   (at != std::string::npos || ends_with(name, ".c_proj.weight") || ends_with(name, ".c_fc.weight"));
    }
    if (fused != nullptr) {
      fused->parts.push_back(i);
    } else {
      out.push_back({name, {i}, transposed});
    }
  }
  return out;
}

std::vector<int64_t> shape_of(const ParameterSet& set, const Entry& e) {
  const Parameter& first = set[e.parts.front()];
  int64_t out = 0;
  for (const size_t i : e.parts) out += first.is_vector() ? set[i].cols() : set[i].rows();
  if (first.is_vector()) return {out};
  return e.transposed ? std::vector<int64_t>{first.cols(), out} : std::vector<int64_t>{out, first.cols()};
}

// Calls move(place in the parameter, place in the file's tensor) for every element. `changes`: the parameter.
template <class Move>
void for_elements(const ParameterSet& set, const Entry& e, int64_t file_cols, bool changes, Move move) {
  int64_t done = 0;  // rows, or elements of vectors, of the parts before
  for (const size_t i : e.parts) {
    const Parameter& p = set[i];
    const Tensor on_host = p.value().host();
    float* value = on_host.data();
    for (int64_t r = 0; r < p.rows(); ++r) {
      for (int64_t c = 0; c < p.cols(); ++c) {
        const int64_t at = p.is_vector()  ? done + c
                           : e.transposed ? c * file_cols + done + r
                                          : (done + r) * file_cols + c;
        move(value[r * p.cols() + c], at);
      }
    }
    if (changes && !p.value().on_host()) p.value().assign(on_host.values());
    done += p.is_vector() ? p.cols() : p.rows();
  }
}

// Buffers that older files hold beside the weights.
bool is_known_buffer(const std::string& name) {
  return ends_with(name, ".attn.bias") || ends_with(name, ".attn.masked_bias") ||
         ends_with(name, ".rotary_emb.inv_freq");
}

std::string text_of(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

}  // namespace

std::vector<NamedTensor> export_tensors(const Transformer& model) {
  const ParameterSet& set = model.parameters();
  std::vector<NamedTensor> out;
  for (const Entry& e : layout(model)) {
    const std::vector<int64_t> shape = shape_of(set, e);
    if (e.parts.size() == 1 && !e.transposed) {
      out.push_back({e.name, shape, set[e.parts.front()].value().host()});
      continue;
    }
    const Tensor t(shape.size() == 1 ? 1 : shape[0], shape.back());
    for_elements(set, e, t.cols(), false, [&](const float& mine, int64_t at) { t.data()[at] = mine; });
    out.push_back({e.name, shape, t});
  }
  return out;
}

void import_tensors(Transformer& model, const std::vector<NamedTensor>& tensors) {
  ParameterSet& set = model.parameters();
  const std::vector<Entry> entries = layout(model);
  const auto find = [&](const std::string& name) -> const NamedTensor* {
    for (const NamedTensor& t : tensors) {
      if (t.name == name) return &t;
    }
    return nullptr;
  };
  std::string wrong;
  for (const Entry& e : entries) {
    const NamedTensor* t = find(e.name);
    const std::vector<int64_t> shape = shape_of(set, e);
    if (t == nullptr) {
      wrong += fmt::format("\n  '{}' {} is missing", e.name, text_of(shape));
    } else if (t->shape != shape || !t->value.defined() ||
               t->value.size() != (shape.size() == 1 ? shape[0] : shape[0] * shape[1])) {
      wrong += fmt::format("\n  '{}': expected {}, got {}", e.name, text_of(shape), text_of(t->shape));
    }
  }
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string& name = tensors[i].name;
    if (find(name) != &tensors[i]) {
      wrong += fmt::format("\n  '{}' is there twice", name);
    } else if (name == "lm_head.weight" && model.config().tied_head) {
      const NamedTensor* embed = find(entries.front().name);
      const Tensor& head = tensors[i].value;
      if (embed != nullptr && head.defined() && embed->value.defined() &&
          (head.size() != embed->value.size() ||
           !std::equal(head.data(), head.data() + head.size(), embed->value.data()))) {
        wrong += fmt::format("\n  '{}' differs from '{}' though the head is tied", name, entries.front().name);
      }
    } else if (!is_known_buffer(name) &&
               std::none_of(entries.begin(), entries.end(), [&](const Entry& e) { return e.name == name; })) {
      wrong += fmt::format("\n  '{}' is unknown", name);
    }
  }
  if (!wrong.empty()) throw Error("import", "these tensors are not of this model:{}", wrong);
  for (const Entry& e : entries) {
    const Tensor& t = find(e.name)->value;
    const std::vector<int64_t> shape = shape_of(set, e);
    for_elements(set, e, shape.back(), true, [&](float& mine, int64_t at) { mine = t.data()[at]; });
  }
}

}  // namespace govtrain
