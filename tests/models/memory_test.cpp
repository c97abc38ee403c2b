// Law 7: routing and its norms cost no memory to speak of. Bytes handed out by the backend's allocator, scratch
// included.
#include "tests/models/random_model.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

TransformerConfig medium(bool tied) {
  TransformerConfig c;
  c.vocab = 512;
  c.context = 128;
  c.layers = 3;
  c.width = 64;
  c.heads = 4;
  c.tied_head = tied;
  return c;
}

size_t peak_of_step(Transformer& model, const std::vector<Example>& examples, How how) {
  test_backend().allocator().reset_peak();
  accumulate(model, examples, 1.0f / 64, how);
  zero_grad(model.parameters(), test_backend());
  return test_backend().allocator().peak_bytes();
}

}  // namespace

TEST_CASE("law 7: the peak of a routed step is within 2 % of a plain one") {
  const OnBackend on(GENERATE(from_range(backend_names())));
  for (const bool tied : {true, false}) {
    Random r(7);
    const TransformerConfig c = medium(tied);
    Transformer model(c, 1, test_backend().allocator());
    model.parameters().assign_blocks(blocks_by_layer(model.parameters().infos()));
    std::vector<Example> examples(16);
    for (Example& x : examples) {
      random_text(r, c, x, 128);
      x.weight.assign(static_cast<size_t>(model.parameters().blocks()), 0.5f);
    }
    peak_of_step(model, examples, How::plain);  // makes the gradients
    const auto plain = static_cast<double>(peak_of_step(model, examples, How::plain));
    const auto routed = static_cast<double>(peak_of_step(model, examples, How::routed));
    INFO((tied ? "tied, " : "") << "plain " << plain << ", routed " << routed << " bytes");
    CHECK(routed <= 1.02 * plain);

    // Per-example gradients of the matrices alone would be this much more: the test can tell.
    const double per_example = 16.0 * 4.0 * static_cast<double>(model.parameters().elements());
    CHECK(per_example > 0.2 * plain);
  }
}
