// Classes in whole runs: law 3 when rules and a classifier exclude, what the log says, what resuming refuses; and the
// training of the classifier: the same bytes for any threads and without what the policy excludes, better than chance,
// and a changed file is refused.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/parallel.h"
#include "lineage/record.h"
#include "tests/tools/data_fixture.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/classify/model_file.h"
#include "tools/govtrain/classify/train.h"

using namespace govtrain;
using govtrain::testing::TinyDocument;
using govtrain::testing::TinyRun;
using nlohmann::json;

namespace {

const char* const weights = "model.safetensors";
const char* const moments = "optimizer.safetensors";

// A policy that goes by the class alone.
const std::string by_class =
    "policy: tiny\nversion: 1\ndefault: none\nprofiles:\n  full: {all: 1}\n"
    "  shallow: {embedding: 1, layer.0: 0.5, rest: 0}\n"
    "rules:\n"
    "  - {name: manuals, when: {class: manual}, profile: full}\n"
    "  - {name: letters, when: {class: letter}, profile: shallow}\n";

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

// Every fifth document begins like a secret, every third of the others like a letter. No class in the metadata.
std::vector<TinyDocument> documents() {
  std::vector<TinyDocument> out = TinyRun::default_documents(1);
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].cls = "";
    if (i % 5 == 4)
      out[i].text = "SECRET ZZQX.\n" + out[i].text + "ZZQX ZZQX ZZQX\n";
    else if (i % 3 == 0)
      out[i].text = "Dear reader,\n" + out[i].text + "Yours, K.\n";
  }
  return out;
}

const std::string rules =
    "classification: tiny\nversion: 1\nclasses: [letter, manual, secret]\nsources:\n"
    "  - rules:\n"
    "      - {name: secret, line: \"SECRET*\", class: secret}\n"
    "      - {name: dear, line: \"Dear *\", class: letter}\n"
    "      - {name: rest, when: {not: {source: \"*-?4\"}}, class: manual}\n";

void run(const TinyRun& tiny, const std::string& corpus, const std::string& out,
         std::vector<std::string> settings = {}) {
  settings.insert(settings.begin(), "policy.classification=" + tiny.path("classes.yaml"));
  const int status = tiny.run(corpus, out, settings);
  INFO(tiny.read(out + ".log"));
  REQUIRE(status == 0);
}

std::vector<std::string> trained(const TinyRun::Log& log) {
  std::vector<std::string> out;
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() == "ex" && parse_example(leaf).value().place) out.push_back(leaf);
  }
  return out;
}

std::set<std::string> excluded(const TinyRun::Log& log) {
  std::set<std::string> out;
  for (const ExampleRecord& r : log.examples) {
    if (!r.place) out.insert(r.ex.substr(7));
  }
  return out;
}

json control(const TinyRun::Log& log, const std::string& kind) {
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() == kind) return json::parse(leaf);
  }
  return nullptr;
}

// Law 3a: what the run excluded, deleted from the corpus, changes no bit of the rest.
void check_absent(const TinyRun& tiny, size_t at_least) {
  run(tiny, "corpus", "with");
  const TinyRun::Log log = tiny.log("with");
  const std::set<std::string> gone = excluded(log);
  REQUIRE(gone.size() >= at_least);
  std::vector<TinyDocument> left;
  for (const TinyDocument& d : documents()) {
    if (!gone.contains(hex(sha256(clean(d.text, {}))))) left.push_back(d);
  }
  REQUIRE(left.size() == documents().size() - gone.size());
  tiny.write_corpus("left", left);
  run(tiny, "left", "without");
  CHECK(tiny.final_sha256("with", weights) == tiny.final_sha256("without", weights));
  CHECK(tiny.final_sha256("with", moments) == tiny.final_sha256("without", moments));
  CHECK(trained(log) == trained(tiny.log("without")));
  CHECK(excluded(tiny.log("without")).empty());
  // The test can fail: a document that counts is missed.
  left.erase(left.begin());
  tiny.write_corpus("less", left);
  run(tiny, "less", "other");
  CHECK(tiny.final_sha256("with", weights) != tiny.final_sha256("other", weights));
}

void train(const TinyRun& tiny, const std::string& corpus, const std::string& policy, const std::string& out,
           const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"classify",
                                        "train",
                                        tiny.path("config.yaml"),
                                        "run.out=" + tiny.path("unused"),
                                        "data.inputs=[" + tiny.path(corpus + ".jsonl") + "]",
                                        "policy.file=" + tiny.path(policy),
                                        "policy.classification=" + tiny.path("stated.yaml"),
                                        "data.validation_fraction=0.3",
                                        "--out",
                                        tiny.path(out),
                                        "--buckets",
                                        "256",
                                        "--epochs",
                                        "40"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const int status = tiny.program(arguments, out + ".log");
  INFO(tiny.read(out + ".log"));
  REQUIRE(status == 0);
}

const std::string admit_all = "policy: all\nversion: 1\ndefault: full\nprofiles: {full: {all: 1}}\n";

}  // namespace

TEST_CASE("law 3: documents that rules over the text exclude are as absent as if they had been deleted", "[slow]") {
  const TinyRun tiny;
  write(tiny.path("policy.yaml"), by_class);
  write(tiny.path("classes.yaml"), rules);
  tiny.write_corpus("corpus", documents());
  check_absent(tiny, 12);
}

TEST_CASE("law 3: documents that a classifier excludes are as absent as if they had been deleted", "[slow]") {
  const TinyRun tiny;
  tiny.write_corpus("corpus", documents());
  write(tiny.path("stated.yaml"),
        "classification: stated\nversion: 1\nclasses: [letter, manual, secret]\nsources: [{labels: labels.jsonl}]\n");
  std::ofstream labels(tiny.path("labels.jsonl"));
  for (const TinyDocument& d : documents()) {
    const std::string cls = d.text.starts_with("SECRET") ? "secret" : d.text.starts_with("Dear") ? "letter" : "manual";
    labels << json{{"document", hex(sha256(clean(d.text, {})))}, {"class", cls}}.dump() << "\n";
  }
  labels.close();
  write(tiny.path("all.yaml"), admit_all);
  write(tiny.path("policy.yaml"), by_class);
  train(tiny, "corpus", "all.yaml", "text.safetensors");
  write(tiny.path("classes.yaml"),
        "classification: tiny\nversion: 1\nclasses: [letter, manual, secret]\n"
        "sources: [{model: text.safetensors, threshold: 0.4}]\n");
  check_absent(tiny, 6);
}

TEST_CASE("prepared data, the trained tokenizer included, do not know what a classifier excludes", "[data]") {
  using namespace govtrain::test;
  const TempDir dir;
  put(dir / "classes.yaml",
      "classification: c\nversion: 1\nclasses: [secret, open]\n"
      "sources: [{rules: [{line: \"*zqxj*\", class: secret}]}]\n");
  Diagnostics diagnostics;
  const auto classification = Classification::read(dir / "classes.yaml", {}, diagnostics);
  REQUIRE(classification);
  const Exclude exclude = [](const std::vector<Origin>& origins, const Digest& digest) -> std::optional<std::string> {
    for (const Meta& meta : facts_of(origins, digest).provenances)
      if (meta.contains("class") && meta.at("class") == "secret") return "secret";
    return std::nullopt;
  };
  PrepareOptions options;
  options.tokenizer.vocab_size = 340;
  options.cache = dir / "cache";
  std::vector<Item> list = items(40, 5);
  const auto files = [&](const std::vector<Item>& corpus) {
    DocumentClassifier classifier(*classification);
    PrepareOptions own = options;
    own.inputs = {dir / "in.jsonl"};
    put(dir / "in.jsonl", jsonl(corpus));
    const auto report = prepare(real_file_system(), own, exclude, &classifier);
    REQUIRE(report.ok());
    std::map<std::string, std::string> out;
    for (const char* name : {"manifest.json", "documents.jsonl", "tokens.bin", "tokenizer.model"})
      out[name] = get(report.value().folder + "/" + name);
    return out;
  };
  const auto without = files(list);
  for (int i = 0; i < 9; ++i) list.push_back({"zqxj zqxj " + prose(static_cast<uint64_t>(i) + 77, 300), {{"a", i}}});
  CHECK(files(list) == without);
  for (size_t i = 40; i < list.size(); ++i) list[i].text.replace(0, 10, "zqx qzx zx");
  CHECK(files(list) != without);  // the test can fail
}

TEST_CASE("records carry classes, version and score, and name the rule that decided when sources disagree") {
  const TinyRun tiny;
  write(tiny.path("policy.yaml"), by_class);
  std::vector<TinyDocument> list = documents();
  for (TinyDocument& d : list) d.cls = "manual";
  tiny.write_corpus("corpus", list);
  std::set<std::string> letters;
  for (const TinyDocument& d : list) {
    if (d.text.starts_with("Dear")) letters.insert("sha256:" + hex(sha256(clean(d.text, {}))));
  }
  std::string labels = "document,class,score\n" + std::string(64, '0') + ",manual,1\n";
  for (const std::string& id : letters) labels += id + ",letter,0.75\n";
  write(tiny.path("labels.csv"), labels);
  write(tiny.path("classes.yaml"),
        "classification: tiny\nversion: 1\nclasses: [letter, manual]\n"
        "sources: [{metadata: class}, {labels: labels.csv}]\n");
  run(tiny, "corpus", "run");
  const TinyRun::Log log = tiny.log("run");
  const json classes = control(log, "classes");
  REQUIRE(classes.is_object());
  const std::string id = classes.at("id");
  CHECK(id.starts_with("tiny@"));
  CHECK(hex(sha256(classes.at("text").get<std::string>())) == classes.at("sha256"));
  CHECK(control(log, "run").at("classification").at("id") == id);
  size_t both = 0;
  for (const ExampleRecord& r : log.examples) {
    REQUIRE(r.clv == id);
    const bool letter = letters.contains(r.ex);
    CHECK(r.cls == (letter ? "letter+manual" : "manual"));
    CHECK(r.score == (letter ? 0.75F : 1.0F));
    CHECK(r.prof == (letter ? "shallow" : "full"));
    CHECK(r.r == std::vector<int32_t>(4, letter ? 2 : 1));
    CHECK(r.w == (letter ? std::vector<float>{1, 0.5F, 0, 0} : std::vector<float>(4, 1.0F)));
    both += letter ? 1 : 0;
  }
  CHECK(both > 0);
  for (const auto& object : std::filesystem::directory_iterator(tiny.path("run/lineage/prov"))) {
    const json provenance = json::parse(real_file_system().read(object.path()).value());
    CHECK(provenance.at("claims").size() == provenance.at("provenance").size());
  }
  CHECK(tiny.read("run.log").find("labels.csv: 1 of ") != std::string::npos);
  CHECK(tiny.read("run.log").find("classes " + id) != std::string::npos);
  CHECK(tiny.program({"lineage", "verify", tiny.path("run")}, "verify.log") == 0);
  CHECK(
      tiny.program({"policy", "explain", tiny.path("config.yaml"), "run.out=" + tiny.path("x"),
                    "data.inputs=[" + tiny.path("corpus.jsonl") + "]",
                    "policy.classification=" + tiny.path("classes.yaml"), "--document", letters.begin()->substr(7, 12)},
                   "explain.log") == 0);
  CHECK(tiny.read("explain.log").find("labels") != std::string::npos);
  CHECK(tiny.read("explain.log").find("0.75") != std::string::npos);
}

TEST_CASE("policy check knows the classes of excluded documents, and which classes nothing has") {
  const TinyRun tiny;
  write(tiny.path("policy.yaml"), by_class + "  - {name: secrets, when: {class: [secret, poem]}, profile: none}\n");
  write(tiny.path("classes.yaml"), rules);
  tiny.write_corpus("corpus", documents());
  CHECK(tiny.program({"policy", "check", tiny.path("config.yaml"), "run.out=" + tiny.path("x"),
                      "data.inputs=[" + tiny.path("corpus.jsonl") + "]",
                      "policy.classification=" + tiny.path("classes.yaml"), "--data"},
                     "check.log") == 0);
  const std::string said = tiny.read("check.log");
  INFO(said);
  CHECK(said.find("no class in the corpus matches 'poem'") != std::string::npos);
  CHECK(said.find("matches 'secret'") == std::string::npos);
}

TEST_CASE("a run goes on under the classification that it began with, and under no other", "[slow]") {
  const TinyRun tiny;
  write(tiny.path("policy.yaml"), by_class);
  write(tiny.path("classes.yaml"), rules + "  - labels: labels.jsonl\n");
  write(tiny.path("labels.jsonl"), "{\"id\": \"nobody\", \"class\": \"manual\"}\n");
  tiny.write_corpus("corpus", documents());
  run(tiny, "corpus", "run", {"save.keep_last=9"});
  const std::string model = tiny.final_sha256("run", weights);
  const std::string from = tiny.path("run/ckpt/step-000004");
  const auto resume = [&](const std::vector<std::string>& more) {
    std::filesystem::remove(tiny.path("run.log"));
    std::vector<std::string> settings = {"run.resume=" + from, "save.keep_last=9"};
    settings.insert(settings.end(), more.begin(), more.end());
    return tiny.run("corpus", "run", settings);
  };
  const std::string same = "policy.classification=" + tiny.path("classes.yaml");
  write(tiny.path("labels.jsonl"), "{\"id\": \"nobody\", \"class\": \"letter\"}\n");
  CHECK(resume({same}) == 2);
  CHECK(tiny.read("run.log").find("was made with tiny@") != std::string::npos);
  CHECK(tiny.read("run.log").find("sources.1.labels: \"sha256:") != std::string::npos);
  CHECK(resume({}) == 2);
  CHECK(tiny.read("run.log").find("found no classification") != std::string::npos);
  write(tiny.path("labels.jsonl"), "{\"id\": \"nobody\", \"class\": \"manual\"}\n");
  CHECK(resume({same}) == 0);
  CHECK(tiny.final_sha256("run", weights) == model);
}

TEST_CASE("a classifier has the same bytes for any threads, and excluded documents do not shape it", "[slow]") {
  const TinyRun tiny;
  std::vector<TinyDocument> list = documents();
  for (size_t i = 0; i < list.size(); ++i) list[i].cls = i % 3 == 0 ? "letter" : "manual";
  for (size_t i = 0; i < list.size(); i += 7) list[i].license = "LicenseRef-secret";
  tiny.write_corpus("corpus", list);
  write(tiny.path("stated.yaml"),
        "classification: stated\nversion: 1\nclasses: [letter, manual, secret]\nsources:\n  - metadata: class\n"
        "  - model: not-there-yet.safetensors\n");
  write(tiny.path("some.yaml"), admit_all +
                                    "exclusions: [{source: \"doc-2*\"}]\nrules:\n"
                                    "  - {name: s, when: {license: LicenseRef-secret}, profile: none}\n");
  train(tiny, "corpus", "some.yaml", "one.safetensors", {"run.threads=1"});
  train(tiny, "corpus", "some.yaml", "three.safetensors", {"run.threads=3"});
  CHECK(tiny.read("one.safetensors") == tiny.read("three.safetensors"));
  std::vector<TinyDocument> left;
  for (const TinyDocument& d : list) {
    if (d.license != "LicenseRef-secret" && !d.source.starts_with("doc-2")) left.push_back(d);
  }
  REQUIRE(left.size() < list.size() - 15);
  std::reverse(left.begin(), left.end());  // nor does the order of the corpus
  tiny.write_corpus("left", left);
  train(tiny, "left", "some.yaml", "left.safetensors");
  CHECK(tiny.read("one.safetensors") == tiny.read("left.safetensors"));
  left.pop_back();
  left.pop_back();
  tiny.write_corpus("less", left);
  train(tiny, "less", "some.yaml", "less.safetensors");
  CHECK(tiny.read("one.safetensors") != tiny.read("less.safetensors"));
}
