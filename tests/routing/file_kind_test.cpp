// A file in the place of another kind gives one error that says so.
#include "routing/file_kind.h"

#include <catch2/catch.hpp>
#include <string>

#include "routing/block_file.h"
#include "routing/learned_blocks.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;

namespace {

FileKind kind(const std::string& text) {
  Diagnostics d;
  const auto root = parse_yaml("f.yaml", text, d);
  REQUIRE(root);
  return file_kind(*root);
}

}  // namespace

TEST_CASE("a file's kind is known by the keys that only its kind has") {
  CHECK(kind("policy: p\nversion: 1\n") == FileKind::policy);
  CHECK(kind("classification: c\n") == FileKind::classification);
  CHECK(kind("blocks: b\nversion: 1\nlist: []\n") == FileKind::blocks);
  CHECK(kind("{\"format\": \"govtrain-learned-blocks\"}") == FileKind::learned_blocks);
  CHECK(kind("run: {out: x}\nmodel: {layers: 2}\npolicy: {file: p.yaml}\n") == FileKind::configuration);
  CHECK(kind("run: {out: x}\nmodel: {layers: 2}\npolicy: p.yaml\n") == FileKind::configuration);
  CHECK(kind("{\"format\": \"odd\"}") == FileKind::unknown);
  CHECK(kind("[policy]") == FileKind::unknown);
  CHECK(kind("run: {out: x}\n") == FileKind::unknown);
}

TEST_CASE("a file of another kind gives one error") {
  const std::string block_file = "blocks: b\nversion: 1\nlist: [{name: a, owns: rest}]\n";
  Diagnostics learned, blocks, policy;
  CHECK_FALSE(parse_learned("f.yaml", block_file, learned));
  CHECK(learned.errors() == 1);
  CHECK(learned.render().find("f.yaml:1:1: error: this is a block file; expected a file of learned blocks\n") == 0);
  CHECK_FALSE(parse_block_file("f.yaml", "{\"format\": \"govtrain-learned-blocks\", \"version\": 1}", blocks));
  CHECK(blocks.errors() == 1);
  CHECK_FALSE(Policy::parse("f.yaml", "classification: c\nversion: 1\nclasses: [a]\n", policy));
  CHECK(policy.errors() == 1);
}
