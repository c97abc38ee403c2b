// What a run is said to need at least, in copies of the model.
#include <catch2/catch.hpp>

#include "tests/tools/tiny_run.h"
#include "tools/govtrain/config/run_config.h"
#include "tools/govtrain/train/session.h"

using namespace govtrain;
using govtrain::testing::TinyRun;

TEST_CASE("weights, gradients, moments, what is withheld and an averaged reference are counted") {
  const TinyRun tiny;
  const auto copies = [&](const std::string& entropy, const std::vector<std::string>& overrides) {
    Diagnostics diagnostics;
    const auto policy =
        Policy::parse("p", "policy: p\nversion: 1\ndefault: full\nprofiles: {full: {all: 1}}\n" + entropy, diagnostics);
    diagnostics.throw_if_errors();
    const auto file = read_run_config(tiny.path("config.yaml"), overrides);
    return copies_of_model(file->config, *policy);
  };
  const std::string bands = "profiles: [full, full], warmup: 9}\n",
                    average = "entropy: {reference: {ema: 0.9}, " + bands;
  CHECK(copies("", {}) == 4);
  CHECK(copies("", {"optim.kind=sgd", "optim.momentum=0"}) == 2);
  CHECK(copies("", {"optim.kind=sgd", "optim.momentum=0.9"}) == 3);
  CHECK(copies("", {"routing.withheld=quarantine"}) == 8);
  CHECK(copies("", {"routing.withheld=shadow"}) == 7);
  CHECK(copies("", {"routing.enforcement=optimizer"}) == 5);
  CHECK(copies("entropy: {" + bands, {}) == 4);  // measured with the trained model
  CHECK(copies(average, {}) == 5);
  CHECK(copies(average, {"routing.withheld=shadow", "routing.enforcement=optimizer"}) == 9);
  CHECK(copies(average, {"train.routing=false"}) == 4);
}
