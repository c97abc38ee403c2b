// Keys, signed notes and checkpoints: published vectors, rules of verification, hostile text.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "lineage/checkpoint.h"
#include "lineage/encoding.h"
#include "tests/lineage/support.h"

using namespace govtrain;

namespace {

const std::string dash = "\xE2\x80\x94 ";

NoteSigner other_signer(const std::string& name) {
  std::array<uint8_t, 32> seed{};
  seed[0] = 77;
  return NoteSigner::from_seed(name, seed).value();
}

std::string signature_line(const NoteSigner& signer, const std::string& text) {
  const std::string note = signer.sign(text);
  return note.substr(text.size() + 1);
}

}  // namespace

TEST_CASE("keys have the published text forms") {
  const NoteSigner signer = test_signer();
  CHECK(signer.public_key().text() ==
        "example.org/govtrain/run1+3ff9d7d6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4");
  CHECK(signer.private_text() ==
        "PRIVATE+KEY+example.org/govtrain/run1+3ff9d7d6+AQABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f");
  CHECK(NoteSigner::parse(signer.private_text()).value().public_key().text() == signer.public_key().text());
  CHECK(NoteKey::parse(signer.public_key().text() + "\n").value().key == signer.public_key().key);
  const std::string good = signer.public_key().text();
  for (const std::string& bad :
       {std::string(), std::string("+"), "x" + good, good + "A", good.substr(1), good.substr(0, good.size() - 1),
        std::string("example.org/govtrain/run1+3ff9d7d7+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"),
        std::string("example.org/govtrain/run1+3FF9D7D6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"),
        std::string("a b+3ff9d7d6+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4")}) {
    INFO(bad);
    CHECK_FALSE(NoteKey::parse(bad).ok());
    CHECK_FALSE(NoteSigner::parse(bad).ok());
    CHECK_FALSE(NoteSigner::parse("PRIVATE+KEY+" + bad).ok());
  }
}

TEST_CASE("the empty log's checkpoint is the published one") {
  const NoteSigner signer = test_signer();
  const std::string note = signer.sign(checkpoint_text({signer.name(), 0, sha256(""), {}}));
  CHECK(note == "example.org/govtrain/run1\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n" + dash +
                    "example.org/govtrain/run1 "
                    "P/nX1gUacf/T+Ffhad5Zs8iM0otqHonnoF7n9xyT+yIZA/z06kBObbXjn0dWDySGib0bR7M8JqRn7sM14wrawccCeQE=\n");
  CHECK(verify_checkpoint(note, signer.public_key()).value().size == 0);
}

TEST_CASE("unknown signatures are ignored, a known one must hold") {
  const NoteSigner a = test_signer("a.example/log");
  const NoteSigner b = other_signer("b.example/witness");
  const NoteSigner same_name = other_signer("a.example/log");
  const std::string text = "one\n\ntwo\n";
  const auto open = [](const std::string& note, const std::vector<NoteSigner>& signers) {
    std::vector<NoteKey> keys;
    for (const NoteSigner& s : signers) keys.push_back(s.public_key());
    return open_note(note, keys);
  };
  CHECK(open(a.sign(text), {a}).value() == text);
  CHECK(open(a.sign(text) + signature_line(b, text), {b}).value() == text);
  CHECK(open(a.sign(text) + signature_line(b, text), {a, b}).value() == text);
  CHECK(open(a.sign(text) + signature_line(b, "other\n"), {a}).value() == text);
  CHECK_FALSE(open(a.sign(text) + signature_line(b, "other\n"), {a, b}).ok());
  CHECK_FALSE(open(a.sign(text), {b}).ok());
  CHECK_FALSE(open(a.sign(text), {same_name}).ok());  // same name, another key
  CHECK_FALSE(open(a.sign(text), {}).ok());
  std::string many = text + "\n";
  for (int i = 0; i < 99; ++i) many += signature_line(b, text);
  CHECK(open(many + signature_line(a, text), {a}).ok());
  CHECK_FALSE(open(many + signature_line(b, text) + signature_line(a, text), {a}).ok());
}

TEST_CASE("malformed notes are refused") {
  const NoteSigner a = test_signer("a.example/log");
  const std::string line = signature_line(a, "text\n");
  const std::vector<NoteKey> keys = {a.public_key()};
  REQUIRE(open_note("text\n\n" + line, keys).ok());
  for (const std::string& bad :
       {std::string(), std::string("\n"), std::string("\n\n"), std::string("text\n\n"), "text\n" + line,
        "text\n\n\n" + line, "text\n\n" + line + "\n", "text\n\n" + line.substr(0, line.size() - 1),
        "te\txt\n\n" + line, "text\r\n\n" + line, "text\n\n- " + line.substr(4), "text\n\n" + dash + "a.example/log\n",
        "text\n\n" + dash + "a.example/log !\n", "text\n\n" + dash + " " + line.substr(dash.size()),
        "te\xFFxt\n\n" + line, "text\n\n" + line + "x\n", "text\n\n" + line + dash + "b AAAA\n"}) {
    INFO(bad);
    CHECK_FALSE(open_note(bad, keys).ok());
  }
  CHECK(open_note("text\n\n" + line + dash + "b AAAAAAA=\n", keys).ok());
}

TEST_CASE("checkpoints are read strictly") {
  const std::string root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
  CHECK(parse_checkpoint("o\n0\n" + root).ok());
  const Checkpoint with_extension = parse_checkpoint("o\n17\n" + root + "extra\n").value();
  CHECK(with_extension.extensions == std::vector<std::string>{"extra"});
  CHECK(checkpoint_text(with_extension) == "o\n17\n" + root + "extra\n");
  for (const std::string& bad :
       {std::string(), std::string("o\n"), std::string("o\n1\n"), "\n1\n" + root, "o\n01\n" + root, "o\n-1\n" + root,
        "o\n+1\n" + root, "o\n\n" + root, "o\n9223372036854775808\n" + root, "o\n1 \n" + root,
        std::string("o\n1\nAAAA\n"), "o\n1\n" + root.substr(0, 43) + "\n", "o\n1\n" + root.substr(0, 44),
        "o\n1\n" + root + "\n", std::string("o\n0\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"),
        std::string("o\n1\n47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=\n"),
        std::string("o\n1\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=\n")}) {
    INFO(bad);
    CHECK_FALSE(parse_checkpoint(bad).ok());
  }
  const NoteSigner a = test_signer("a.example/log");
  CHECK_FALSE(verify_checkpoint(a.sign("b.example/log\n0\n" + root), a.public_key()).ok());
}

TEST_CASE("a new key is private and never overwrites one") {
  const TempDir dir;
  FileSystem& fs = real_file_system();
  const Result<NoteSigner> made = create_note_key(fs, dir.path("keys/run.key"), "example.org/run");
  REQUIRE(made.ok());
  const auto mode = std::filesystem::status(dir.path("keys/run.key")).permissions();
  CHECK(mode == (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
  CHECK(load_note_key(fs, dir.path("keys/run.key")).value().public_key().key == made.value().public_key().key);
  CHECK(create_note_key(fs, dir.path("keys/run.key"), "example.org/run").status().code() == StatusCode::exists);
  CHECK(create_note_key(fs, dir.path("other.key"), "a b").status().code() == StatusCode::invalid);
  CHECK(load_note_key(fs, dir.path("none")).status().code() == StatusCode::not_found);
  const Result<NoteSigner> second = create_note_key(fs, dir.path("second.key"), "example.org/run");
  CHECK(second.value().public_key().key != made.value().public_key().key);
}

TEST_CASE("text encodings are strict") {
  CHECK(from_base64("").value().empty());
  CHECK(from_base64("AA==").value() == std::string(1, '\0'));
  for (const char* bad : {"A", "AA", "AA=", "AB==", "A===", "====", "AA==AA==", "AA A", " AAA", "AAA\n", "AA-_"}) {
    INFO(bad);
    CHECK_FALSE(from_base64(bad).ok());
  }
  CHECK(valid_utf8("aé€😀"));
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "\xFF"}) {
    CHECK_FALSE(valid_utf8(bad));
  }
}
