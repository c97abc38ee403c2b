// Every row of the table of bad inputs, and the page that is printed from it.
#include "tests/tools/bad_input.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

using namespace govtrain_test;

namespace {

void check_rows(const BadInputs& group) {
  for (const BadInput& row : group.rows) {
    const Outcome seen = meet(row);
    INFO(row.id << ": " << row.wrong << "\n$ " << row.command << "\n" << seen.out << seen.err);
    if (seen.skipped) {
      WARN("NOT TESTED, as mounting is not permitted here: " << row.id);
      continue;
    }
    CHECK(seen.status == row.status);
    CHECK(seen.message == row.message);
    CHECK(seen.changed == std::vector<std::string>());
    CHECK(seen.err.find("terminate called") == std::string::npos);
    CHECK(seen.err.find("Sanitizer") == std::string::npos);
  }
}

}  // namespace

TEST_CASE("bad configurations", "[bad_input][slow]") { check_rows(bad_configs()); }
TEST_CASE("bad policies", "[bad_input][slow]") { check_rows(bad_policies()); }
TEST_CASE("bad blocks", "[bad_input][slow]") { check_rows(bad_blocks()); }
TEST_CASE("bad classes", "[bad_input][slow]") { check_rows(bad_classes()); }
TEST_CASE("bad bands, schedules, days, revocations and reference models", "[bad_input][slow]") {
  check_rows(bad_changes());
}
TEST_CASE("bad reviews, and what a checkpoint keeps beside the model", "[bad_input][slow]") {
  check_rows(bad_withheld());
}
TEST_CASE("bad documents", "[bad_input][slow]") { check_rows(bad_documents()); }
TEST_CASE("bad prepared data", "[bad_input][slow]") { check_rows(bad_data()); }
TEST_CASE("bad checkpoints", "[bad_input][slow]") { check_rows(bad_checkpoints()); }
TEST_CASE("bad logs", "[bad_input][slow]") { check_rows(bad_logs()); }
TEST_CASE("bad environments", "[bad_input][slow]") { check_rows(bad_environments()); }

TEST_CASE("the run that the bad inputs are made from is good", "[bad_input][slow]") {
  const auto works = [](const std::string& command) {
    const Outcome seen = meet({"works", "nothing", [](const Damage&) {}, command, 0, ""});
    INFO(command << "\n" << seen.out << seen.err);
    CHECK(seen.status == 0);
  };
  works("govtrain validate config.yaml");
  works("govtrain data stats config.yaml");
  works("govtrain run config.yaml --resume run/ckpt/step-000002");
  works("govtrain sample run --tokens 3");
  works("govtrain eval config.yaml");
  works("govtrain lineage verify run");
}

TEST_CASE("docs/bad_input.md is the table of bad inputs", "[bad_input]") {
  const auto table = all_bad_inputs();
  std::set<std::string> ids;
  for (const BadInputs& group : table)
    for (const BadInput& row : group.rows) CHECK(ids.insert(row.id).second);
  CHECK(ids.size() >= 50);
  const std::string path = GOVTRAIN_SOURCE_DIR "/docs/bad_input.md";
  // To bring it up to date: GOVTRAIN_UPDATE_DOCS=1 tools_test '[bad_input]'
  if (std::getenv("GOVTRAIN_UPDATE_DOCS") != nullptr) std::ofstream(path) << bad_input_page(table);
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  CHECK(text.str() == bad_input_page(table));
}
