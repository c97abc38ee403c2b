#include "routing/blocks.h"

#include <catch2/catch.hpp>

#include "core/error.h"
#include "core/rng.h"
#include "tests/routing/fixtures.h"

using namespace govtrain;
using namespace govtrain::routing_test;

namespace {

std::string error_of(const BlockMap& map, const std::vector<ParameterInfo>& parameters) {
  try {
    check_partition(map, parameters);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("blocks by layer are embedding, layers and head, from the input to the output") {
  for (const int layers : {1, 2, 7}) {
    const auto p = parameters(layers);
    const BlockMap map = blocks_by_layer(p);
    REQUIRE(map.blocks() == layers + 2);
    CHECK(map.names.front() == "embedding");
    CHECK(map.names[1] == "layer.0");
    CHECK(map.names.back() == "head");
    CHECK_NOTHROW(check_partition(map, p));
    for (const Slice& s : map.slices) CHECK(s.block == p[static_cast<size_t>(s.parameter)].layer + 1);
  }
}

TEST_CASE("a model without a head, or without embeddings, has fewer blocks") {
  const BlockMap map = blocks_by_layer({{"a", "mlp", 0, 2, 2}, {"b", "mlp", 1, 2, 2}});
  CHECK(map.names == std::vector<std::string>{"layer.0", "layer.1"});
  CHECK(blocks_by_layer({{"e", "embedding", -1, 2, 2}}).names == std::vector<std::string>{"embedding"});
}

TEST_CASE("parameters that no model can have are refused") {
  CHECK_THROWS_AS(blocks_by_layer({}), Error);
  CHECK_THROWS_AS(blocks_by_layer({{"a", "mlp", 0, 0, 2}}), Error);
  CHECK_THROWS_AS(blocks_by_layer({{"a", "mlp", -2, 1, 2}}), Error);
  CHECK_THROWS_AS(blocks_by_layer({{"a", "mlp", 0, 1, 2}, {"b", "mlp", 2, 1, 2}}), Error);
}

TEST_CASE("gaps, overlaps and slices outside are listed by parameter and area") {
  const std::vector<ParameterInfo> p{{"w", "mlp", 0, 4, 6}};
  const auto map = [](std::vector<Slice> slices) { return BlockMap{{"a", "b"}, std::move(slices)}; };
  CHECK(error_of(map({{0, 0, 0, 4, 0, 3}, {0, 1, 0, 4, 3, 6}}), p).empty());
  CHECK(error_of(map({{0, 0, 0, 2, 0, 6}, {0, 1, 2, 4, 0, 6}}), p).empty());
  CHECK(error_of(map({{0, 0, 0, 4, 0, 3}}), p).find("no block owns w[0:4, 3:6]") != std::string::npos);
  CHECK(error_of(map({{0, 0, 1, 4, 0, 6}}), p).find("no block owns w[0:1, 0:6]") != std::string::npos);
  CHECK(error_of(map({}), p).find("no block owns w[0:4, 0:6]") != std::string::npos);
  CHECK(error_of(map({{0, 0, 0, 4, 0, 4}, {0, 1, 0, 4, 3, 6}}), p).find("both a and b own w[0:4, 3:4]") !=
        std::string::npos);
  CHECK(error_of(map({{0, 0, 0, 4, 0, 6}, {0, 1, 1, 2, 2, 3}}), p).find("both a and b own w[1:2, 2:3]") !=
        std::string::npos);
  CHECK(error_of(map({{0, 0, 0, 5, 0, 6}}), p).find("outside of the parameter's [4, 6]") != std::string::npos);
  CHECK(error_of(map({{0, 0, 2, 2, 0, 6}}), p).find("is empty or outside") != std::string::npos);
  CHECK(error_of(map({{1, 0, 0, 4, 0, 6}}), p).find("names parameter 1 of 1") != std::string::npos);
  CHECK(error_of(map({{0, 2, 0, 4, 0, 6}}), p).find("names block 2 of 2") != std::string::npos);
}

TEST_CASE("the partition check agrees with counting the owners of each element") {
  const Rng rng(7, Stream::test);
  INFO("seed 7");
  uint64_t n = 0;
  const auto pick = [&](int64_t size) { return static_cast<int64_t>(rng.bits(n++)) % size; };
  int good = 0;
  for (int round = 0; round < 400; ++round) {
    const std::vector<ParameterInfo> p{{"w", "mlp", 0, 1 + pick(4), 1 + pick(4)}};
    // A true partition by random cuts, then perhaps one slice changed.
    BlockMap map{{"a", "b", "c"}, {{0, 0, 0, p[0].rows, 0, p[0].cols}}};
    for (int cut = 0; cut < 4; ++cut) {
      Slice& s = map.slices[static_cast<size_t>(pick(static_cast<int64_t>(map.slices.size())))];
      Slice other = s;
      const bool by_rows = pick(2) == 0;
      const int64_t size = by_rows ? s.row_end - s.row_begin : s.col_end - s.col_begin;
      if (size < 2) continue;
      const int64_t at = 1 + pick(size - 1);
      (by_rows ? s.row_end : s.col_end) = (by_rows ? s.row_begin : s.col_begin) + at;
      (by_rows ? other.row_begin : other.col_begin) += at;
      other.block = static_cast<int>(pick(3));
      map.slices.push_back(other);
    }
    if (pick(2) == 0) {
      Slice& s = map.slices[static_cast<size_t>(pick(static_cast<int64_t>(map.slices.size())))];
      s.row_begin = pick(s.row_end);
      s.col_end = s.col_begin + 1 + pick(p[0].cols - s.col_begin);
    }
    bool once = true;
    for (int64_t r = 0; r < p[0].rows; ++r) {
      for (int64_t c = 0; c < p[0].cols; ++c) {
        int owners = 0;
        for (const Slice& s : map.slices) {
          owners += r >= s.row_begin && r < s.row_end && c >= s.col_begin && c < s.col_end ? 1 : 0;
        }
        once = once && owners == 1;
      }
    }
    good += once ? 1 : 0;
    REQUIRE(error_of(map, p).empty() == once);
  }
  CHECK(good > 50);
  CHECK(good < 390);
}

TEST_CASE("a block says where it lies and what it is made of") {
  const auto p = parameters(2);
  const BlockMap map = blocks_by_layer(p);
  CHECK(map.layers == 2);
  REQUIRE(map.info.size() == 4);
  CHECK(map.info[0].layer_first == -1);
  CHECK(map.info[0].role() == "embedding");
  CHECK(map.info[1].layer_first == 0);
  CHECK(map.info[1].layer_last == 0);
  CHECK(map.info[1].role().empty());
  CHECK(map.info[1].roles == std::vector<std::string>{"attention", "mlp", "norm"});
  CHECK(map.info[1].elements == 4 + 16 + 32);
  CHECK(map.info[3].layer_first == 2);
  CHECK(contiguous_in_depth(map));

  BlockMap mixed{{"a", "b", "nothing"}, {}};
  for (size_t i = 0; i < p.size(); ++i) {
    mixed.slices.push_back({static_cast<int>(i), p[i].role == "mlp" ? 1 : 0, 0, p[i].rows, 0, p[i].cols});
  }
  describe_blocks(mixed, p);
  CHECK_FALSE(contiguous_in_depth(mixed));
  CHECK(mixed.info[1].role() == "mlp");
  CHECK(mixed.info[0].layer_first == -1);
  CHECK(mixed.info[0].layer_last == 2);
  CHECK(mixed.info[2].empty());
  CHECK_THROWS_AS(contiguous_in_depth(BlockMap{{"a"}, {}}), Error);
  mixed.slices.push_back({0, 3, 0, 1, 0, 1});
  CHECK_THROWS_AS(describe_blocks(mixed, p), Error);
}

TEST_CASE("the owner of a parameter, of a part of it and of a head") {
  using Axis = Division::Axis;
  const std::vector<ParameterInfo> p{{"q", "attention", 0, 8, 6, {Axis::rows, 4}},
                                     {"q.bias", "attention", 0, 1, 8, {Axis::cols, 4}},
                                     {"k", "attention", 0, 4, 6, {Axis::rows, 2}},
                                     {"o", "attention", 0, 6, 8, {Axis::cols, 4}}};
  BlockMap map{{"a", "b"},
               {{0, 0, 0, 4, 0, 6},
                {0, 1, 4, 8, 0, 6},
                {1, 0, 0, 1, 0, 4},
                {1, 1, 0, 1, 4, 8},
                {2, 1, 0, 4, 0, 6},
                {3, 0, 0, 6, 0, 3},
                {3, 1, 0, 6, 3, 8}}};
  CHECK(owner(map, p, 2) == 1);
  CHECK(owner(map, p, 0) == -1);
  CHECK(owner(map, part_of(p, 0, 1, 2)) == 0);
  CHECK(owner(map, part_of(p, 0, 1, 3)) == -1);
  REQUIRE(head_slices(p, 0, 1).size() == 3);  // keys are shared by two heads
  CHECK(head_slices(p, 0, 1)[2].col_begin == 2);
  CHECK(head_slices(p, 0, 1)[2].col_end == 4);
  CHECK(head_owner(map, p, 0, 0) == 0);
  CHECK(head_owner(map, p, 0, 1) == -1);  // its columns of o are divided
  CHECK(head_owner(map, p, 0, 3) == 1);
  CHECK(head_slices(p, 0, 4).empty());
  CHECK(head_slices(p, 1, 0).empty());
  CHECK(head_owner(map, p, 1, 0) == -1);
}
