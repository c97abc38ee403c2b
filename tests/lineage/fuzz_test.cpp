// Hostile input: valid texts and files, mutated at random, go through every parser. Nothing may crash, and what is
// accepted must be what would have been written. Deterministic: the seeds are printed and fixed.
#include <catch2/catch.hpp>
#include <functional>

#include "lineage/checkpoint.h"
#include "lineage/log_format.h"
#include "lineage/proof.h"
#include "lineage/record.h"
#include "lineage/tiles.h"
#include "lineage/verify.h"
#include "lineage/writer.h"
#include "tests/lineage/fault_fs.h"
#include "tests/lineage/records.h"

using namespace govtrain;

namespace {

std::string mutated(std::string text, Random& random) {
  for (uint64_t n = 1 + random.below(4); n > 0; --n) {
    const size_t at = random.below(text.size() + 1);
    const size_t length = random.below(12);
    switch (random.below(7)) {
      case 0:
        text.insert(at, random.bytes(length));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.resize(at);
        break;
      case 3:
        text.insert(at, text.substr(random.below(text.size() + 1), length * 8));
        break;
      case 4:
        text.insert(at, std::string(length, "0123456789/x.[]{}\",:+-eE\n\0 "[random.below(27)]));
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
    }
  }
  return text;
}

// `parse` returns the text that the parsed value would be written as, or nothing.
void fuzz(const std::vector<std::string>& seeds, uint64_t seed, int rounds,
          const std::function<std::optional<std::string>(const std::string&)>& parse) {
  INFO("seed " << seed);
  Random random(seed);
  int refused = 0;
  for (int n = 0; n < rounds; ++n) {
    const std::string text = mutated(seeds[random.below(seeds.size())], random);
    const std::optional<std::string> again = parse(text);
    if (again && *again != text) FAIL("accepted, but written differently: " << text << " -> " << *again);
    refused += again ? 0 : 1;
  }
  CHECK(refused > rounds / 2);
  for (const std::string& good : seeds) REQUIRE(parse(good) == good);
}

template <class T, class Write>
std::optional<std::string> written(const Result<T>& value, const Write& write) {
  if (value.ok()) return write(value.value());
  REQUIRE_FALSE(value.status().message().empty());
  return std::nullopt;
}

}  // namespace

TEST_CASE("mutated keys, notes and checkpoints") {
  const NoteSigner signer = test_signer();
  const std::string text = checkpoint_text({signer.name(), 70000, sha256("x"), {}});
  fuzz({signer.public_key().text()}, 11, 20000, [](const std::string& s) {
    return written(NoteKey::parse(s), [&](const NoteKey& k) { return s.ends_with('\n') ? s : k.text(); });
  });
  fuzz({signer.private_text()}, 12, 20000, [](const std::string& s) {
    return written(NoteSigner::parse(s), [&](const NoteSigner& k) { return s.ends_with('\n') ? s : k.private_text(); });
  });
  fuzz({text, text + "extension\n"}, 13, 20000,
       [](const std::string& s) { return written(parse_checkpoint(s), checkpoint_text); });
  const std::vector<NoteKey> keys = {signer.public_key()};
  fuzz({signer.sign(text)}, 14, 10000, [&](const std::string& s) {
    return written(open_note(s, keys), [&](const std::string& opened) {
      REQUIRE(opened == text);  // whatever else was added, only the signed text comes out
      return s;
    });
  });
}

TEST_CASE("mutated paths, proofs and private state") {
  fuzz({"tile/0/000", "tile/63/x001/x234/067", "tile/entries/273.p/112", "tile/1/x001/000.p/1"}, 21, 50000,
       [](const std::string& s) { return written(parse_tile_path(s), tile_path); });
  EntryProof proof{7, {sha256("a"), sha256("b")}, test_signer().sign("o\n9\n"), ""};
  const std::string plain = entry_proof_text(proof);
  proof.extra = "more";
  fuzz({plain, entry_proof_text(proof)}, 22, 20000, [](const std::string& s) {
    return written(parse_entry_proof(s), [](const EntryProof& p) { return entry_proof_text(p); });
  });
  fuzz({tree_state_text({12, sha256("a"), "run \"1\""})}, 23, 20000,
       [](const std::string& s) { return written(parse_tree_state(s), tree_state_text); });
}

TEST_CASE("mutated records and bundles") {
  const auto example = [](const std::string& s) {
    return written(parse_example(s), [](const ExampleRecord& r) {
      std::string leaf;
      REQUIRE(write_leaf(leaf, r).ok());
      return leaf;
    });
  };
  fuzz({example_leaf(3, 1), excluded_leaf()}, 31, 30000, example);
  const std::string control =
      control_leaf("run", {{"a", {1.5, -2, "x\u00e9\n", nullptr, true}}, {"b", {{"c", 1e300}}}});
  fuzz({control, control_leaf("end", nlohmann::json::object())}, 32, 30000, [](const std::string& s) {
    return written(parse_control(s), [](const ControlRecord& r) {
      std::string leaf;
      REQUIRE(write_leaf(leaf, r).ok());
      return leaf;
    });
  });
  std::string bundle;
  for (const char* entry : {"one", "", "three"}) append_bundle_entry(bundle, entry);
  fuzz({bundle}, 33, 30000, [](const std::string& s) {
    return written(split_bundle(s, 3), [](const std::vector<std::string_view>& entries) {
      std::string again;
      for (const std::string_view entry : entries) append_bundle_entry(again, entry);
      return again;
    });
  });
}

TEST_CASE("a log with random files is refused by verifier, reader and writer, and not changed") {
  FaultFs good;
  {
    Result<LogWriter> log = LogWriter::create(good, "log", test_signer(), "run");
    REQUIRE(log.ok());
    std::vector<std::string> leaves = opening();
    for (int i = 0; i < 300; ++i) leaves.push_back(example_leaf(i, 0));
    REQUIRE(log.value().put_provenance("{}").ok());
    for (const std::string& leaf : leaves) REQUIRE(log.value().append(leaf).ok());
    REQUIRE(log.value().flush().ok());
  }
  const NoteSigner signer = test_signer();
  Random random(41);
  INFO("seed 41");
  const std::vector<std::string> files = {"checkpoint",           ".state/treeState", "tile/0/000",
                                          "tile/0/001.p/47",      "tile/1/000.p/1",   "tile/entries/000",
                                          "tile/entries/001.p/47"};
  for (int n = 0; n < 120; ++n) {
    FaultFs fs = good.after_exit();
    const std::string path = "log/" + files[random.below(files.size())];
    const std::string before = fs.read(path).value();
    const std::string after = mutated(before, random);
    if (after == before || (parse_tree_state(after).ok() && path.ends_with("treeState"))) continue;
    REQUIRE(fs.write(path, after).ok());
    INFO(path);
    const VerifyReport report = verify_log(fs, "log", signer.public_key());
    REQUIRE_FALSE(report.ok());
    Result<LogReader> reader = LogReader::open(fs, "log", signer.public_key());
    if (reader.ok()) (void)reader.value().visit(0, UINT64_MAX, [](uint64_t, std::string_view) { return true; }).ok();
    const Result<LogWriter> writer = LogWriter::open(fs, "log", signer);
    if (!writer.ok()) REQUIRE(fs.read(path).value() == after);
  }
}
