// The lineage verbs on a small log: verify, show, prove, and their exit statuses.
#include <catch2/catch.hpp>

#include "lineage/record.h"
#include "lineage/writer.h"
#include "tests/tools/run_binary.h"

using namespace govtrain_test;
using Catch::Contains;
using namespace govtrain;  // NOLINT

namespace {

// A run folder with a log of control records and six examples from two sources in two steps.
std::string make_run(const std::string& name) {
  const std::string folder = fresh_folder(name);
  FileSystem& fs = real_file_system();
  auto signer = create_note_key(fs, folder + "/run.key", "test.local/log");
  REQUIRE(signer.ok());
  REQUIRE(fs.make_dirs(folder + "/run").ok());
  auto writer = LogWriter::create(fs, folder + "/run/lineage", signer.value(), "test");
  REQUIRE(writer.ok());
  const std::string free = writer.value().put_provenance(R"({"license":"MIT","source":"free"})").value();
  const std::string closed = writer.value().put_provenance(R"([{"license":"NC","source":"closed"}])").value();
  std::string leaf;
  REQUIRE(write_leaf(leaf, ControlRecord{"run", {{"blocks", {"embedding", "head"}}}}).ok());
  REQUIRE(writer.value().append(leaf).ok());
  REQUIRE(write_leaf(leaf, ControlRecord{"policy", {{"id", "p@00000000"}, {"rules", {"default"}}}}).ok());
  REQUIRE(writer.value().append(leaf).ok());
  for (const char* profile : {"shallow", "all"}) {
    REQUIRE(write_leaf(leaf, ControlRecord{"profile", {{"id", profile}}}).ok());
    REQUIRE(writer.value().append(leaf).ok());
  }
  for (int n = 0; n < 6; ++n) {
    ExampleRecord record;
    record.place = ExampleRecord::Place{n / 3, 0, n % 3};
    record.ex = "sha256:" + std::string(63, 'a') + std::to_string(n % 3);
    record.span_end = record.tok = 100;
    const bool shallow = n % 3 == 0;
    record.w = {1.0f, shallow ? 0.0f : 1.0f};
    record.g = {2.0f, shallow ? 0.0f : 3.0f};
    record.r = {0, 0};
    record.pol = "p@00000000";
    record.prof = shallow ? "shallow" : "all";
    record.cls = "text";
    record.prov = shallow ? closed : free;
    REQUIRE(write_leaf(leaf, record).ok());
    REQUIRE(writer.value().append(leaf).ok());
  }
  REQUIRE(writer.value().flush().ok());
  return folder;
}

}  // namespace

TEST_CASE("lineage verify accepts a log and refuses a changed one with status 4", "[cli][lineage]") {
  const std::string folder = make_run("verbs_verify");
  const Output good = run_govtrain("lineage verify run", folder);
  INFO(good.out << good.err);
  CHECK(good.status == 0);
  CHECK_THAT(good.out, Contains("entries     10: 6 examples") && Catch::EndsWith("lineage verify OK\n"));
  CHECK(run_govtrain("lineage verify run/lineage --key run/lineage/log.vkey", folder).status == 0);
  const Output other = run_govtrain("lineage verify run --key nonsense", folder);
  CHECK(other.status == 2);

  const std::string bundle = folder + "/run/lineage/tile/entries/000.p/10";
  std::string bytes = read_text(bundle);
  bytes[bytes.find("\"w\":[1,1]") + 5] = '0';
  write_text(bundle, bytes);
  const Output bad = run_govtrain("lineage verify run", folder);
  CHECK(bad.status == 4);
  CHECK_THAT(bad.out, Contains("problem: "));
  CHECK_THAT(bad.err, Contains("lineage verify FAILED"));
  CHECK(run_govtrain("lineage show run", folder).status == 4);
  const Output none = run_govtrain("lineage verify .", folder);
  CHECK(none.status == 3);
  CHECK(none.err == "govtrain: error: there is no log in .; expected a run folder or the folder of a log\n");
}

TEST_CASE("lineage show filters and sums", "[cli][lineage]") {
  const std::string folder = make_run("verbs_show");
  const auto show = [&](const std::string& rest) { return run_govtrain("lineage show run " + rest, folder); };
  const auto lines = [](const std::string& text) { return std::count(text.begin(), text.end(), '\n'); };
  CHECK(lines(show("").out) == 10);
  CHECK(lines(show("--kind run").out) == 1);
  CHECK(lines(show("--step 1").out) == 3);
  CHECK(lines(show("--example " + std::string(63, 'a') + "2").out) == 2);
  CHECK(lines(show("--limit 2").out) == 2);
  CHECK(show("--limit 2").err == "2 of 10 matching entries shown; --limit 0 shows all\n");
  CHECK(show("--example bb").err == "none of the 10 entries matches (all were read and checked)\n");
  CHECK(show("5 0").out.substr(0, 2) == "5\t");
  CHECK(show("10").status == 2);
  CHECK(show("10").err == "govtrain: error: there is no entry 10; the log has 10 (0 to 9)\n");
  const std::string summary = show("--summary").out;
  CHECK_THAT(summary, Catch::StartsWith("source  licence  examples  excluded  tokens    embedding         head\n"
                                        "closed  NC              2         0     200  1.00  33.3%  0.00   0.0%\n"
                                        "free    MIT             4         0     400  1.00  66.7%  1.00 100.0%\n"));
}

TEST_CASE("lineage show --story tells control records and the training between them in order", "[cli][lineage]") {
  const std::string folder = make_run("verbs_story");
  const Output story = run_govtrain("lineage show run --story", folder);
  INFO(story.out << story.err);
  CHECK(story.status == 0);
  const auto profile = story.out.find("profile   id all");
  const auto training = story.out.find("4        0-1  train     6 examples, 600 tokens (all 4, shallow 2)");
  CHECK(profile != std::string::npos);
  CHECK(training != std::string::npos);
  CHECK(story.out.find("policy    p@00000000 with 1 entry") < profile);
  CHECK(profile < training);
  CHECK(run_govtrain("lineage show run --story --summary", folder).status == 2);
}

TEST_CASE("lineage prove makes a proof that checks without the log", "[cli][lineage]") {
  const std::string folder = make_run("verbs_prove");
  const auto run = [&](const std::string& rest) { return run_govtrain("lineage prove " + rest, folder); };
  REQUIRE(run("run 5 --out p.tlog-proof").status == 0);
  CHECK(run("run 5").out == read_text(folder + "/p.tlog-proof"));
  std::string entry = run_govtrain("lineage show run 5", folder).out.substr(2);
  write_text(folder + "/entry.json", entry);
  std::filesystem::copy(folder + "/run/lineage/log.vkey", folder + "/vkey");
  const std::string check = "--key vkey --check p.tlog-proof --entry ";
  CHECK(run(check + "entry.json").out == "the entry is number 5 of the 10 entries of test.local/log\n");
  entry[10] = static_cast<char>(entry[10] ^ 1);
  write_text(folder + "/changed.json", entry);
  CHECK(run(check + "changed.json").status == 4);
  CHECK(run("run --extends run/lineage/checkpoint").status == 0);
  CHECK(run("run").status == 2);
  CHECK(run("--check p.tlog-proof --entry entry.json").status == 2);
  CHECK(run("5").status != 0);
  CHECK(run("run 5 --extends run/lineage/checkpoint").status == 2);
  CHECK(run("run 99").status != 0);
}
