// Both tokenizers: lossless on any UTF-8, deterministic, and clear about sizes that cannot be.
#include <algorithm>
#include <catch2/catch.hpp>

#include "core/error.h"
#include "tests/tools/data_fixture.h"
#include "tools/govtrain/data/tokenizer.h"

using namespace govtrain;
using namespace govtrain::test;

namespace {

std::string utf8(uint32_t c) {
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
  if (c < 0x10000) {
    return {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
            static_cast<char>(0x80 | (c & 63))};
  }
  return {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
          static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
}

std::vector<std::string> corpus(int count) {
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) texts.push_back(prose(static_cast<uint64_t>(i) + 1, 300));
  return texts;
}

std::unique_ptr<Tokenizer> train(const std::vector<std::string>& texts, int vocab, int64_t bytes = 1'000'000) {
  std::vector<TrainingText> list;
  for (const std::string& t : texts) list.push_back({sha256(t), t});
  TokenizerOptions options;
  options.vocab_size = vocab;
  options.training_bytes = bytes;
  return train_sentencepiece(list, options);
}

}  // namespace

TEST_CASE("decode(encode(x)) is x for any UTF-8 text", "[data]") {
  const auto texts = corpus(40);
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  tokenizers.push_back(byte_tokenizer());
  tokenizers.push_back(train(texts, 400));
  const std::vector<std::string> tricky = {"",
                                           " ",
                                           "  the  house ",
                                           "\n",
                                           "\n\n the\n",
                                           "\t\ttab\t",
                                           "<s></s><unk><0x0A>",
                                           "\xE2\x96\x81",
                                           "a\xE2\x96\x81\xE2\x96\x81 b",
                                           "\xE2\x96\x85",
                                           "\xE2\x96\x85the\xE2\x96\x81",
                                           "\xEF\xBF\xBD",
                                           std::string("a\0b", 3),
                                           "\xC2\xA0",
                                           "e\xCC\x81 \xC3\xA9",
                                           "\xEF\xBC\xA1",
                                           "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB",
                                           "\xE2\x80\x8B\xEF\xBB\xBF",
                                           "\r\n\r",
                                           "\xEF\xAC\x81",
                                           "\x7F\x01"};
  for (const auto& tokenizer : tokenizers) {
    CAPTURE(tokenizer->kind());
    for (const std::string& text : tricky) {
      CAPTURE(text);
      REQUIRE(tokenizer->decode(tokenizer->encode(text)) == text);
    }
    for (const std::string& text : texts) REQUIRE(tokenizer->decode(tokenizer->encode(text)) == text);
    const uint64_t seed = 7;
    const Rng rng(seed, Stream::test);
    uint64_t at = 0;
    for (int trial = 0; trial < 500; ++trial) {
      std::string text;
      const uint32_t length = rng.bits(at++) % 40;
      for (uint32_t i = 0; i < length; ++i) {
        const uint32_t plane = rng.bits(at++) % 4;
        uint32_t c = plane == 0   ? rng.bits(at++) % 0x80
                     : plane == 1 ? rng.bits(at++) % 0x800
                     : plane == 2 ? 0x2570 + rng.bits(at++) % 0x20
                                  : rng.bits(at++) % 0x110000;
        if (c >= 0xD800 && c < 0xE000) c = 0x20;
        text += utf8(c);
      }
      CAPTURE(seed, trial, text);
      const auto ids = tokenizer->encode(text);
      for (int32_t id : ids) {
        REQUIRE(id >= 0);
        REQUIRE(id < tokenizer->vocab_size());
        REQUIRE(id != tokenizer->bos());
        REQUIRE(id != tokenizer->eos());
      }
      REQUIRE(tokenizer->decode(ids) == text);
    }
    CHECK(tokenizer->decode({tokenizer->bos(), tokenizer->eos()}).empty());
    CHECK(message_of([&] { (void)tokenizer->encode("ab\xff"); }) ==
          "[tokenizer] the text is not valid UTF-8 at byte 2");
    CHECK(message_of([&] { (void)tokenizer->decode({-1}); }) ==
          fmt::format("[tokenizer] token id -1 is outside the vocabulary of {}", tokenizer->vocab_size()));
  }
  CHECK(tokenizers[0]->vocab_size() == 258);
  CHECK(tokenizers[1]->vocab_size() == 400);
  // It has learned something: fewer tokens than bytes.
  CHECK(tokenizers[1]->encode(texts[0]).size() * 2 < texts[0].size());
}

TEST_CASE("training depends on the set of texts alone", "[data]") {
  auto texts = corpus(60);
  const auto first = train(texts, 380, 40'000);
  CHECK(hex(train(texts, 380, 40'000)->digest()) == hex(first->digest()));
  std::reverse(texts.begin(), texts.end());
  CHECK(train(texts, 380, 40'000)->bytes() == first->bytes());
  std::rotate(texts.begin(), texts.begin() + 17, texts.end());
  CHECK(train(texts, 380, 40'000)->bytes() == first->bytes());
  CHECK(train(texts, 381, 40'000)->bytes() != first->bytes());
  CHECK(train(texts, 380, 20'000)->bytes() != first->bytes());
}

TEST_CASE("impossible tokenizer options are errors that say what is possible", "[data]") {
  const auto texts = corpus(3);
  CHECK(message_of([&] { (void)train(texts, 20000); }).find("[tokenizer] vocab_size is 20000, but the ") == 0);
  CHECK(message_of([&] { (void)train(texts, 20000); }).find("lower vocab_size or give more text") != std::string::npos);
  for (const int size : {-1, 0, 258, 299, 262145, 2147483647}) {
    CHECK(message_of([&] {
            (void)train(texts, size);
          }).find(fmt::format("[tokenizer] vocab_size is {}; expected 300 to 262144", size)) == 0);
  }
  std::string many;
  for (uint32_t c = 0x4E00; c < 0x4E00 + 200; ++c) many += utf8(c);
  CHECK(message_of([&] { (void)train({many}, 300); }).find("raise vocab_size") != std::string::npos);
  CHECK(message_of([&] { (void)train({}, 400); }) ==
        "[tokenizer] there is no text to train on: no admitted training document has any");
  CHECK(message_of([&] { (void)train({"\n\n"}, 400); }).find("there is no text to train on") != std::string::npos);
  CHECK(message_of([&] {
          check_tokenizer_options({"wordpiece", 1, 1});
        }) == "[tokenizer] unknown kind 'wordpiece'; expected bytes or sentencepiece");
}

TEST_CASE("tokenizers are saved and loaded; damaged files are refused", "[data]") {
  const TempDir dir;
  FileSystem& fs = real_file_system();
  CHECK(load_tokenizer_from(fs, dir.path()).status().code() == StatusCode::not_found);
  const auto texts = corpus(20);
  const auto trained = train(texts, 350);
  REQUIRE(trained->save(fs, dir.path()).ok());
  auto loaded = load_tokenizer_from(fs, dir.path());
  REQUIRE(loaded.ok());
  CHECK(loaded.value()->digest() == trained->digest());
  CHECK(loaded.value()->encode(texts[0]) == trained->encode(texts[0]));
  put(dir / "tokenizer.model", "rubbish");
  CHECK(load_tokenizer_from(fs, dir.path()).status().code() == StatusCode::corrupt);
  put(dir / "tokenizer.model", trained->bytes().substr(0, trained->bytes().size() / 2));
  CHECK_FALSE(load_tokenizer_from(fs, dir.path()).ok());
  std::filesystem::remove(dir / "tokenizer.model");
  REQUIRE(byte_tokenizer()->save(fs, dir.path()).ok());
  CHECK(load_tokenizer_from(fs, dir.path()).value()->kind() == "bytes");
  CHECK(load_tokenizer("bytes", "x").status().code() == StatusCode::corrupt);
  CHECK(load_tokenizer("other", "x").status().code() == StatusCode::invalid);
}
