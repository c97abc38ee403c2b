// The linear classifier: what training makes of texts, and its file. What a run makes of classes: classification_test.
#include <algorithm>
#include <catch2/catch.hpp>

#include "core/error.h"
#include "core/file.h"
#include "kernels/backend.h"
#include "tests/tools/data_fixture.h"
#include "tools/govtrain/classify/model_file.h"
#include "tools/govtrain/classify/train.h"

using namespace govtrain;

TEST_CASE("a classifier trained on half of the examples' corpus is right on most of the other half") {
  RunConfig config;
  const std::string source = GOVTRAIN_SOURCE_DIR;
  config.data.inputs = {source + "/configs/examples/corpus.jsonl"};
  config.data.tokenizer.kind = "bytes";
  config.data.validation_fraction = 0.5;
  config.model.layers = 2;
  config.policy.file = source + "/configs/policies/examples.yaml";
  config.policy.date = "2026-06-01";
  config.policy.classification = source + "/configs/classes/train.yaml";
  ClassifierOptions options;
  options.ngrams.buckets = 512;
  const ClassifierTraining t = train_classifier(config, options);
  const ClassifierReport& r = t.held_out;
  CHECK(r.documents > 40);
  CHECK(10 * r.right >= 7 * r.documents);
  CHECK(10 * r.largest_class <= 4 * r.documents);                      // what always naming one class would give
  for (const auto& [cls, count] : t.trained_on) CHECK(cls != "post");  // the policy admits none
  REQUIRE(r.above.size() == 5);
  CHECK(r.above.back().documents <= r.above.front().documents);
}

TEST_CASE("separable texts are told apart, whatever the order of the documents") {
  std::vector<ClassifierExample> list;
  for (int i = 0; i < 40; ++i) {
    const std::string text = (i % 2 == 0 ? "alpha beta " : "gamma delta ") + std::to_string(i);
    list.push_back({sha256(text), text, i % 2 == 0 ? "x" : "y"});
  }
  ClassifierOptions options;
  options.ngrams.buckets = 128;
  const LinearClassifier a = fit_classifier(list, options, cpu_backend());
  for (const ClassifierExample& e : list) CHECK(a.classes[largest(a.probabilities(e.text))] == e.cls);
  std::reverse(list.begin(), list.end());
  const LinearClassifier b = fit_classifier(list, options, cpu_backend());
  CHECK(a.weight == b.weight);
  CHECK(a.bias == b.bias);
  for (ClassifierExample& e : list) e.cls = "x";
  CHECK_THROWS_AS(fit_classifier(list, options, cpu_backend()), Error);
}

TEST_CASE("a classifier's file that was changed is refused") {
  const govtrain::test::TempDir dir;
  ClassifierFile file;
  file.model.ngrams = {1, 2, 16};
  file.model.classes = {"a", "b"};
  file.model.weight.assign(32, 0.25F);
  file.model.bias = {1, -1};
  file.header = {{"trained_on", {{"a", 3}}}};
  const std::string path = dir / "m.safetensors";
  REQUIRE(write_classifier(real_file_system(), path, file).ok());
  const auto read = read_classifier(path);
  REQUIRE(read.ok());
  CHECK(read.value().model.weight == file.model.weight);
  CHECK(read.value().model.bias == file.model.bias);
  CHECK(read.value().model.classes == file.model.classes);
  CHECK(read.value().model.ngrams == file.model.ngrams);
  CHECK(read.value().header.at("trained_on").at("a") == 3);
  const std::string bytes = real_file_system().read(path).value();
  const auto message = [&](const std::string& changed) {
    REQUIRE(real_file_system().write(path, changed).ok());
    const auto result = read_classifier(path);
    return result.ok() ? std::string() : result.status().message();
  };
  for (const size_t at : {bytes.size() - 1, bytes.size() - 20, bytes.size() - 136 + 3}) {  // bias and weights
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    CHECK(message(changed).find("it was changed") != std::string::npos);
  }
  std::string changed = bytes;
  changed.replace(changed.find("\\\"a\\\":3"), 7, "\\\"a\\\":4");  // the header's count
  CHECK(message(changed).find("it was changed") != std::string::npos);
  CHECK_FALSE(message(bytes.substr(0, bytes.size() - 4)).empty());
  CHECK_FALSE(message("").empty());
  changed = bytes;
  changed.replace(changed.find("govtrain-classifier"), 19, "govtrain-other-thing");
  CHECK_FALSE(message(changed).empty());
  CHECK(message(bytes).empty());
}
