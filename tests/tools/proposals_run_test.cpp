// Verdicts on the meta-controller's proposals: of a run that is complete, of one that goes on, and of two proposals
// that were made for the same weights.
#include <fmt/format.h>

#include "core/file.h"
#include "tests/tools/adapting_run.h"
#include "tools/govtrain/train/proposals.h"

using namespace govtrain;
using namespace govtrain::testing;
using nlohmann::json;

namespace {

const std::vector<std::string> reviewed = {"eval.every=1", "data.validation_fraction=0.3", "optim.lr=0.02",
                                           "save.every=1", "save.keep_last=100"};

int decide(const TinyRun& tiny, const char* verb, const std::string& id, std::string& output) {
  const int status = tiny.program({"proposals", verb, tiny.path("a"), id, "--reason", "because"}, "decide.log");
  output = tiny.read("decide.log");
  INFO(output);
  return status;
}

// A complete run with at least two pending proposals for the same weights.
std::vector<json> reviewed_run(const TinyRun& tiny, const std::string& extra = "") {
  write_policy(tiny, std::string("controller: {by: review, ") + (controller + 13));
  run(tiny, "a", reviewed, extra);
  std::vector<json> proposals = records(tiny.log("a"), "proposal");
  REQUIRE(proposals.size() >= 2);
  REQUIRE(proposals[0].at("before") == proposals[1].at("before"));
  REQUIRE(proposals[1].at("outcome") == "pending");
  return proposals;
}

std::string checkpoint_before(const TinyRun& tiny, const json& proposal) {
  return fmt::format("run.resume={}/ckpt/step-{:06}", tiny.path("a"), proposal.at("step").get<int64_t>() - 1);
}

}  // namespace

TEST_CASE("proposals of a complete run: an approval is refused, a rejection is in the log at once", "[slow]") {
  const TinyRun tiny;
  const std::vector<json> proposals = reviewed_run(tiny);
  const std::string model = tiny.final_sha256("a", "model.safetensors");
  const size_t entries = tiny.log("a").leaves.size();
  std::string output;
  CHECK(decide(tiny, "approve", "1", output) == 2);
  CHECK(output.find("is complete: there is no step left in which proposal 1 could count") != std::string::npos);
  CHECK(tiny.log("a").leaves.size() == entries);
  CHECK_FALSE(real_file_system().exists(tiny.path("a/proposals/1.json")));
  CHECK(decide(tiny, "reject", "1", output) == 0);
  CHECK(output.find("the run is complete, and its log says so now") != std::string::npos);
  const std::vector<json> verdicts = records(tiny.log("a"), "review");
  REQUIRE(verdicts.size() == 1);
  CHECK(verdicts[0].at("proposal") == 1);
  CHECK(verdicts[0].at("outcome") == "rejected");
  CHECK(verdicts[0].at("reason") == "because");
  CHECK(decide(tiny, "reject", "1", output) == 2);
  CHECK(output.find("proposal 1 is decided: rejected") != std::string::npos);
  // An approval that the run did not take in before it ended decides nothing.
  REQUIRE(write_verdict(real_file_system(), tiny.path("a"), payload_of(proposals[1]), {true, "late"}).ok());
  CHECK(decide(tiny, "reject", "2", output) == 0);
  CHECK(records(tiny.log("a"), "review").size() == 2);
  CHECK(tiny.program({"lineage", "verify", tiny.path("a")}, "verify.log") == 0);
  CHECK(tiny.program({"policy", "replay", tiny.path("a")}, "replay.log") == 0);
  CHECK(tiny.final_sha256("a", "model.safetensors") == model);
  run(tiny, "a", reviewed, "run.resume=auto");  // is complete, and stays so
  CHECK(records(tiny.log("a"), "review").size() == 2);
  // Repeated from an older checkpoint, the run meets the rejections.
  run(tiny, "a", reviewed, checkpoint_before(tiny, proposals[1]));
  CHECK(records(tiny.log("a"), "review").size() == 2);
  CHECK(tiny.final_sha256("a", "model.safetensors") == model);
}

TEST_CASE("of two proposals for the same weights, the second is stale once the first is applied", "[slow]") {
  const TinyRun tiny;
  const std::vector<json> proposals = reviewed_run(tiny);
  std::vector<std::string> one = reviewed;
  one.push_back("train.max_minutes=0.000001");
  // A run that has stopped takes a verdict with its next checkpoint.
  run(tiny, "a", one, checkpoint_before(tiny, proposals[1]));
  std::string output;
  CHECK(decide(tiny, "approve", "1", output) == 0);
  CHECK(output.find("takes that in with its next checkpoint") != std::string::npos);
  CHECK(decide(tiny, "reject", "1", output) == 2);
  run(tiny, "a", one, "run.resume=auto");
  REQUIRE(records(tiny.log("a"), "review").size() == 1);
  CHECK(records(tiny.log("a"), "review")[0].at("outcome") == "applied");
  const size_t profiles = records(tiny.log("a"), "profile").size();
  CHECK(tiny.program({"proposals", "list", tiny.path("a")}, "list.log") == 0);
  CHECK(tiny.read("list.log").find("stale") != std::string::npos);
  CHECK(decide(tiny, "approve", "2", output) == 2);
  CHECK(output.find("proposal 2 is stale, and can only be rejected: the profile shallow has had other weights") !=
        std::string::npos);
  // An approval that was given before is not carried out either.
  REQUIRE(write_verdict(real_file_system(), tiny.path("a"), payload_of(proposals[1]), {true, "both"}).ok());
  run(tiny, "a", one, "run.resume=auto");
  const std::vector<json> verdicts = records(tiny.log("a"), "review");
  REQUIRE(verdicts.size() == 2);
  CHECK(verdicts[1].at("proposal") == 2);
  CHECK(verdicts[1].at("outcome") == "stale");
  CHECK(verdicts[1].at("problem") == "the profile shallow has other weights by now");
  CHECK(records(tiny.log("a"), "profile").size() == profiles);
  CHECK(tiny.program({"policy", "replay", tiny.path("a")}, "replay.log") == 0);
  check_weights_are_logged(tiny.log("a"));
}

TEST_CASE("a rejection in the log of a complete run outlives the review of a pending update", "[slow]") {
  const TinyRun tiny;
  (void)reviewed_run(tiny, "routing.withheld=shadow");
  std::string output;
  CHECK(decide(tiny, "reject", "1", output) == 0);
  CHECK(tiny.program({"review", "list", tiny.path("a")}, "list.log") == 0);
  const std::string list = tiny.read("list.log");
  const size_t at = list.find("steps-");
  REQUIRE(at != std::string::npos);
  const std::string name = list.substr(at, list.find(' ', at) - at);
  CHECK(tiny.program({"review", "reject", tiny.path("a"), name, "--reason", "no"}, "review.log") == 0);
  INFO(tiny.read("review.log"));
  int verdicts = 0;
  for (const json& r : records(tiny.log("a"), "review")) verdicts += r.contains("proposal") ? 1 : 0;
  CHECK(verdicts == 1);
  CHECK(decide(tiny, "reject", "1", output) == 2);
  CHECK(tiny.program({"lineage", "verify", tiny.path("a")}, "verify.log") == 0);
}
