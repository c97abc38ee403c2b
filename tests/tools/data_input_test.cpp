// Reading of inputs: what is accepted, and the exact message for each kind of malformed input.
#include <zlib.h>
#include <zstd.h>

#include <catch2/catch.hpp>

#include "tests/tools/data_fixture.h"
#include "tools/govtrain/data/byte_source.h"
#include "tools/govtrain/data/input.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

std::string gzip(const std::string& bytes) {
  z_stream z{};
  REQUIRE(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(bytes.size() + 1000, '\0');
  std::string in = bytes;
  z.next_in = reinterpret_cast<Bytef*>(in.data());
  z.avail_in = static_cast<uInt>(in.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string zstd(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

std::string many(const std::string& part, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += part;
  return out;
}

const std::string good = R"({"text":"fine","meta":{"license":"CC0-1.0"}})"
                         "\n";

}  // namespace

TEST_CASE("malformed JSON lines give one exact message with the place", "[data]") {
  struct Row {
    std::string content, at, message;
  };
  const std::vector<Row> rows = {
      {"", "", "the file is empty"},
      {good + "\n" + good, ":2", "the line is empty"},
      {"{\"text\":\"a\"", ":1:12",
       "not valid JSON: syntax error while parsing object - unexpected end of input; "
       "expected '}'"},
      {good + "{text:1}\n", ":2:3", "not valid JSON: syntax error while parsing object key - invalid literal"},
      {"[1,2]\n", ":1", "a JSON array; expected an object with \"text\" and \"meta\""},
      {"\"text\"\n", ":1", "a JSON string; expected an object with \"text\" and \"meta\""},
      {"{\"meta\":{}}\n", ":1", "\"text\" is missing"},
      {"{\"text\":\"\",\"meta\":{}}\n", ":1", "\"text\" is empty"},
      {"{\"text\":\" \\n\\t \"}\n", ":1", "\"text\" is empty"},
      {"{\"text\":7}\n", ":1", "\"text\" is a number; expected a string"},
      {"{\"text\":null}\n", ":1", "\"text\" is a null; expected a string"},
      {"{\"text\":\"a\",\"meta\":[]}\n", ":1", "\"meta\" is a array; expected an object"},
      {"{\"text\":\"a\",\"meta\":null}\n", ":1", "\"meta\" is a null; expected an object"},
      {"{\"txet\":\"a\"}\n", ":1", "unknown key 'txet'; expected \"text\" and \"meta\"; did you mean 'text'?"},
      {"{\"text\":\"a\",\"licence\":\"MIT\"}\n", ":1",
       "unknown key 'licence'; expected \"text\" and \"meta\"; other facts about the document belong into \"meta\""},
      {"{\"text\":\"a\",\"text\":\"b\"}\n", ":1", "the key 'text' occurs twice in one object"},
      {"{\"text\":\"a\",\"meta\":{\"x\":{\"k\":1,\"k\":2}}}\n", ":1", "the key 'k' occurs twice in one object"},
      {"{\"text\":\"a\xff\"}\n", ":1:11", "not valid UTF-8"},
      {"{\"text\":\"\xed\xa0\x80\"}\n", ":1:10", "not valid UTF-8"},
      {"{\"text\":\"a\\u0000b\"}\n", ":1", "\"text\" contains a NUL character at byte 1"},
      {"{\"text\":\"a\",\"meta\":{\"k\":[\"\\u0000\"]}}\n", ":1", "\"meta\" contains a NUL character"},
      {"{\"text\":\"a\",\"meta\":" + many("[", 100000) + "\n", ":1", "nested deeper than 32 levels"},
      {"{\"text\":\"a\"} {\"text\":\"b\"}\n", ":1:14",
       "not valid JSON: syntax error while parsing value - unexpected '{'; expected end of input"},
  };
  const TempDir dir;
  const std::string path = dir / "bad.jsonl";
  for (const Row& row : rows) {
    CAPTURE(row.message, row.content.substr(0, 60));
    put(path, row.content);
    CHECK(message_of([&] { read_inputs({path}); }) ==
          "[data] 1 problem in the inputs; nothing was written\n  " + path + row.at + ": " + row.message);
  }
}

TEST_CASE("malformed files give one exact message", "[data]") {
  const TempDir dir;
  const std::string packed = gzip(good + jsonl(items(200)));
  const std::string packed_zstd = zstd(good + jsonl(items(200)));
  struct Row {
    std::string name, content, at, message;
  };
  const std::vector<Row> rows = {
      {"cut.jsonl.gz", packed.substr(0, 15), ":1", "the gzip data ends too early: the file is truncated"},
      {"bad.jsonl.gz", packed.substr(0, 10) + "\xff\xff\xff\xff", ":1", "not valid gzip data: invalid block type"},
      {"tail.jsonl.gz", gzip(good) + "junk", ":2", "not valid gzip data: incorrect header check"},
      {"cut.jsonl.zst", packed_zstd.substr(0, 20), ":1", "the zstd data ends too early: the file is truncated"},
      {"long.jsonl", "{\"text\":\"" + std::string(max_line_bytes, 'a') + "\"}\n", ":1",
       "the line is longer than 67108864 bytes; split the document"},
      {"bomb.jsonl.gz", gzip(std::string(max_line_bytes + 100, 'a')), ":1",
       "the line is longer than 67108864 bytes; split the document"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.name);
    const std::string path = dir / row.name;
    put(path, row.content);
    CHECK(message_of([&] { read_inputs({path}); }) ==
          "[data] 1 problem in the inputs; nothing was written\n  " + path + row.at + ": " + row.message);
  }
  CHECK(message_of([&] { read_inputs({dir / "none.jsonl"}); }) ==
        "[data] 1 problem in the inputs; nothing was written\n  " + (dir / "none.jsonl") +
            ": no such file or folder (tried " + (dir / "none.jsonl") + ")");
  CHECK(message_of([&] { read_inputs({}); }) ==
        "[data] there are no inputs; expected at least one path in data.inputs");
}

TEST_CASE("all problems of all files are reported at once, at most 20", "[data]") {
  const TempDir dir;
  put(dir / "a.jsonl", good + "x\n" + good + "{\"text\":1}\n");
  put(dir / "b.jsonl", "{\"text\":\"\"}\n");
  const std::string text = message_of([&] { read_inputs({dir / "a.jsonl", dir / "b.jsonl"}); });
  CAPTURE(text);
  CHECK(text.find("[data] 3 problems") == 0);
  CHECK(text.find("a.jsonl:2:1: not valid JSON") != std::string::npos);
  CHECK(text.find("a.jsonl:4: \"text\" is a number") != std::string::npos);
  CHECK(text.find("b.jsonl:1: \"text\" is empty") != std::string::npos);
  put(dir / "c.jsonl", many("x\n", 1000));
  const std::string full = message_of([&] { read_inputs({dir / "c.jsonl"}); });
  CHECK(full.find("[data] 20 problems") == 0);
  CHECK(full.find("c.jsonl:20:1") != std::string::npos);
  CHECK(full.find("c.jsonl:21:1") == std::string::npos);
  CHECK(full.find("(there may be more)") != std::string::npos);
}

TEST_CASE("plain, gzip, multi-member gzip and zstd hold the same records", "[data]") {
  const TempDir dir;
  const std::string text = jsonl(items(300)), half = jsonl(items(100));
  put(dir / "a.jsonl", text);
  put(dir / "b.jsonl.gz", gzip(text));
  put(dir / "c.jsonl.zst", zstd(text));
  put(dir / "d.jsonl.gz", gzip(half) + gzip(text.substr(half.size())));
  put(dir / "e.jsonl", text.substr(0, text.size() - 1));  // no line end at the end of the file
  const auto plain = read_inputs({dir / "a.jsonl"});
  REQUIRE(plain.size() == 300);
  for (const char* name : {"b.jsonl.gz", "c.jsonl.zst", "d.jsonl.gz", "e.jsonl"}) {
    CAPTURE(name);
    const auto other = read_inputs({dir / name});
    REQUIRE(other.size() == plain.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      CHECK(other[i].text == plain[i].text);
      CHECK(other[i].meta == plain[i].meta);
    }
  }
}

TEST_CASE("folders of text take their metadata from sources.yaml", "[data]") {
  const TempDir dir;
  put(dir / "t/novels/emma.txt", "Emma Woodhouse");
  put(dir / "t/notes/a.md", "A note");
  put(dir / "t/more.jsonl", good);
  put(dir / "t/.hidden", "not read");
  put(dir / "t/sources.yaml",
      "sources:\n"
      "  - files: \"novels/*\"\n    meta: {license: CC0-1.0, version: 1.10, tags: [a, b]}\n"
      "  - files: \"*\"\n    meta: {license: MIT, source: mine}\n");
  const auto records = read_inputs({dir / "t"});
  REQUIRE(records.size() == 3);
  CHECK(records[0].text == "fine");
  CHECK(records[1].text == "A note");
  CHECK(records[1].meta == nlohmann::json({{"license", "MIT"}, {"source", "mine"}, {"path", "notes/a.md"}}));
  CHECK(records[2].meta == nlohmann::json({{"license", "CC0-1.0"},
                                           {"version", "1.10"},
                                           {"tags", {"a", "b"}},
                                           {"path", "novels/emma.txt"},
                                           {"source", "file:novels/emma.txt"}}));

  struct Row {
    std::string sidecar, expected;
  };
  const std::string emma = dir / "t/novels/emma.txt", yaml = dir / "t/sources.yaml";
  const std::vector<Row> rows = {
      {"sources:\n  - files: \"notes/*\"\n    meta: {license: MIT}\n",
       emma + ": no entry of sources.yaml matches it; every text needs a licence and a source"},
      {"sources:\n  - files: \"*\"\n    meta: {a: b}\n  - files: \"novel/*\"\n    meta: {a: b}\n",
       yaml + ":4:5: 'novel/*' is the first match of no file"},
      {"sources:\n  - files: \"*\"\n    meta: {a: b, a: c}\n", "error: "},
      {"sources:\n  - file: \"*\"\n    meta: {a: b}\n", "did you mean 'files'?"},
      {"sources: 7\n", "'sources' is '7'; expected a list"},
      {"sources:\n  - files: \"*\"\n    meta: MIT\n", "expected a map"},
  };
  for (const Row& row : rows) {
    put(yaml, row.sidecar);
    const std::string text = message_of([&] { read_inputs({dir / "t"}); });
    CAPTURE(text, row.expected);
    CHECK(text.find(row.expected) != std::string::npos);
  }
  std::filesystem::remove(yaml);
  CHECK(message_of([&] { read_inputs({dir / "t"}); }) ==
        "[data] 1 problem in the inputs; nothing was written\n  " + (dir / "t") + ": plain text without " + yaml +
            "; expected a sidecar that gives every file its licence and source");
  put(yaml, "sources:\n  - files: \"*\"\n    meta: {license: MIT}\n");
  put(dir / "t/notes/a.md", "bad \xc3\x28");
  CHECK(message_of([&] { read_inputs({dir / "t"}); }).find("a.md: not valid UTF-8 at byte 4") != std::string::npos);
}
