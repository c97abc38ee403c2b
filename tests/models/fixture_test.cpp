// The model against PyTorch: weights go in under their Hugging Face names, and losses, routed gradients and norms come
// out as torch.autograd has them, by name. The files come from make_reference.py.
#include <cmath>
#include <map>

#include "core/error.h"
#include "core/file.h"
#include "models/hf_names.h"
#include "tests/models/random_model.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

struct Record {
  std::vector<int64_t> shape;
  std::vector<float> data;
};

std::map<std::string, Record> read_fixture(const std::string& name) {
  const std::string path = GOVTRAIN_SOURCE_DIR "/tests/models/" + name;
  const auto content = real_file_system().read(path);
  const auto fail = [&](const std::string& what) {
    throw Error("fixture", "{}: {}. HINT: write it again with tests/models/make_reference.py", path, what);
  };
  if (!content.ok()) fail(content.status().message());
  const std::string& bytes = content.value();
  if (bytes.compare(0, 8, "GOVTREF1") != 0) fail("not a reference file of version 1");
  size_t at = 8;
  const auto take = [&](void* to, size_t n) {
    if (n > bytes.size() - at) fail("it ends early");
    std::memcpy(to, bytes.data() + at, n);
    at += n;
  };
  std::map<std::string, Record> out;
  while (at < bytes.size()) {
    uint32_t length = 0, dims = 0;
    take(&length, 4);
    std::string key(std::min<size_t>(length, bytes.size()), '\0');
    take(key.data(), length);
    take(&dims, 4);
    Record r;
    size_t elements = 1;
    for (uint32_t d = 0; d < dims; ++d) {
      int64_t n = 0;
      take(&n, 8);
      r.shape.push_back(n);
      elements *= static_cast<size_t>(n);
    }
    r.data.resize(elements);
    take(r.data.data(), elements * 4);
    out[key] = std::move(r);
  }
  return out;
}

std::vector<int32_t> integers(const Record& r) { return {r.data.begin(), r.data.end()}; }

void compare(const std::string& file, const TransformerConfig& config) {
  const auto fixture = read_fixture(file);
  Transformer model(config, 1);
  std::vector<NamedTensor> tensors;
  for (const auto& [key, r] : fixture) {
    if (key.rfind("weight/", 0) != 0) continue;
    Tensor t(r.shape.size() == 1 ? 1 : r.shape[0], r.shape.back());
    std::copy(r.data.begin(), r.data.end(), t.data());
    tensors.push_back({key.substr(7), r.shape, t});
  }
  import_tensors(model, tensors);
  model.parameters().assign_blocks(blocks_by_layer(model.parameters().infos()));

  const Rows rows = Rows::of_lengths(integers(fixture.at("lengths")));
  const std::vector<int32_t> tokens = integers(fixture.at("tokens"));
  const std::vector<int32_t> targets = integers(fixture.at("targets"));
  const Record& route = fixture.at("route");
  RouteTable table(rows.examples(), static_cast<int>(route.shape[1]), 0);
  table.weight = route.data;

  Tape tape(cpu_backend(), rows, Mode::train);
  const Losses losses = model.loss(tape, {tokens, {}}, targets);
  ParamGrad grads(model.parameters(), cpu_backend(), rows, table);
  tape.backward(losses, std::vector<float>(static_cast<size_t>(rows.examples()), 1.0f), grads);

  for (size_t e = 0; e < losses.nll().size(); ++e) {
    const double want = static_cast<double>(fixture.at("nll").data[e]);
    CHECK(std::abs(losses.nll()[e] - want) <= 1e-5 * std::abs(want));
  }
  const std::vector<double> norms = grads.realised_norms();
  for (size_t i = 0; i < norms.size(); ++i) {
    const double want = static_cast<double>(fixture.at("norms").data[i]);
    CHECK(std::abs(norms[i] - want) <= 1e-5 * want);
  }
  // Gradients leave under the same names and layouts as weights: put them where the weights are and export.
  double model_largest = 0;
  for (const auto& [key, r] : fixture) {
    if (key.rfind("grad/", 0) != 0) continue;
    for (const float g : r.data) model_largest = std::max(model_largest, std::abs(static_cast<double>(g)));
  }
  for (size_t i = 0; i < model.parameters().size(); ++i) {
    Parameter& p = model.parameters()[i];
    std::copy_n(p.grad().data(), p.grad().size(), p.value().data());
  }
  size_t compared = 0;
  for (const NamedTensor& got : export_tensors(model)) {
    INFO(got.name);
    const Record& want = fixture.at("grad/" + got.name);
    REQUIRE(got.shape == want.shape);
    double worst = 0, largest = 0;
    for (size_t j = 0; j < want.data.size(); ++j) {
      worst = std::max(worst, std::abs(static_cast<double>(got.value.data()[j]) - static_cast<double>(want.data[j])));
      largest = std::max(largest, std::abs(static_cast<double>(want.data[j])));
    }
    // float32 rounding over some 20 operations in a row; the floor is for gradients that cancel (key biases).
    CHECK(worst <= 1e-5 * largest + 1e-6 * model_largest);
    ++compared;
  }
  CHECK(compared == tensors.size());
}

}  // namespace

TEST_CASE("a GPT-2 has PyTorch's losses, routed gradients and norms, by name") {
  TransformerConfig c;
  c.vocab = 29;
  c.context = 24;
  c.layers = 2;
  c.width = 16;
  c.heads = 4;
  c.mlp_width = 40;
  c.mlp = MlpKind::gelu;
  c.norm = NormKind::layernorm;
  c.positions = PositionKind::learned;
  c.bias = true;
  c.tied_head = true;
  compare("gpt2.ref", c);
}

TEST_CASE("a Llama has PyTorch's losses, routed gradients and norms, by name") {
  TransformerConfig c;
  c.vocab = 31;
  c.context = 24;
  c.layers = 2;
  c.width = 24;
  c.heads = 4;
  c.kv_heads = 2;
  c.mlp_width = 36;
  c.tied_head = false;
  compare("llama.ref", c);
}
