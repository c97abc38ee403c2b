// Configuration, initialisation, names, config.json, sampling.
#include <cmath>
#include <set>

#include "core/error.h"
#include "models/generate.h"
#include "models/hf_names.h"
#include "tests/models/random_model.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

TransformerConfig small(bool gpt2) {
  TransformerConfig c;
  c.vocab = 50;
  c.context = 16;
  c.layers = 2;
  c.width = 12;
  c.heads = 2;
  if (gpt2) {
    c.mlp = MlpKind::gelu;
    c.norm = NormKind::layernorm;
    c.positions = PositionKind::learned;
    c.bias = true;
  }
  return c;
}

std::vector<std::string> exported_names(const TransformerConfig& c) {
  std::vector<std::string> out;
  for (const NamedTensor& t : export_tensors(Transformer(c, 1))) out.push_back(t.name);
  return out;
}

}  // namespace

TEST_CASE("a configuration that cannot be built is told all that is wrong with it") {
  TransformerConfig c = small(false);
  CHECK(c.problems().empty());
  c.heads = 5;
  c.kv_heads = 3;
  c.norm_eps = std::nan("");
  c.dropout = 1;
  c.rope_base = 0;
  c.vocab = 1;
  c.context = -3;
  c.layers = int64_t{1} << 40;
  CHECK(c.problems().size() == 8);
  CHECK_THROWS_WITH(Transformer(c, 1), Catch::Contains("model.heads: expected a divisor of width 12, got 5") &&
                                           Catch::Contains("model.norm_eps") && Catch::Contains("model.layers"));
  c = small(false);
  c.width = 6;
  CHECK_THROWS_WITH(Transformer(c, 1), Catch::Contains("rope needs an even width / heads"));
}

TEST_CASE("the parameter count is that of the model built") {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    CHECK(c.config.parameter_count() == Transformer(c.config, 1).parameters().elements());
  }
}

TEST_CASE("initial values depend on the seed and the name alone") {
  TransformerConfig c = small(false);
  const Transformer a(c, 7);
  const Transformer other_seed(c, 8);
  c.layers = 3;  // also changes the scale of the residual projections
  c.tied_head = false;
  const Transformer deeper(c, 7);
  for (const char* name : {"model.embed_tokens.weight", "model.layers.1.self_attn.q_proj.weight"}) {
    const Tensor& x = a.parameters().find(name)->value();
    CHECK(std::memcmp(x.data(), deeper.parameters().find(name)->value().data(), static_cast<size_t>(x.size()) * 4) ==
          0);
    CHECK(std::memcmp(x.data(), other_seed.parameters().find(name)->value().data(),
                      static_cast<size_t>(x.size()) * 4) != 0);
  }
  const auto deviation = [](const Transformer& m, const char* name) {
    const Tensor& x = m.parameters().find(name)->value();
    double square = 0;
    for (int64_t i = 0; i < x.size(); ++i) square += std::pow(static_cast<double>(x.data()[i]), 2);
    return std::sqrt(square / static_cast<double>(x.size()));
  };
  c.width = 128;
  c.layers = 2;
  const Transformer wide(c, 3);
  CHECK(deviation(wide, "model.layers.0.self_attn.q_proj.weight") == Approx(0.02).epsilon(0.03));
  CHECK(deviation(wide, "model.layers.0.self_attn.o_proj.weight") == Approx(0.01).epsilon(0.03));
  CHECK(deviation(wide, "model.layers.1.mlp.down_proj.weight") == Approx(0.01).epsilon(0.03));
  CHECK(deviation(wide, "model.norm.weight") == 1);
}

TEST_CASE("tensors bear the names and shapes of the Hugging Face classes") {
  CHECK(exported_names(small(true)) == std::vector<std::string>{"transformer.wte.weight",
                                                                "transformer.wpe.weight",
                                                                "transformer.h.0.ln_1.weight",
                                                                "transformer.h.0.ln_1.bias",
                                                                "transformer.h.0.attn.c_attn.weight",
                                                                "transformer.h.0.attn.c_attn.bias",
                                                                "transformer.h.0.attn.c_proj.weight",
                                                                "transformer.h.0.attn.c_proj.bias",
                                                                "transformer.h.0.ln_2.weight",
                                                                "transformer.h.0.ln_2.bias",
                                                                "transformer.h.0.mlp.c_fc.weight",
                                                                "transformer.h.0.mlp.c_fc.bias",
                                                                "transformer.h.0.mlp.c_proj.weight",
                                                                "transformer.h.0.mlp.c_proj.bias",
                                                                "transformer.h.1.ln_1.weight",
                                                                "transformer.h.1.ln_1.bias",
                                                                "transformer.h.1.attn.c_attn.weight",
                                                                "transformer.h.1.attn.c_attn.bias",
                                                                "transformer.h.1.attn.c_proj.weight",
                                                                "transformer.h.1.attn.c_proj.bias",
                                                                "transformer.h.1.ln_2.weight",
                                                                "transformer.h.1.ln_2.bias",
                                                                "transformer.h.1.mlp.c_fc.weight",
                                                                "transformer.h.1.mlp.c_fc.bias",
                                                                "transformer.h.1.mlp.c_proj.weight",
                                                                "transformer.h.1.mlp.c_proj.bias",
                                                                "transformer.ln_f.weight",
                                                                "transformer.ln_f.bias"});
  for (const NamedTensor& t : export_tensors(Transformer(small(true), 1))) {
    if (t.name == "transformer.h.0.attn.c_attn.weight") CHECK(t.shape == std::vector<int64_t>{12, 36});
    if (t.name == "transformer.h.0.attn.c_attn.bias") CHECK(t.shape == std::vector<int64_t>{36});
    if (t.name == "transformer.h.0.mlp.c_fc.weight") CHECK(t.shape == std::vector<int64_t>{12, 48});
  }
  TransformerConfig llama = small(false);
  llama.layers = 1;
  llama.tied_head = false;
  CHECK(exported_names(llama) ==
        std::vector<std::string>{"model.embed_tokens.weight", "model.layers.0.input_layernorm.weight",
                                 "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
                                 "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight",
                                 "model.layers.0.post_attention_layernorm.weight",
                                 "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight",
                                 "model.layers.0.mlp.down_proj.weight", "model.norm.weight", "lm_head.weight"});
}

TEST_CASE("weights survive the way out and back in, bit for bit") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    const auto from = make_model(c);
    Transformer to(c.config, seed + 1);
    import_tensors(to, export_tensors(*from));
    CHECK(same_bits(values(*from), values(to)));
  }
}

TEST_CASE("tensors of another model are refused with all their differences, and change nothing") {
  Transformer model(small(true), 1);
  const Bits before = values(model);
  std::vector<NamedTensor> tensors = export_tensors(Transformer(small(true), 2));
  tensors.erase(tensors.begin() + 1);
  tensors.push_back({"transformer.h.0.attn.bias", {1}, Tensor::zeros(1, 1)});  // a buffer of old files: no error
  tensors.push_back({"transformer.h.9.ln_1.bias", {12}, Tensor::zeros(1, 12)});
  tensors.push_back(tensors.front());
  tensors[2].shape = {3};
  tensors.push_back({"lm_head.weight", {50, 12}, Tensor::zeros(50, 12)});
  CHECK_THROWS_WITH(import_tensors(model, tensors),
                    Catch::Contains("'transformer.wpe.weight' [16, 12] is missing") &&
                        Catch::Contains("'transformer.h.9.ln_1.bias' is unknown") &&
                        Catch::Contains("'transformer.wte.weight' is there twice") &&
                        Catch::Contains("'transformer.h.0.ln_1.bias': expected [12], got [3]") &&
                        Catch::Contains("though the head is tied") && !Catch::Contains("attn.bias"));
  CHECK(same_bits(values(model), before));
}

TEST_CASE("config.json comes back as it went") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const Case c = random_case(seed);
    const std::string text = hf_config_json(c.config);
    INFO(describe(c) << "\n" << text);
    const TransformerConfig back = config_from_hf_json(text);
    CHECK(hf_config_json(back) == text);
    CHECK(exported_names(back) == exported_names(c.config));
    CHECK(back.dropout == c.config.dropout);
    CHECK(back.mlp == c.config.mlp);
    CHECK(back.rope_base == c.config.rope_base);
    CHECK(back.norm_eps == c.config.norm_eps);
  }
}

TEST_CASE("config.json as Hugging Face writes it is read, and what cannot be honoured is refused") {
  const std::string gpt2 = R"({"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768,
    "n_layer": 12, "n_head": 12, "n_inner": null, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05})";
  CHECK(config_from_hf_json(gpt2).is_gpt2());
  CHECK(config_from_hf_json(gpt2).parameter_count() == 124439808);
  const auto llama = [](const std::string& more) {
    return R"({"model_type": "llama", "vocab_size": 100, "max_position_embeddings": 64, "hidden_size": 32,
      "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48)" +
           more + "}";
  };
  CHECK(config_from_hf_json(llama("")).is_llama());
  CHECK_FALSE(config_from_hf_json(llama("")).tied_head);
  CHECK_THROWS_WITH(config_from_hf_json(llama(R"(, "hidden_act": "relu")")), Catch::Contains("'hidden_act'"));
  CHECK_THROWS_WITH(config_from_hf_json(llama(R"(, "rope_scaling": {"factor": 8})")), Catch::Contains("rope_scaling"));
  CHECK_THROWS_WITH(config_from_hf_json(llama(R"(, "head_dim": 16)")), Catch::Contains("head_dim"));
  CHECK_THROWS_WITH(config_from_hf_json(llama(R"(, "rope_theta": "x")")), Catch::Contains("expected a number"));
  CHECK_THROWS_WITH(config_from_hf_json(llama(R"(, "num_key_value_heads": 3)")), Catch::Contains("kv_heads"));
  CHECK_THROWS_WITH(config_from_hf_json(R"({"model_type": "llama"})"), Catch::Contains("'vocab_size'"));
  CHECK_THROWS_WITH(config_from_hf_json(R"({"model_type": "bert"})"), Catch::Contains("got \"bert\""));
  for (const char* text : {"", "[]", "{", "null", "\xff"}) CHECK_THROWS_AS(config_from_hf_json(text), Error);
}

TEST_CASE("a prompt's continuation does not depend on its neighbours") {
  for (const bool gpt2 : {false, true}) {
    Transformer model(small(gpt2), 5);
    for (size_t i = 0; i < model.parameters().size(); ++i) {  // sharper logits, so that choices differ
      Parameter& p = model.parameters()[i];
      cpu_backend().scale({p.value().data(), static_cast<size_t>(p.value().size())}, 4.0f);
    }
    GenerateOptions o;
    o.max_new_tokens = 20;  // goes beyond the context of 16
    o.top_k = 10;
    o.seed = 3;
    const auto alone = generate(model, cpu_backend(), {{1, 2, 3}}, o);
    const auto three = generate(model, cpu_backend(), {{1, 2, 3}, {7}, {9, 9}}, o);
    CHECK(alone[0].size() == 20);
    CHECK(alone[0] == three[0]);
    o.seed = 4;
    CHECK(generate(model, cpu_backend(), {{1, 2, 3}}, o)[0] != alone[0]);

    o.temperature = 0;
    const auto greedy = generate(model, cpu_backend(), {{1, 2, 3}}, o)[0];
    Rows rows = Rows::of_lengths({3});
    Tape tape(cpu_backend(), rows, Mode::eval);
    const std::vector<int32_t> prompt{1, 2, 3};
    const Var logits = model.forward(tape, {prompt, {}});
    const float* last = logits.view().row(2);
    CHECK(greedy[0] == std::max_element(last, last + 50) - last);
    o.top_k = 1;
    o.temperature = 2;
    CHECK(generate(model, cpu_backend(), {{1, 2, 3}}, o)[0] == greedy);
    o.end_token = greedy[2];
    const auto stopped = generate(model, cpu_backend(), {{1, 2, 3}}, o)[0];
    CHECK(stopped.size() <= 2);
    CHECK(std::equal(stopped.begin(), stopped.end(), greedy.begin()));
    CHECK_THROWS_AS(generate(model, cpu_backend(), {{}}, o), Error);
    CHECK_THROWS_AS(generate(model, cpu_backend(), {{50}}, o), Error);
    o.temperature = std::nan("");
    CHECK_THROWS_AS(generate(model, cpu_backend(), {{1}}, o), Error);
  }
}

TEST_CASE("sampling follows the softmax of the logits") {
  TransformerConfig c = small(false);
  c.vocab = 4;
  Transformer model(c, 5);
  Parameter& embed = *model.parameters().find("model.embed_tokens.weight");
  cpu_backend().scale({embed.value().data(), static_cast<size_t>(embed.value().size())}, 25.0f);
  const std::vector<int32_t> prompt{0, 3};
  const Rows rows = Rows::of_lengths({2});
  Tape tape(cpu_backend(), rows, Mode::eval);
  const Var logits = model.forward(tape, {prompt, {}});
  double p[4], sum = 0;
  for (int i = 0; i < 4; ++i) sum += p[i] = std::exp(static_cast<double>(logits.view().at(1, i)));
  GenerateOptions o;
  o.max_new_tokens = 1;
  const int n = 4000;
  const auto out = generate(model, cpu_backend(), std::vector<std::vector<int32_t>>(n, prompt), o);
  double chi = 0;
  for (int i = 0; i < 4; ++i) {
    const double want = n * p[i] / sum;
    const auto got = std::count_if(out.begin(), out.end(), [&](const auto& x) { return x[0] == i; });
    chi += std::pow(static_cast<double>(got) - want, 2) / want;
  }
  CHECK(chi < 16.27);  // 3 degrees of freedom, 0.1 %; the draw is fixed, so this cannot flicker
}

TEST_CASE("batches that do not fit the model are refused") {
  Transformer model(small(false), 1);
  const Rows rows = Rows::of_lengths({17});
  Tape tape(cpu_backend(), rows, Mode::eval);
  const std::vector<int32_t> tokens(17, 1);
  CHECK_THROWS_WITH(model.forward(tape, {tokens, {}}), Catch::Contains("at most 16 tokens"));
  const Rows short_rows = Rows::of_lengths({2});
  Tape short_tape(cpu_backend(), short_rows, Mode::eval);
  const std::vector<int32_t> bad{1, 50};
  CHECK_THROWS_WITH(model.forward(short_tape, {bad, {}}), Catch::Contains("expected in [0, 50), got 50 at row 1"));
  CHECK_THROWS_WITH(model.forward(short_tape, {tokens, {}}), Catch::Contains("expected 2, got 17"));
  const std::vector<int32_t> start{1, 2};
  CHECK_THROWS_WITH(model.forward(short_tape, {{tokens.data(), 2}, start}), Catch::Contains("start"));
}

TEST_CASE("an observer sees every stage and changes nothing; the stages of a model are those of its first layers") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    const Case c = random_case(seed);
    INFO(describe(c));
    const auto model = make_model(c);
    const Batch batch(c.examples, model->parameters().blocks());
    const auto run = [&](Transformer& m, const ObserveStage& observe) {
      Tape tape(cpu_backend(), batch.rows, Mode::eval);
      const Var out = m.hidden(tape, {batch.tokens, {}}, observe);
      return std::vector<float>(out.view().data, out.view().data + out.view().size());
    };
    Bits seen;
    const auto keep = [&seen](int stage, View v) {
      CHECK(stage == static_cast<int>(seen.size()));
      seen.emplace_back(v.data, v.data + v.size());
    };
    const std::vector<float> out = run(*model, keep);
    CHECK(static_cast<int>(seen.size()) == model->stages());
    CHECK(same_bits(seen.back(), out));
    CHECK(same_bits(run(*model, {}), out));
    CHECK_FALSE(same_bits(seen[0], seen[1]));
    if (c.config.layers < 2) continue;

    TransformerConfig shorter = c.config;
    --shorter.layers;
    Transformer first(shorter, 5);
    for (size_t i = 0; i < first.parameters().size(); ++i) {
      for (size_t k = 0; k < model->parameters().size(); ++k) {
        const Parameter& from = model->parameters()[k];
        if (from.name() != first.parameters()[i].name()) continue;
        std::copy_n(from.value().data(), from.value().size(), first.parameters()[i].value().data());
      }
    }
    const Bits all = std::move(seen);
    seen.clear();
    run(first, keep);
    for (size_t s = 0; s + 1 < seen.size(); ++s) CHECK(same_bits(seen[s], all[s]));
  }
}

TEST_CASE("the parameters of a model are known without making it, with their heads and channels") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    test::Random r(seed);
    const TransformerConfig c = test::random_config(r);
    INFO("seed " << seed);
    const auto without = Transformer::parameter_infos(c);
    const auto with = Transformer(c, 1).parameters().infos();
    REQUIRE(without.size() == with.size());
    for (size_t i = 0; i < with.size(); ++i) {
      const ParameterInfo& p = with[i];
      CHECK(without[i].name == p.name);
      CHECK(without[i].rows == p.rows);
      CHECK(without[i].cols == p.cols);
      CHECK(without[i].division.parts == p.division.parts);
      if (p.division.axis == Division::Axis::none) continue;
      CHECK((p.role == "attention" || p.role == "mlp"));
      CHECK((p.division.axis == Division::Axis::rows ? p.rows : p.cols) ==
            p.division.parts * (p.role == "mlp" ? 1 : c.head_dim()));
    }
    const auto head = head_slices(with, 0, c.heads - 1);
    const int64_t shared = c.kv_heads == c.heads ? 0 : c.head_dim() * (2 * c.width + (c.bias ? 2 : 0));
    int64_t elements = 0;
    for (const Slice& s : head) elements += s.elements();
    const int64_t own = c.head_dim() * (4 * c.width + (c.bias ? 3 : 0));
    CHECK(elements == own - shared);
  }
}
