// configs/story.yaml, in which everything that can change a decision happens, on a small corpus of the same shape: what
// the log says, and in which order.
#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "core/rng.h"
#include "tests/tools/tiny_run.h"

using namespace govtrain;
using govtrain::testing::TinyRun;
using nlohmann::json;

namespace {

// Forty documents for each of the packages that the policy names.
void write_corpus(const std::string& file) {
  const std::vector<std::pair<std::string, std::string>> packages = {{"debian-faq", "LicenseRef-SPI-FAQ"},
                                                                     {"dict-devil", "LicenseRef-public-domain"},
                                                                     {"manpages", "GPL-2.0-or-later"},
                                                                     {"dict-foldoc", "GFDL-1.1-no-invariants-or-later"},
                                                                     {"sqlite3-doc", "LicenseRef-public-domain"},
                                                                     {"maint-guide", "GPL-2.0-or-later"}};
  const char* const words[] = {"package", "the", "file", "of", "a", "licence", "is", "system", "and", "never"};
  const Rng rng(7, Stream::test);
  std::ofstream out(file);
  for (size_t p = 0; p < packages.size(); ++p) {
    for (uint64_t d = 0; d < 40; ++d) {
      std::string text = packages[p].first + " " + std::to_string(d) + ":";
      for (uint64_t w = 0; w < 24; ++w) text += std::string(" ") + words[rng.bits((p * 64 + d) * 64 + w) % 10];
      const json meta = {{"package", packages[p].first},
                         {"license", packages[p].second},
                         {"source", "deb:" + packages[p].first + "@1:doc#" + std::to_string(d)}};
      out << json{{"meta", meta}, {"text", text}} << "\n";
    }
  }
}

}  // namespace

TEST_CASE("the story: bands, adaptation, a licence that ends, a revocation, an exclusion and a quarantine in one run",
          "[slow]") {
  const TinyRun tiny;
  write_corpus(tiny.path("story.jsonl"));
  const std::string config = std::string(GOVTRAIN_SOURCE_DIR) + "/configs/story.yaml";
  const int status =
      tiny.program({"run", config, "data.inputs=[" + tiny.path("story.jsonl") + "]", "data.cache=" + tiny.path("cache"),
                    "run.out=" + tiny.path("story"), "data.tokenizer.kind=bytes", "data.context=64",
                    "data.validation_fraction=0.2", "model.layers=2", "model.width=32", "model.heads=2",
                    "model.mlp_width=64", "train.tokens_per_step=512", "probe.examples=8", "log.progress=none"},
                   "story.log");
  INFO(tiny.read("story.log"));
  REQUIRE(status == 0);
  REQUIRE(tiny.program({"lineage", "verify", tiny.path("story")}, "verify.log") == 0);
  const int replayed = tiny.program({"policy", "replay", tiny.path("story")}, "replay.log");
  INFO(tiny.read("replay.log"));
  REQUIRE(replayed == 0);

  const TinyRun::Log log = tiny.log("story");
  std::set<std::string> faq, devil;  // digests, from the records of what ended and of what was taken back
  int64_t excluded = 0, banded = 0, adapted = 0, quarantined = 0;
  for (const std::string& leaf : log.leaves) {
    const json r = json::parse(leaf);
    const std::string kind = r.at("k");
    if (kind == "ex") {
      if (r.value("ev", "") == "exclude") {
        ++excluded;
        continue;
      }
      CHECK(faq.count(r.at("ex")) == 0);
      CHECK(devil.count(r.at("ex")) == 0);
      banded += r.contains("band") ? 1 : 0;
    } else if (kind == "expire") {
      CHECK(r.at("step") == 61);
      CHECK(r.at("rules") == json::parse(R"(["rule faq-licence"])"));
      for (const auto& d : r.at("documents")) faq.insert(d.get<std::string>());
    } else if (kind == "revoke" && r.contains("due")) {
      CHECK(r.at("step") == 101);
      CHECK(r.at("due") == json::parse(R"(["source:deb:dict-devil@*"])"));
      for (const auto& d : r.at("documents")) devil.insert(d.get<std::string>());
    } else if (kind == "adapt") {
      ++adapted;
    } else if (kind == "ckpt") {
      CHECK(r.contains("withheld"));
      CHECK(r.contains("probe"));
    } else if (kind == "step") {
      for (const auto& norm : r.value("withheld", json::array())) quarantined += norm.get<double>() > 0 ? 1 : 0;
    }
  }
  CHECK(excluded == 40);
  CHECK(faq.size() > 30);
  CHECK(devil.size() > 30);
  CHECK(banded > 500);
  CHECK(adapted >= 2);
  CHECK(quarantined > 100);

  REQUIRE(tiny.program({"lineage", "show", tiny.path("story"), "--story"}, "told.log") == 0);
  const std::string told = tiny.read("told.log");
  INFO(told);
  size_t at = 0;
  for (const char* line :
       {"train     40 documents kept out from the start", "adapt     stratification",
        "revoke    2026-06-01: for a later day [2026-06-06 source:deb:dict-devil@*]; 0 documents",
        "bands     surprisal edges", "with withheld, probe", "expire    2026-06-04: [rule faq-licence];",
        "revoke    2026-06-06: [source:deb:dict-devil@*];", "withheld up to", "end "}) {
    INFO(line);
    const size_t found = told.find(line, at);
    REQUIRE(found != std::string::npos);
    at = found;
  }
}
