// Where a transformer's gates stand, for the blocks that its parameters were given to. In depth it is a chain of
// embedding, then attention and MLP of each layer, then final norm and head: a boundary stands where the block changes.
#include <algorithm>

#include "core/error.h"
#include "models/transformer.h"

namespace govtrain {
namespace {

constexpr int several = -1;

// The block that owns the rows [begin, end) of p; `several` when more than one does.
int block_of(const Parameter& p, int64_t begin, int64_t end) {
  int found = several;
  for (const Parameter::Slice& s : p.slices()) {
    if (s.row_begin >= end || s.row_end <= begin) continue;
    if (found != several && found != s.block) return several;
    found = s.block;
  }
  return found;
}

// The block that owns all of the parameters that are there.
int block_of(const std::vector<const Parameter*>& parameters) {
  int found = several;
  for (const Parameter* p : parameters) {
    if (p == nullptr) continue;
    const int b = block_of(*p, 0, p->rows());
    if (b == several || (found != several && found != b)) return several;
    found = b;
  }
  return found;
}

std::vector<GateSegment> whole(int block, int64_t cols) { return {{block, 0, cols}}; }

// Segments of the heads of a projection, equal neighbours joined; empty when a head belongs to several blocks.
std::vector<GateSegment> head_segments(const Parameter& p, int64_t head_dim) {
  std::vector<GateSegment> out;
  for (int64_t r = 0; r < p.rows(); r += head_dim) {
    const int b = block_of(p, r, r + head_dim);
    if (b == several) return {};
    if (!out.empty() && out.back().block == b) {
      out.back().end = r + head_dim;
    } else {
      out.push_back({b, r, r + head_dim});
    }
  }
  return out;
}

}  // namespace

void Transformer::set_techniques(const Techniques& techniques) {
  const auto blocks = static_cast<size_t>(set_.blocks());
  gates_ = Gates{};
  gates_.layers.resize(layers_.size());
  gates_.plan.scale = techniques.scale;
  gates_.any = techniques.gates();
  gates_.plan.gated.assign(blocks, false);
  std::string problems;
  const auto problem = [&](const std::string& text) { problems += "\n  " + text; };
  const auto serves = [&](const std::vector<GateSegment>& segments) {
    for (const GateSegment& s : segments) gates_.plan.gated[static_cast<size_t>(s.block)] = true;
  };
  const auto branch = [&](const char* what, size_t l, const std::vector<const Parameter*>& parameters) {
    const int b = block_of(parameters);
    if (b == several) {
      problem(
          fmt::format("residual_gate: the {} branch of layer {} is divided among blocks, but has one gate", what, l));
      return std::vector<GateSegment>{};
    }
    serves(whole(b, config_.width));
    return whole(b, config_.width);
  };
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& y = layers_[l];
    LayerGates& g = gates_.layers[l];
    if (techniques.residual_gate) {
      g.attention_branch = branch("attention", l, {y.q, y.q_bias, y.k, y.k_bias, y.v, y.v_bias, y.o, y.o_bias});
      g.mlp_branch = branch("MLP", l, {y.gate, y.gate_bias, y.up, y.up_bias, y.down, y.down_bias});
    }
    if (!techniques.attention_gate) continue;
    for (const auto& [p, to] : {std::pair{y.q, &g.q}, std::pair{y.k, &g.k}, std::pair{y.v, &g.v}}) {
      *to = head_segments(*p, config_.head_dim());
      if (to->empty()) problem(fmt::format("attention_gate: a head of {} is divided among blocks", p->name()));
      serves(*to);
    }
  }
  if (techniques.boundary) place_boundaries(problem);
  if (!problems.empty()) throw Error("technique", "these blocks do not allow it:{}", problems);
}

void Transformer::place_boundaries(const std::function<void(const std::string&)>& problem) {
  struct Place {
    std::string name;
    int block;
    std::vector<GateSegment>* gate;
    int64_t cols;
  };
  std::vector<Place> places = {{"the embedding", block_of({embed_, positions_}), &gates_.embedding, config_.width}};
  for (size_t l = 0; l < layers_.size(); ++l) {
    const Layer& y = layers_[l];
    LayerGates& g = gates_.layers[l];
    places.push_back({fmt::format("attention of layer {}", l),
                      block_of({y.norm1, y.norm1_bias, y.q, y.q_bias, y.k, y.k_bias, y.v, y.v_bias, y.o, y.o_bias}),
                      &g.after_attention, config_.width});
    places.push_back({fmt::format("MLP of layer {}", l),
                      block_of({y.norm2, y.norm2_bias, y.gate, y.gate_bias, y.up, y.up_bias, y.down, y.down_bias}),
                      &g.after_mlp, config_.width});
  }
  const Parameter* head = config_.tied_head ? nullptr : head_;  // a tied one counts where it is the embedding
  places.push_back(
      {"the final norm and head", block_of({final_norm_, final_norm_bias_, head}), &gates_.logits, config_.vocab});

  GatePlan& plan = gates_.plan;
  plan.out.assign(static_cast<size_t>(set_.blocks()), -1);
  for (size_t i = 0; i < places.size(); ++i) {
    const Place& p = places[i];
    if (p.block == several) {
      problem(fmt::format("boundary: {} is divided among blocks; a boundary needs all of it in one", p.name));
      continue;
    }
    int& out = plan.out[static_cast<size_t>(p.block)];
    if (out >= 0 && out != static_cast<int>(i) - 1) {
      problem(fmt::format("boundary: the block of {} is also below the block of {}; blocks must be contiguous in depth",
                          p.name, places[i - 1].name));
    }
    out = static_cast<int>(i);
    plan.gated[static_cast<size_t>(p.block)] = true;
    if (i + 1 == places.size() || places[i + 1].block != p.block) *p.gate = whole(p.block, p.cols);
  }
  plan.highest = plan.out;
  if (config_.tied_head && places.front().block != several) {
    plan.highest[static_cast<size_t>(places.front().block)] = static_cast<int>(places.size()) - 1;
  }
}

}  // namespace govtrain
