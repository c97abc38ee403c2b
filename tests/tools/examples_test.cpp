// Every shipped example runs as it is, in seconds, leaves a log that verifies, and is explained somewhere in docs/.
#include <sys/resource.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/tools/run_binary.h"

namespace fs = std::filesystem;
using govtrain_test::fresh_folder;
using govtrain_test::Output;
using govtrain_test::read_text;
using govtrain_test::run_govtrain;

namespace {

const fs::path source = GOVTRAIN_SOURCE_DIR;

std::vector<fs::path> examples() {
  std::vector<fs::path> out;
  for (const auto& entry : fs::directory_iterator(source / "configs/examples"))
    if (entry.path().extension() == ".yaml") out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

// Of processors, whatever else they do.
double children_seconds() {
  rusage used{};
  REQUIRE(::getrusage(RUSAGE_CHILDREN, &used) == 0);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

}  // namespace

TEST_CASE("every example runs in seconds, and its log verifies", "[examples][slow]") {
  const std::string folder = fresh_folder("examples");
  REQUIRE_FALSE(examples().empty());
  for (const fs::path& config : examples()) {
    const std::string name = config.stem();
    INFO(name);
    const double before = children_seconds();
    std::string start = "run '" + config.string() + "' run.out=" + name + " data.cache=cache";
    if (name == "adaptation_replay") start += " adaptation.replay=adaptation";  // the run before it
    const Output run = run_govtrain(start + " log.progress=none", folder);
    const double seconds = children_seconds() - before;
    INFO(run.out << run.err);
    CHECK(run.status == 0);
    CHECK(seconds < 30);
    const Output verify = run_govtrain("lineage verify " + name, folder);
    INFO(verify.out << verify.err);
    CHECK(verify.status == 0);
    // A second start must find the run complete, and the log as it was.
    const Output again = run_govtrain(start + " run.resume=auto", folder);
    INFO(again.out << again.err);
    CHECK(again.status == 0);
    CHECK(again.out.find("the run is complete") != std::string::npos);
  }
  const std::string weights = "/ckpt/step-000040/model.safetensors";
  const std::string replayed = read_text(folder + "/adaptation_replay" + weights);
  CHECK(replayed.size() > 100000);
  CHECK(replayed == read_text(folder + "/adaptation" + weights));
  fs::remove_all(folder);
}

TEST_CASE("every example is explained in docs", "[examples]") {
  std::string docs;
  for (const auto& entry : fs::recursive_directory_iterator(source / "docs"))
    if (entry.path().extension() == ".md") docs += read_text(entry.path());
  for (const fs::path& config : examples()) {
    INFO(config.filename());
    CHECK(docs.find("configs/examples/" + config.filename().string()) != std::string::npos);
  }
}
