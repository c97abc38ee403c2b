// Preparation: excluded is absent, the order of the input is nothing, the cache key is exact, and a failed disk leaves
// nothing half-written.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

#include "core/parallel.h"
#include "tests/tools/data_fixture.h"

using namespace govtrain;
using namespace govtrain::test;
using nlohmann::json;

namespace {

// Every file that training reads.
std::map<std::string, std::string> training_files(const std::string& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name != "excluded.jsonl" && name != "prepare.json") out[name] = get(entry.path().string());
  }
  return out;
}

PrepareOptions trained_options() {
  PrepareOptions options;
  options.tokenizer.vocab_size = 340;
  options.validation_fraction = 0.2;
  return options;
}

// Passes everything on to the real file system; operation `fail_at` fails, and with `persistent` all later ones too.
class FailingFs : public FileSystem {
 public:
  int operations = 0, fail_at = -1;
  bool persistent = false;

  Result<std::string> read(const std::string& p) override {
    if (fails()) return error(p);
    return real_.read(p);
  }
  Status write(const std::string& p, std::string_view bytes) override {
    if (!fails()) return real_.write(p, bytes);
    (void)real_.write(p, bytes.substr(0, bytes.size() / 2)).ok();
    return error(p);
  }
  Status append(const std::string& p, std::string_view b) override { return fails() ? error(p) : real_.append(p, b); }
  Status sync_file(const std::string& p) override { return fails() ? error(p) : real_.sync_file(p); }
  Status sync_dir(const std::string& p) override { return fails() ? error(p) : real_.sync_dir(p); }
  Status rename(const std::string& a, const std::string& b) override { return fails() ? error(a) : real_.rename(a, b); }
  Status remove(const std::string& p) override { return fails() ? error(p) : real_.remove(p); }
  Status remove_all(const std::string& p) override { return fails() ? error(p) : real_.remove_all(p); }
  Status make_dirs(const std::string& p) override { return fails() ? error(p) : real_.make_dirs(p); }
  bool exists(const std::string& p) override { return real_.exists(p); }
  Result<std::vector<std::string>> list(const std::string& p) override {
    if (fails()) return error(p);
    return real_.list(p);
  }

 private:
  bool fails() {
    const int now = operations++;
    return now == fail_at || (persistent && fail_at >= 0 && now > fail_at);
  }
  static Status error(const std::string& path) { return {StatusCode::no_space, path + ": injected"}; }
  FileSystem& real_ = real_file_system();
};

}  // namespace

TEST_CASE("excluded documents are absent: deleting or replacing them changes no byte that training reads", "[data]") {
  for (const uint64_t seed : {1, 2, 3}) {
    CAPTURE(seed);
    const TempDir dir;
    const std::vector<Item> all = items(45, seed);
    const auto with = prepare_items(dir, all, trained_options(), exclude_secret);
    CHECK(with.excluded == 15);
    const auto expected = training_files(with.folder);
    REQUIRE(expected.size() == 4);

    std::vector<Item> deleted = all;
    std::erase_if(deleted, [](const Item& i) { return i.meta["license"] == "secret"; });
    const auto without = prepare_items(dir, deleted, trained_options(), exclude_secret);
    CHECK(without.key != with.key);
    CHECK(training_files(without.folder) == expected);

    std::vector<Item> replaced = all;
    for (size_t i = 0; i < replaced.size(); i += 3) {
      // Anything: other text, the text of an admitted document, very long, strange characters.
      replaced[i].text = i % 9 == 0   ? all[i + 1].text
                         : i % 9 == 3 ? prose(seed + 77 + i, 3000)
                                      : "\xE2\x96\x81 \xF0\x9F\x98\x80 zzzz";
    }
    const auto other = prepare_items(dir, replaced, trained_options(), exclude_secret);
    CHECK(other.key != with.key);
    CHECK(training_files(other.folder) == expected);

    // Not vacuous: without the exclusion the files differ.
    CHECK(training_files(prepare_items(dir, all, trained_options()).folder) != expected);
  }
}

TEST_CASE("the order and the files of the input change nothing, neither do threads", "[data]") {
  const TempDir dir;
  std::vector<Item> list = items(60);
  const auto first = prepare_items(dir, list, trained_options(), exclude_secret);
  const auto expected = training_files(first.folder);
  const std::string excluded = get(first.folder + "/excluded.jsonl");
  const int threads = thread_count();
  const Rng rng(3, Stream::test);
  for (uint64_t trial = 0; trial < 4; ++trial) {
    for (size_t i = list.size() - 1; i > 0; --i) {
      std::swap(list[i], list[rng.bits(trial * 1000 + i) % (i + 1)]);
    }
    set_thread_count(trial % 2 == 0 ? 1 : 2);
    PrepareOptions options = trained_options();
    options.cache = dir / ("cache" + std::to_string(trial));
    const size_t half = list.size() / 2;
    put(dir / "x.jsonl", jsonl({list.begin(), list.begin() + static_cast<std::ptrdiff_t>(half)}));
    put(dir / "y.jsonl", jsonl({list.begin() + static_cast<std::ptrdiff_t>(half), list.end()}));
    options.inputs = {dir / "x.jsonl", dir / "y.jsonl"};
    const auto report = prepare(real_file_system(), options, exclude_secret);
    REQUIRE(report.ok());
    CHECK(report.value().key == first.key);
    CHECK_FALSE(report.value().hit);
    CHECK(training_files(report.value().folder) == expected);
    CHECK(get(report.value().folder + "/excluded.jsonl") == excluded);
  }
  set_thread_count(threads);
}

TEST_CASE("equal texts are joined and keep all their provenances", "[data]") {
  const TempDir dir;
  const std::string text = prose(9, 50);
  std::vector<Item> list = {{text, {{"source", "b"}, {"license", "MIT"}}},
                            {"\xEF\xBB\xBF" + text, {{"source", "a"}, {"license", "CC0-1.0"}}},  // equal after cleaning
                            {text, {{"source", "b"}, {"license", "MIT"}}},  // the same record again
                            {text, {{"source", "c"}, {"license", "secret"}}},
                            {prose(10, 50), {{"source", "d"}}}};
  const auto report = prepare_items(dir, list, byte_options(0), exclude_secret);
  CHECK(report.documents == 2);
  CHECK(report.duplicates == 2);
  CHECK(report.excluded == 1);
  const Dataset set = open_dataset(report.folder);
  const Digest digest = sha256(text);
  const auto found = std::find_if(set.documents().begin(), set.documents().end(),
                                  [&](const DatasetDocument& d) { return d.digest == digest; });
  REQUIRE(found != set.documents().end());
  CHECK(found->provenance ==
        std::vector<json>{{{"source", "a"}, {"license", "CC0-1.0"}}, {{"source", "b"}, {"license", "MIT"}}});
  const json excluded = json::parse(get(report.folder + "/excluded.jsonl"));
  CHECK(excluded == json({{"id", hex(digest)},
                          {"provenance", {{"source", "c"}, {"license", "secret"}}},
                          {"reason", "rule 'no secrets'"}}));
  // No text of excluded records is kept anywhere.
  list[3].text = "uniquesecretword";
  const auto secret = prepare_items(dir, list, byte_options(0), exclude_secret);
  for (const auto& entry : std::filesystem::directory_iterator(secret.folder)) {
    CHECK(get(entry.path().string()).find("uniquesecretword") == std::string::npos);
  }
}

TEST_CASE("exclusion by digest removes every record with that text", "[data]") {
  const TempDir dir;
  const std::string text = prose(9, 50);
  const std::vector<Item> list = {{text, {{"source", "a"}}}, {text, {{"source", "b"}}}, {prose(8, 9), json::object()}};
  const Digest banned = sha256(text);
  const auto report = prepare_items(dir, list, byte_options(0), [&](const std::vector<Origin>&, const Digest& d) {
    return d == banned ? std::optional<std::string>("listed") : std::nullopt;
  });
  CHECK(report.excluded == 2);
  CHECK(report.documents == 1);
}

TEST_CASE("the cache hits when nothing changed, and misses when anything did", "[data]") {
  const TempDir dir;
  const std::vector<Item> list = items(12);
  const auto first = prepare_items(dir, list, byte_options(), exclude_secret);
  CHECK_FALSE(first.hit);
  const auto again = prepare_items(dir, list, byte_options(), exclude_secret);
  CHECK(again.hit);
  CHECK(again.key == first.key);
  CHECK(again.tokens == first.tokens);
  CHECK(again.train_documents == first.train_documents);
  CHECK(describe(first).find("data cache miss: " + first.key) == 0);
  CHECK(describe(again).find("data cache hit: " + first.key) == 0);

  std::set<std::string> keys = {first.key};
  const auto fresh = [&](const std::vector<Item>& items, const PrepareOptions& options, const Exclude& exclude) {
    const auto report = prepare_items(dir, items, options, exclude);
    CHECK_FALSE(report.hit);
    CHECK(keys.insert(report.key).second);
  };
  fresh(list, byte_options(), {});  // another policy
  std::vector<Item> changed = list;
  changed[1].text += "x";
  fresh(changed, byte_options(), exclude_secret);
  changed = list;
  changed[1].meta["license"] = "MIT";
  fresh(changed, byte_options(), exclude_secret);
  changed = list;
  changed[0].text += "x";  // an excluded document: excluded.jsonl names another id
  fresh(changed, byte_options(), exclude_secret);
  PrepareOptions options = byte_options();
  options.validation_fraction = 0.25;
  fresh(list, options, exclude_secret);
  options = byte_options();
  options.cleaning.max_blank_lines = 1;
  fresh(list, options, exclude_secret);
  options = byte_options();
  options.cleaning.min_chars = 200;
  fresh(list, options, exclude_secret);
  options = trained_options();
  fresh(list, options, exclude_secret);
  options.tokenizer.vocab_size = 341;
  fresh(list, options, exclude_secret);
  options.tokenizer.training_bytes = 3000;
  fresh(list, options, exclude_secret);

  // A damaged cache is an error, not a silent rebuild and not a silent use.
  put(first.folder + "/tokens.bin", "rubbish");
  CHECK(message_of([&] { prepare_items(dir, list, byte_options(), exclude_secret); }).find("tokens.bin: 7 bytes") !=
        std::string::npos);
}

TEST_CASE("records that are excluded only together are as absent as those excluded alone", "[data]") {
  const Exclude both = [](const std::vector<Origin>& origins, const Digest&) -> std::optional<std::string> {
    std::set<std::string> sources;
    for (const Origin& origin : origins) sources.insert(origin.meta["source"].get<std::string>());
    return sources.contains("low") && sources.contains("high") ? std::optional<std::string>("both") : std::nullopt;
  };
  const TempDir dir;
  const std::vector<Item> others = items(40, 5);
  const std::string text = prose(6, 400) + " zqx zqx zqx";
  std::vector<Item> list = others;
  list.push_back({text, {{"source", "low"}}});
  list.push_back({text, {{"source", "high"}}});
  list.push_back({text, {{"source", "low"}}});
  const auto with = prepare_items(dir, list, trained_options(), both);
  CHECK(with.excluded == 3);
  CHECK(with.duplicates == 0);
  CHECK(with.documents == 40);
  const json line = json::parse(get(with.folder + "/excluded.jsonl"));
  CHECK(line["provenance"] == json::parse(R"([{"source": "high"}, {"source": "low"}])"));
  CHECK(line["reason"] == "both");
  CHECK(training_files(with.folder) == training_files(prepare_items(dir, others, trained_options(), both).folder));
  list.erase(list.end() - 2);  // the test can fail: one source alone is admitted
  CHECK(prepare_items(dir, list, trained_options(), both).documents == 41);
}

TEST_CASE("options and inputs that leave nothing are clear errors", "[data]") {
  const TempDir dir;
  const std::vector<Item> list = items(6);
  PrepareOptions options = byte_options();
  const auto message = [&](const Exclude& exclude = {}) {
    return message_of([&] { prepare_items(dir, list, options, exclude); });
  };
  CHECK(message([](const std::vector<Origin>&, const Digest&) { return std::optional<std::string>("all"); }) ==
        "[data] no document is left of 6 records: 6 are excluded by the policy and 0 are too short");
  options.cleaning.min_chars = 1'000'000;
  CHECK(message() == "[data] no document is left of 6 records: 0 are excluded by the policy and 6 are too short");
  options.cleaning.min_chars = 0;
  CHECK(message() == "[data] min_chars is 0; expected at least 1");
  options = byte_options(1.0);
  CHECK(message() == "[data] validation_fraction is 1; expected 0 <= fraction < 1");
  options = byte_options(std::nan(""));
  CHECK(message() == "[data] validation_fraction is nan; expected 0 <= fraction < 1");
  options = byte_options();
  options.cleaning.max_blank_lines = -2;
  CHECK(message() == "[data] max_blank_lines is -2; expected -1 (keep all) or more");
  options = byte_options();
  put(dir / "file", "in the way");
  options.cache = dir / "file";
  CHECK(message().find("in the way") == std::string::npos);
  CHECK(get(dir / "file") == "in the way");
  CHECK_FALSE(std::filesystem::exists(dir / "cache"));
}

TEST_CASE("whichever disk operation fails, the folder is whole or absent, and the next try succeeds", "[data]") {
  const std::vector<Item> list = items(8);
  int failed = 0;
  for (const bool persistent : {false, true}) {
    for (int fail_at = 0;; ++fail_at) {
      const TempDir dir;
      CAPTURE(persistent, fail_at);
      FailingFs fs;
      fs.fail_at = fail_at;
      fs.persistent = persistent;
      put(dir / "in.jsonl", jsonl(list));
      PrepareOptions options = byte_options();
      options.inputs = {dir / "in.jsonl"};
      options.cache = dir / "cache";
      const auto report = prepare(fs, options);
      if (fs.operations <= fail_at) {
        CHECK(report.ok());
        break;
      }
      // Failing to remove what is left of an earlier run is no reason to fail when there was nothing.
      if (!report.ok()) {
        ++failed;
        CHECK(report.status().message().find("injected") != std::string::npos);
      }
      if (std::filesystem::exists(options.cache)) {
        for (const auto& entry : std::filesystem::directory_iterator(options.cache)) {
          const std::string name = entry.path().filename().string();
          if (entry.is_directory() && name[0] != '.') CHECK(Dataset::open(entry.path().string()).ok());
        }
      }
      put(options.cache + "/.tmp-of-another-key/tokens.bin", "left by a killed prepare");
      if (fail_at % 2 == 0 && !report.ok()) options.validation_fraction = 0.3;  // another key than the failed one
      const auto retry = prepare(real_file_system(), options);
      REQUIRE(retry.ok());
      CHECK(Dataset::open(retry.value().folder).ok());
      for (const auto& entry : std::filesystem::directory_iterator(options.cache)) {
        if (!retry.value().hit) CHECK(entry.path().filename().string().substr(0, 4) != ".tmp");
      }
    }
  }
  CHECK(failed > 30);
}
