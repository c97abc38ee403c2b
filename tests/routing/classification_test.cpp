// Classes of documents: what each kind of source claims, that several claims give the most restrictive weights, and
// that what is wrong with a classification or a label file is told with its place.
#include "routing/classification.h"

#include <fmt/format.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "routing/class_labels.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

class Folder {
 public:
  Folder() {
    std::string pattern = std::filesystem::temp_directory_path() / "govtrain-classes-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::string put(const std::string& name, const std::string& text) const {
    std::ofstream(*this / name) << text;
    return *this / name;
  }

 private:
  std::string path_;
};

// Scores "a" by the number of 'a's: a model whose answers are known.
LinearClassifier model_of(const std::vector<std::string>& classes, float bias) {
  LinearClassifier m;
  m.ngrams = {1, 1, 4};
  m.classes = classes;
  m.weight.assign(classes.size() * 4, 0.0F);
  m.bias.assign(classes.size(), 0.0F);
  m.bias[0] = bias;
  return m;
}

Classification::ReadModel model_reader(float bias) {
  return [bias](const std::string&, const Position&, Diagnostics&) { return model_of({"letter", "manual"}, bias); };
}

Classification read(const std::string& path, const Classification::ReadModel& models = {}) {
  Diagnostics d;
  auto out = Classification::read(path, models, d);
  INFO(d.render());
  REQUIRE(out);
  return *out;
}

std::string errors(const std::string& path, const Classification::ReadModel& models = {}) {
  Diagnostics d;
  CHECK_FALSE(Classification::read(path, models, d));
  return d.render();
}

const std::string head = "classification: c\nversion: 1\nclasses: [letter, manual, post, odd]\nsources:\n";
const std::string digest = std::string(64, 'a');

std::vector<std::string> said(const std::vector<Claim>& claims) {
  std::vector<std::string> out;
  for (const Claim& c : claims) out.push_back(c.by + " " + c.cls);
  return out;
}

}  // namespace

TEST_CASE("hashed n-grams are those of an independent implementation") {
  const SparseRow row = hashed_ngrams("abab", {1, 2, 16});
  REQUIRE(row.index == std::vector<uint32_t>{5, 8, 10, 11});
  CHECK(row.value[0] == Approx(-0.534522484));
  CHECK(row.value[1] == Approx(0.534522484));
  CHECK(row.value[2] == Approx(0.377964473));
  CHECK(row.value[3] == Approx(0.534522484));
  const SparseRow utf8 = hashed_ngrams("n\xc3\xa9", {1, 3, 1000});
  REQUIRE(utf8.index == std::vector<uint32_t>{304, 312, 409, 502, 554, 960});
  CHECK(utf8.value[0] == Approx(-0.408248290));
  CHECK(utf8.value[1] == Approx(-0.408248290));
  CHECK(utf8.value[2] == Approx(-0.408248290));
  CHECK(utf8.value[3] == Approx(-0.408248290));
  CHECK(utf8.value[4] == Approx(0.408248290));
  CHECK(utf8.value[5] == Approx(0.408248290));
  CHECK(hashed_ngrams("", {1, 3, 16}).index.empty());
  CHECK(hashed_ngrams("ab", {3, 3, 16}).index.empty());
  double length = 0;
  for (const float v : hashed_ngrams("some longer text with repeated text", {1, 3, 64}).value) length += double{v} * v;
  CHECK(length == Approx(1).epsilon(1e-6));
}

TEST_CASE("a classifier's answer is the softmax of its weights and the text's features") {
  LinearClassifier m;
  m.ngrams = {1, 1, 8};
  m.classes = {"x", "y", "z"};
  m.weight.assign(24, 0.0F);
  m.bias = {0.5F, -0.25F, 0};
  const SparseRow row = hashed_ngrams("q", m.ngrams);
  REQUIRE(row.index.size() == 1);
  m.weight[8 + row.index[0]] = 2;  // of class y
  const double y = std::exp(-0.25 + 2 * double{row.value[0]}), x = std::exp(0.5), sum = x + y + 1;
  const std::vector<float> p = m.probabilities("q");
  CHECK(p[0] == Approx(x / sum).margin(6e-5));
  CHECK(p[1] == Approx(y / sum).margin(6e-5));
  CHECK(p[2] == Approx(1 / sum).margin(6e-5));
  CHECK(largest(p) == (y > x ? 1 : 0));
  CHECK(largest({0.5F, 0.5F}) == 0);
}

TEST_CASE("each kind of source claims by its own evidence, all that match count") {
  const Folder folder;
  folder.put("labels.jsonl", "{\"document\": \"sha256:" + digest + "\", \"class\": \"odd\", \"score\": 0.5}\n" +
                                 "{\"id\": \"doc-1\", \"class\": \"post\"}\n");
  const Classification c = read(folder.put("c.yaml", head + R"(
  - metadata: kind
  - labels: labels.jsonl
  - name: origin
    provenance:
      - {name: forum, when: {source: "forum:*"}, class: post}
      - {name: gpl, when: {license: GPL-*}, class: manual}
  - rules:
      - {name: dear, line: "Dear *", class: letter}
      - {name: half, line: "# *", at_least: 50%, class: manual}
      - {name: two, line: ["a*", "b*"], at_least: 2, when: {source: "*"}, class: odd}
)"));
  CHECK(c.claims({}, std::string(64, 'b'), "nothing").empty());
  CHECK(said(c.claims({{"kind", "manual"}, {"id", "doc-1"}}, digest, "x")) ==
        std::vector<std::string>{"metadata manual", "labels odd", "labels post"});
  CHECK(said(c.claims({{"source", "forum:3"}, {"license", "MIT AND GPL-2.0-only"}}, "", "")) ==
        std::vector<std::string>{"origin/forum post", "origin/gpl manual"});
  CHECK(said(c.claims({}, "", "Hello\nDear Ada,\n")) == std::vector<std::string>{"rules/dear letter"});
  CHECK(said(c.claims({}, "", "# one\n\n  \ntext\n")) == std::vector<std::string>{"rules/half manual"});
  CHECK(c.claims({}, "", "# one\ntext\ntext\n").empty());
  CHECK(c.claims({}, "", "apple\nberry\n").empty());  // `when` holds too, or nothing does
  CHECK(said(c.claims({{"source", "s"}}, "", "apple\nberry\n")) == std::vector<std::string>{"rules/two odd"});
  CHECK(c.claims({{"source", "s"}}, "", "apple\n").empty());
  CHECK(c.claims({}, digest, "").front().score == 0.5F);
  CHECK(c.findings({}, "", "text").size() == 4);  // every source says something
}

TEST_CASE("a score below the threshold is no claim, or that of the class for what is unsure") {
  const Folder folder;
  folder.put("m", "");
  folder.put("l.csv", "id,class,score\nlow,letter,0.79\nhigh,letter,0.8\n");
  const std::string with = head + "  - {labels: l.csv, threshold: 0.8, unsure: odd}\n  - {model: m, threshold: 0.9}\n";
  const Classification sure = read(folder.put("c.yaml", with), model_reader(5));
  CHECK(said(sure.claims({{"id", "low"}}, "", "t")) == std::vector<std::string>{"labels odd", "model letter"});
  CHECK(said(sure.claims({{"id", "high"}}, "", "t")) == std::vector<std::string>{"labels letter", "model letter"});
  const Classification doubtful = read(folder.put("c.yaml", with), model_reader(1));
  CHECK(said(doubtful.claims({{"id", "low"}}, "", "t")) == std::vector<std::string>{"labels odd"});
  CHECK(doubtful.claims({{"id", "low"}}, "", "t").front().score == 0.79F);
  // Without a reader the classifier is left out: what remains is what one is trained with.
  CHECK(read(folder / "c.yaml").sources.size() == 1);
}

TEST_CASE("several classes give, block by block, the most restrictive weights of each alone") {
  const uint64_t seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 rng(seed);
  const auto pick = [&](size_t n) { return static_cast<size_t>(rng() % n); };
  const std::vector<std::string> names = {"a", "b", "c", "d", "e"};
  const std::vector<float> weights = {0, 1, 0.5F, 0.25F, 2, -0.5F, -1};
  for (int round = 0; round < 300; ++round) {
    std::string text = "policy: p\nversion: 1\ndefault: " + std::string(pick(2) == 0 ? "none" : "p0") + "\nprofiles:\n";
    for (int p = 0; p < 4; ++p) {
      text += fmt::format("  p{}: {{allow_negative: {{bound: 1}}", p);
      for (const char* block : {"embedding", "layer.0", "layer.1", "layer.2", "layer.3", "head"})
        text += fmt::format(", {}: {}", block, weights[pick(weights.size())]);
      text += "}\n";
    }
    text += "rules:\n";
    for (size_t r = 0; r < 5; ++r) {
      const std::string license = pick(2) == 0 ? ", license: MIT" : "";
      text +=
          fmt::format("  - {{name: r{}, when: {{class: {}{}}}, profile: p{}}}\n", r, names[pick(4)], license, pick(4));
    }
    const BoundPolicy policy = bind_policy(text);
    std::vector<Claim> claims;
    for (size_t i = 0; i < 1 + pick(3); ++i) claims.push_back({"s", names[pick(names.size())], 1});
    Meta meta = {{"class", "ignored"}};
    if (pick(2) == 0) meta["license"] = pick(2) == 0 ? "MIT" : "MIT AND ISC";
    const Decision all = policy.resolve({"d", "", with_classes(meta, claims)}, day("2026-06-01"));
    std::vector<float> expected;
    for (const std::string& cls : claimed_classes(claims)) {
      Meta alone = meta;
      alone["class"] = cls;
      const Decision one = policy.resolve({"d", "", {alone}}, day("2026-06-01"));
      if (expected.empty()) {
        expected = one.weights;
        continue;
      }
      for (size_t b = 0; b < expected.size(); ++b) {
        int32_t rule = 0;
        restrict_weight(expected[b], rule, one.weights[b], 1);
      }
    }
    INFO(text);
    CHECK(all.weights == expected);
    for (size_t b = 0; b < expected.size(); ++b) CHECK(std::abs(all.weights[b]) <= std::abs(expected[b]));
  }
}

TEST_CASE("a document that no source classifies has no class, whatever its metadata says") {
  const BoundPolicy policy = bind_policy(
      "policy: p\nversion: 1\ndefault: none\nprofiles: {full: {all: 1}}\n"
      "rules: [{name: m, when: {class: manual}, profile: full}]\n");
  const Meta meta = {{"class", "manual"}};
  CHECK_FALSE(policy.resolve({"d", "", {meta}}, day("2026-06-01")).excluded);
  CHECK(policy.resolve({"d", "", with_classes(meta, {})}, day("2026-06-01")).excluded);
}

TEST_CASE("label files tell what is wrong with the line and the place") {
  const std::vector<std::string> classes = {"letter", "manual"};
  const auto problems = [&](const std::string& file, const std::string& text) {
    Diagnostics d;
    CHECK_FALSE(read_class_labels(file, text, classes, d));
    return d.render();
  };
  const std::string good = "{\"id\": \"x\", \"class\": \"letter\"}\n";
  const auto jsonl = [&](const std::string& line) { return problems("l.jsonl", good + line + "\n"); };
  const auto has = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  has(jsonl("{\"id\": \"y\", \"class\": \"leter\"}"), "l.jsonl:2:1: error: unknown class 'leter'");
  has(jsonl("{\"id\": \"y\", \"class\": \"leter\"}"), "did you mean 'letter'?");
  has(jsonl("{\"id\": \"x\", \"class\": \"manual\"}"),
      "l.jsonl:2:1: error: id:x is of class manual here, and of class letter in line 1");
  has(jsonl("{\"id\": \"y\"}"), "2:1: error: 'class' is missing");
  has(jsonl("{\"class\": \"letter\"}"), "2:1: error: the line must have either 'document' or 'id'");
  has(jsonl("{\"document\": \"abc\", \"class\": \"letter\"}"), "2:1: error: 'abc' is not a SHA-256 digest");
  has(jsonl("{\"id\": \"y\", \"class\": \"letter\", \"score\": 1.5}"), "2:1: error: '1.5' is no score");
  has(jsonl("{\"id\": \"y\", \"class\": \"letter\", \"score\": \"high\"}"), "2:1: error: 'score' is not a number");
  has(jsonl("{\"id\": \"y\", \"class\": \"letter\", \"by\": \"me\"}"), "2:1: error: unknown key 'by'");
  has(jsonl("[1]"), "2:1: error: the line is not a JSON object");
  has(jsonl("\xff"), "2:1: error: the line is not valid UTF-8");
  has(problems("l.csv", "id,class\nx,letter,0.5\n"), "l.csv:2:1: error: 3 columns, the header has 2");
  has(problems("l.csv", "id,colour\n"), "l.csv:1:1: error: the header has an unknown or repeated column 'colour'");
  has(problems("l.csv", "id,class\n\"x\",letter\n"), "l.csv:2:1: error: quotes are not supported in CSV");
  has(problems("l.txt", good), "l.txt: error: a label file ends in .jsonl or .csv");
  has(problems("l.jsonl", ""), "error: the file is empty");

  Diagnostics d;
  const auto labels = read_class_labels(
      "l.csv", "document,class,score\r\n" + digest + ",letter,0.9\r\nsha256:" + digest + ",letter,0.25\r\n", classes,
      d);
  REQUIRE(labels);
  CHECK(labels->size() == 1);
  CHECK(labels->at("sha256:" + digest).score == 0.25F);  // of two that agree the lower one
}

TEST_CASE("what is wrong with a classification is told with its place, all at once") {
  const Folder folder;
  folder.put("m", "");
  folder.put("l.jsonl", "{\"id\": \"x\", \"class\": \"letter\"}\n");
  const auto has = [&](const std::string& sources, const std::string& part) {
    const std::string text = errors(folder.put("c.yaml", head + sources), model_reader(1));
    INFO(sources << "\n" << text);
    CHECK(text.find(part) != std::string::npos);
  };
  has("  - {metadata: class, colour: red}\n", "c.yaml:5:23: error: unknown key 'colour' in source 1");
  has("  - {labels: absent.jsonl}\n", "c.yaml:5:14: error: source 1: ");
  has("  - {labels: l.jsonl, sha256: " + digest + "}\n", "c.yaml:5:31: error: source 1: ");
  has("  - {labels: l.jsonl, threshold: 2}\n", "'threshold' must be a number from 0 to 1");
  has("  - {labels: l.jsonl, unsure: odd}\n", "'unsure' needs a 'threshold' above 0");
  has("  - {labels: l.jsonl, threshold: 0.5, unsure: od}\n", "the class 'od' is not listed");
  has("  - {metadata: class}\n  - {metadata: kind}\n",
      "c.yaml:6:5: error: source 2: there is another source 'metadata'");
  has("  - {metadata: class, labels: l.jsonl}\n", "source 1 must have one of metadata, labels");
  has("  - rules: [{class: letter}]\n", "source 1, rule 1 matches nothing");
  has("  - rules: [{line: x, class: leter}]\n", "did you mean 'letter'?");
  has("  - rules: [{line: x, at_least: 0, class: letter}]\n", "'at_least' must be a number of lines from 1");
  has("  - rules: [{when: always, at_least: 2, class: letter}]\n", "'at_least' counts the lines that 'line' matches");
  has("  - provenance: [{line: x, when: always, class: letter}]\n", "unknown key 'line'");
  has("  []\n", "'sources' must be a list, found an empty list");
  const std::string two = errors(folder.put("c.yaml", head + "  - {metadata: \"\"}\n  - {rules: []}\n"));
  CHECK(two.find(":5:") != std::string::npos);
  CHECK(two.find(":6:") != std::string::npos);
  CHECK(errors(folder.put("c.yaml", "classification: a b\nversion: 1\nclasses: [x+y, x, x]\nsources: [{model: m}]\n"),
               model_reader(1))
            .find("the class 'x' is listed twice") != std::string::npos);
  CHECK(errors(folder / "c.yaml", model_reader(1)).find("'x+y' is not a name") != std::string::npos);
  CHECK(errors(folder.put("c.yaml", "classification: c\nversion: 1\nclasses: [post]\nsources: [{model: m}]\n"),
               model_reader(1))
            .find("knows the class 'letter', which is not listed") != std::string::npos);
}

TEST_CASE("a classification's id is that of its contents and its files") {
  const Folder folder;
  folder.put("l.jsonl", "{\"id\": \"x\", \"class\": \"letter\"}\n");
  const std::string sources = "  - {labels: l.jsonl}\n  - rules: [{line: x, class: post}]\n";
  const Classification a = read(folder.put("a.yaml", head + sources));
  const Classification b = read(folder.put("b.yaml", "# other layout\n" + head + "\n" + sources));
  CHECK(a.id() == b.id());
  CHECK(a.id().starts_with("c@"));
  CHECK(a.canonical() == b.canonical());
  CHECK(read(folder.put("b.yaml", head + "  - {labels: l.jsonl}\n  - rules: [{line: y, class: post}]\n")).id() !=
        a.id());
  folder.put("l.jsonl", "{\"id\": \"x\", \"class\": \"letter\", \"score\": 1}\n");
  CHECK(read(folder / "a.yaml").id() != a.id());
}
