// Opening prepared corpora: what was written is read, and every kind of damage has its own message.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/tools/data_fixture.h"

using namespace govtrain;
using namespace govtrain::test;
using nlohmann::json;

namespace {

// A prepared folder whose files may be changed, with the manifest's checksums made to fit again.
struct Folder {
  TempDir dir;
  std::string path;
  std::vector<Item> list = items(10);

  explicit Folder(PrepareOptions options = byte_options()) { path = prepare_items(dir, list, options).folder; }

  void write(const std::string& name, const std::string& bytes, bool fix_manifest = true) {
    put(path + "/" + name, bytes);
    if (!fix_manifest) return;
    json manifest = json::parse(get(path + "/manifest.json"));
    manifest["files"][name] = {{"bytes", bytes.size()}, {"sha256", hex(sha256(bytes))}};
    put(path + "/manifest.json", manifest.dump());
  }
  std::string open() const {
    const auto set = Dataset::open(path);
    if (set.ok()) return "(opened)";
    std::string text = set.status().message();
    for (size_t at; (at = text.find(path + "/")) != std::string::npos;) text.erase(at, path.size() + 1);
    return text;
  }
};

std::string set_number(std::string bytes, size_t at, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
  return bytes;
}

const std::string advice = ". Delete the folder and run 'govtrain data prepare' again";

}  // namespace

TEST_CASE("a prepared corpus reads back as what went in", "[data]") {
  for (const char* kind : {"bytes", "sentencepiece"}) {
    PrepareOptions options = byte_options();
    options.tokenizer.kind = kind;
    options.tokenizer.vocab_size = 320;
    const Folder folder(options);
    const Dataset set = open_dataset(folder.path);
    REQUIRE(set.documents().size() == folder.list.size());
    CHECK(set.tokenizer().kind() == kind);
    CHECK(set.digest() == sha256(get(folder.path + "/manifest.json")));
    std::map<std::string, const Item*> by_id;
    for (const Item& i : folder.list) by_id[hex(sha256(i.text))] = &i;
    uint64_t tokens = 0;
    for (const DatasetDocument& d : set.documents()) {
      REQUIRE(by_id.count(hex(d.digest)) == 1);
      const Item& item = *by_id[hex(d.digest)];
      CHECK(d.provenance == std::vector<json>{item.meta});
      CHECK((d.split == Split::validation) == in_validation(d.digest, 0.2));
      std::vector<int32_t> ids;
      for (uint64_t i = 0; i < d.tokens; ++i) ids.push_back(set.token(d.begin + i));
      CHECK(set.tokenizer().decode(ids) == item.text);
      tokens += d.tokens;
    }
    CHECK(set.tokens() == tokens);
  }
}

TEST_CASE("vocabularies above 65536 take four bytes a token", "[data]") {
  PrepareOptions options = byte_options();
  const Folder folder(options);
  // The same corpus, widened by hand: the reader must not care.
  const Dataset narrow = open_dataset(folder.path);
  std::string bytes = get(folder.path + "/tokens.bin");
  std::string wide = set_number(bytes.substr(0, 64), 12, 4, 4);
  for (size_t i = 64; i < bytes.size(); i += 2) wide += bytes.substr(i, 2) + std::string(2, '\0');
  Folder other(options);
  other.write("tokens.bin", wide);
  const Dataset set = open_dataset(other.path);
  REQUIRE(set.tokens() == narrow.tokens());
  for (uint64_t i = 0; i < set.tokens(); ++i) REQUIRE(set.token(i) == narrow.token(i));
}

TEST_CASE("damaged token files have exact messages", "[data]") {
  Folder f;
  const std::string good = get(f.path + "/tokens.bin");
  const uint64_t tokens = (good.size() - 64) / 2;
  const std::string maker = json::parse(get(f.path + "/manifest.json"))["made_by"];
  struct Row {
    std::string bytes, message;
  };
  const std::vector<Row> rows = {
      {"", "tokens.bin: 0 bytes; a header has 64: it is truncated"},
      {good.substr(0, 63), "tokens.bin: 63 bytes; a header has 64: it is truncated"},
      {"x" + good.substr(1), "tokens.bin: not a govtrain token file: it does not start with GVTTOKNS"},
      {set_number(good, 8, 2, 4),
       "tokens.bin: token file of version 2, made by " + maker + "; this program reads version 1"},
      {set_number(good, 12, 3, 4), "tokens.bin: 3 bytes per token; expected 2 or 4"},
      {set_number(good, 12, 0, 4), "tokens.bin: 0 bytes per token; expected 2 or 4"},
      {good.substr(0, good.size() - 2),
       fmt::format("tokens.bin: the header says {} tokens, but the file has room for {}: "
                   "it is truncated or changed",
                   tokens, tokens - 1)},
      {good.substr(0, good.size() - 1),
       fmt::format("tokens.bin: the header says {} tokens, but the file has room for {}: "
                   "it is truncated or changed",
                   tokens, tokens - 1)},
      {set_number(good, 16, ~uint64_t{0}, 8),
       fmt::format("tokens.bin: the header says 18446744073709551615 tokens, but the "
                   "file has room for {}: it is truncated or changed",
                   tokens)},
      {set_number(good, 24, 11, 8),
       fmt::format("documents.jsonl: 10 documents with {} tokens; the token file says 11 with {}", tokens, tokens)},
      {set_number(good, 32, 999, 4), "tokens.bin: made for a vocabulary of 999; the tokenizer has 258"},
      {set_number(good, 64 + 2 * 5, 258, 2), "tokens.bin: token 5 is 258, outside the vocabulary of 258"},
  };
  for (const Row& row : rows) {
    f.write("tokens.bin", row.bytes);
    CHECK(f.open() == row.message + advice);
  }
  f.write("tokens.bin", good);
  CHECK(f.open() == "(opened)");
  std::string flipped = good;
  flipped[70] = static_cast<char>(flipped[70] ^ 1);
  f.write("tokens.bin", flipped, false);
  CHECK(f.open() == "tokens.bin: its SHA-256 is " + hex(sha256(flipped)) + "; the manifest says " + hex(sha256(good)) +
                        ": it was changed" + advice);
}

TEST_CASE("damaged document lists, manifests and tokenizers have clear messages", "[data]") {
  Folder f;
  const std::string good = get(f.path + "/documents.jsonl");
  std::vector<std::string> lines;
  for (size_t at = 0; at < good.size();) {
    const size_t end = good.find('\n', at);
    lines.push_back(good.substr(at, end - at));
    at = end + 1;
  }
  const auto edited = [&](size_t line, const std::function<void(json&)>& edit) {
    std::string out;
    for (size_t i = 0; i < lines.size(); ++i) {
      json object = json::parse(lines[i]);
      if (i == line) edit(object);
      out += object.dump() + "\n";
    }
    return out;
  };
  std::string deep = good;
  for (int i = 0; i < 100000; ++i) deep += '[';
  struct Row {
    std::string bytes, message;
  };
  const std::vector<Row> rows = {
      {good.substr(0, good.size() - 1), "documents.jsonl:10: the line has no end: the file is truncated"},
      {lines[0] + "\n", "documents.jsonl: 1 documents with"},
      {"{}\n", "documents.jsonl:1: 'id' is missing"},
      {"[]\n", "documents.jsonl:1: not a JSON object"},
      {deep + "\n", "documents.jsonl:11: not a JSON object"},
      {edited(2, [](json& o) { o["id"] = 5; }), "documents.jsonl:3: 'id' is not a string"},
      {edited(2, [](json& o) { o["id"] = "abc"; }), "documents.jsonl:3: 'id' is not a SHA-256 in 64 hex digits"},
      {edited(2, [](json& o) { o["id"] = std::string(64, '0'); }),
       "documents.jsonl:3: documents are not in ascending order"},
      {edited(2, [](json& o) { o["split"] = "test"; }),
       "documents.jsonl:3: split 'test'; expected train or validation"},
      {edited(2, [](json& o) { o["begin"] = 0; }), "documents.jsonl:3: tokens "},
      {edited(2, [](json& o) { o["begin"] = -1; }), "documents.jsonl:3: 'begin' is not a whole number"},
      {edited(2, [](json& o) { o["tokens"] = 0; }), "documents.jsonl:3: tokens 0 from"},
      {edited(2, [](json& o) { o["tokens"] = ~uint64_t{0}; }), "documents.jsonl:3: tokens 18446744073709551615 from"},
      {edited(9, [](json& o) { o["tokens"] = o["tokens"].get<int>() + 1; }), "documents.jsonl:10: tokens "},
      {edited(2, [](json& o) { o["provenance"] = json::array(); }), "documents.jsonl:3: 'provenance' is not a list"},
      {edited(2, [](json& o) { o["provenance"] = {"x"}; }), "documents.jsonl:3: 'provenance' holds something"},
  };
  for (const Row& row : rows) {
    f.write("documents.jsonl", row.bytes);
    const std::string text = f.open();
    CAPTURE(text, row.message);
    CHECK(text.find(row.message) == 0);
    CHECK(text.find(advice) != std::string::npos);
  }
  f.write("documents.jsonl", good);
  REQUIRE(f.open() == "(opened)");

  const std::string manifest = get(f.path + "/manifest.json");
  const std::vector<std::pair<std::function<void(json&)>, std::string>> edits = {
      {[](json& m) { m["format"] = "other"; }, "manifest.json: 'format' is not govtrain-data"},
      {[](json& m) { m["version"] = 7; }, "manifest.json: prepared corpus of version 7, made by govtrain"},
      {[](json& m) { m.erase("files"); }, "manifest.json: 'files' or 'tokenizer' is not an object"},
      {[](json& m) { m["tokenizer"]["kind"] = "magic"; }, "open tokenizer.model"},
      {[](json& m) { m["files"].erase("tokens.bin"); }, "tokens.bin: the manifest does not list it"},
      {[](json& m) { m["files"]["tokens.bin"]["sha256"] = "00"; }, "tokens.bin: 'sha256' is not a SHA-256"},
  };
  for (const auto& [edit, message] : edits) {
    json object = json::parse(manifest);
    edit(object);
    put(f.path + "/manifest.json", object.dump());
    const std::string text = f.open();
    CAPTURE(text, message);
    CHECK(text.find(message) == 0);
  }
  put(f.path + "/manifest.json", manifest.substr(0, 20));
  CHECK(f.open() == "manifest.json: not a JSON object" + advice);
  put(f.path + "/manifest.json", manifest);
  f.write("tokenizer.bytes", "other", true);
  CHECK(f.open() == "tokenizer.bytes: not a byte tokenizer of version 1" + advice);
  std::filesystem::remove(f.path + "/manifest.json");
  CHECK(Dataset::open(f.path).status().code() == StatusCode::not_found);
  CHECK(Dataset::open("/nonexistent/folder").status().code() == StatusCode::not_found);
}

TEST_CASE("random damage never opens and never crashes", "[data]") {
  Folder f;
  const uint64_t seed = 11;
  const Rng rng(seed, Stream::test);
  uint64_t at = 0;
  for (const char* name : {"tokens.bin", "documents.jsonl", "tokenizer.bytes", "manifest.json"}) {
    const std::string good = get(f.path + "/" + name);
    for (int trial = 0; trial < 150; ++trial) {
      CAPTURE(seed, name, trial);
      std::string bytes = good;
      if (rng.bits(at++) % 3 == 0) {
        bytes.resize(rng.bits(at++) % bytes.size());
      } else {
        const size_t place = rng.bits(at++) % bytes.size();
        bytes[place] = static_cast<char>(bytes[place] ^ (1 + rng.bits(at++) % 255));
      }
      put(f.path + "/" + name, bytes);
      const auto set = Dataset::open(f.path);
      // The manifest has no checksum of its own: a change of a number that nothing depends on may pass, and gives
      // another dataset digest.
      if (std::string(name) != "manifest.json") {
        CHECK_FALSE(set.ok());
      } else if (set.ok()) {
        CHECK(set.value().digest() != sha256(good));
      }
    }
    put(f.path + "/" + name, good);
  }
  CHECK(f.open() == "(opened)");
}
