// Runs that replay the profile changes of another run's log: only under the same policy, only within its bounds, only
// for profiles that change. Zero tolerance.
#include <fmt/format.h>

#include <functional>
#include <utility>

#include "core/file.h"
#include "lineage/note.h"
#include "lineage/writer.h"
#include "tests/tools/adapting_run.h"

using namespace govtrain;
using namespace govtrain::testing;
using nlohmann::json;

namespace {

const std::vector<std::string> held_out = {"data.validation_fraction=0.3"};

// Writes the effective log of a run again, under a key of its own, with the payloads that `change` gives; nothing: the
// entry is left out.
void forge(const TinyRun& tiny, const std::string& from, const std::string& name,
           const std::function<bool(ControlRecord&)>& change) {
  FileSystem& fs = real_file_system();
  REQUIRE(fs.make_dirs(tiny.path(name)).ok());
  auto signer = create_note_key(fs, tiny.path(name + ".key"), name);
  REQUIRE(signer.ok());
  LogWriter log = std::move(LogWriter::create(fs, tiny.path(name + "/lineage"), signer.value(), "forged")).value();
  for (const std::string& leaf : tiny.log(from).leaves) {
    if (leaf_kind(leaf).value() == "ex") continue;
    ControlRecord record = parse_control(leaf).value();
    if (!change(record)) continue;
    std::string text;
    REQUIRE(write_leaf(text, record).ok());
    REQUIRE(log.append(text).ok());
  }
  REQUIRE(log.flush().ok());
}

// The run does not begin, and says why.
void check_refused(const TinyRun& tiny, const std::string& log, std::vector<std::string> settings, int status,
                   const std::vector<std::string>& says) {
  settings.push_back("adaptation.replay=" + tiny.path(log));
  CHECK(tiny.run("corpus", "refused", settings) == status);
  const std::string output = tiny.read("refused.log");
  INFO(output);
  for (const std::string& text : says) CHECK(output.find(text) != std::string::npos);
  CHECK_FALSE(real_file_system().exists(tiny.path("refused/ckpt")));
}

std::string id_of(const TinyRun& tiny, const std::string& out) {
  return records(tiny.log(out), "policy").at(0).at("id");
}

std::string with_mode(const std::string& mode) { return "adaptation: {mode: " + mode + ", " + (adaptation + 13); }

}  // namespace

TEST_CASE("a replay needs the policy of the run that is replayed, and one whose profiles change", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, adaptation);
  run(tiny, "a", probing);
  const std::string a = id_of(tiny, "a");
  check_refused(tiny, "a", {"data.validation_fraction=0.3", "train.steps=13"}, 2,
                {"the log ends with step 12, this run has 13"});
  // Another policy that adapts, and logs without changes.
  std::string other = adaptation;
  other.replace(other.find("rate: 0.4"), 9, "rate: 0.3");
  write_policy(tiny, other);
  run(tiny, "b", probing);
  check_refused(tiny, "a", held_out, 2, {"adaptation.replay " + tiny.path("a"), a, id_of(tiny, "b")});
  write_policy(tiny, "");
  run(tiny, "plain", probing);
  check_refused(tiny, "a", held_out, 2, {"adaptation.replay is given, but policy tiny lets no profile change"});
  CHECK(tiny.program({"validate", tiny.path("a/config.yaml"), "adaptation.replay=" + tiny.path("a")}, "v.log") == 2);
  CHECK(tiny.read("v.log").find("lets no profile change") != std::string::npos);
  write_policy(tiny, with_mode("off"));
  run(tiny, "off", probing);
  check_refused(tiny, "off", held_out, 2, {"policy tiny lets no profile change"});
  write_policy(tiny, adaptation);
  check_refused(tiny, "plain", held_out, 2, {id_of(tiny, "plain"), a});
  forge(tiny, "a", "still", [](ControlRecord& r) { return r.kind != "adapt"; });
  check_refused(tiny, "still", held_out, 2, {"the log records no adaptation"});
}

TEST_CASE("a replayed change stays within the bounds of the policy", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, adaptation);
  run(tiny, "a", probing);
  const auto change = [](const std::function<void(json & profiles)>& edit) {
    bool first = true;
    return [edit, first](ControlRecord& r) mutable {
      if (r.kind == "adapt" && std::exchange(first, false)) edit(r.payload.at("profiles"));
      return true;
    };
  };
  forge(tiny, "a", "same", change([](json&) {}));
  run(tiny, "r", held_out, "adaptation.replay=" + tiny.path("same"));
  check_same(tiny, "a", "r");
  forge(tiny, "a", "above", change([](json& p) { p.at("shallow").at("after").at(1) = 1.5; }));
  check_refused(
      tiny, "above", held_out, 2,
      {"(adapt) is not carried out: it gives the profile shallow the weight 1.5 in layer.0; expected 0.5 to 1"});
  forge(tiny, "a", "below", change([](json& p) { p.at("shallow").at("after").at(0) = 0.75; }));
  check_refused(tiny, "below", held_out, 2, {"the weight 0.75 in embedding; expected 1 to 1"});
  forge(tiny, "a", "full", change([](json& p) { p["full"] = {{"after", std::vector<float>(4, 1)}}; }));
  check_refused(tiny, "full", held_out, 2, {"has no profile 'full' that changes"});
  forge(tiny, "a", "absent", change([](json& p) { p["absent"] = {{"after", std::vector<float>(4, 1)}}; }));
  check_refused(tiny, "absent", held_out, 2, {"has no profile 'absent' that changes"});
  forge(tiny, "a", "short", change([](json& p) { p.at("shallow").at("after") = std::vector<float>(3, 1); }));
  check_refused(tiny, "short", held_out, 2, {"3 weights for the profile shallow; expected 4"});
}

TEST_CASE("a replayed proposal stays between floor and ceiling", "[slow]") {
  const TinyRun tiny;
  write_policy(tiny, controller);
  run(tiny, "a", controlling);
  REQUIRE_FALSE(records(tiny.log("a"), "proposal").empty());
  forge(tiny, "a", "low", [](ControlRecord& r) {
    if (r.kind == "proposal") r.payload.at("after").at(1) = 0.0625;
    return true;
  });
  check_refused(tiny, "low", controlling, 2,
                {"(proposal) is not carried out: it gives the profile shallow the weight 0.0625 in layer.0; expected "
                 "0.125 to 1"});
}
