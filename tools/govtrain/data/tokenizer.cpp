#include "tools/govtrain/data/tokenizer.h"

#include "core/config/utf8.h"
#include "core/error.h"

namespace govtrain {

namespace {

constexpr char bytes_file[] = "tokenizer.bytes";
constexpr char bytes_content[] = "govtrain byte tokenizer 1: ids 0..255 are bytes, 256 begins, 257 ends\n";

class ByteTokenizer : public Tokenizer {
 public:
  std::string kind() const override { return "bytes"; }
  int vocab_size() const override { return byte_vocabulary; }
  int bos() const override { return 256; }
  int eos() const override { return 257; }

  std::vector<int32_t> encode(std::string_view text) const override {
    if (const size_t bad = first_invalid_utf8(text); bad != text.size()) {
      throw Error("tokenizer", "the text is not valid UTF-8 at byte {}", bad);
    }
    std::vector<int32_t> ids;
    ids.reserve(text.size());
    for (char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }

  std::string decode(const int32_t* ids, size_t count) const override {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
      if (ids[i] < 0 || ids[i] >= vocab_size()) {
        throw Error("tokenizer", "token id {} is outside the vocabulary of {}", ids[i], vocab_size());
      }
      if (ids[i] < 256) text.push_back(static_cast<char>(ids[i]));
    }
    return text;
  }

  std::string bytes() const override { return bytes_content; }
  std::string file_name() const override { return bytes_file; }
};

}  // namespace

std::unique_ptr<Tokenizer> byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

Digest Tokenizer::digest() const { return sha256(kind() + "\n" + bytes()); }

Status Tokenizer::save(FileSystem& fs, const std::string& folder) const {
  return write_atomic(fs, join_path(folder, file_name()), bytes());
}

void check_tokenizer_options(const TokenizerOptions& options) {
  if (options.kind != "bytes" && options.kind != "sentencepiece") {
    throw Error("tokenizer", "unknown kind '{}'; expected bytes or sentencepiece", options.kind);
  }
  if (options.kind == "bytes") return;
  if (options.vocab_size < 300 || options.vocab_size > 262144) {
    throw Error("tokenizer",
                "vocab_size is {}; expected 300 to 262144 (256 bytes, 3 control pieces, and pieces learned from the "
                "corpus)",
                options.vocab_size);
  }
  if (options.training_bytes < 1) {
    throw Error("tokenizer", "training_bytes is {}; expected at least 1", options.training_bytes);
  }
}

Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& kind, std::string_view bytes) {
  if (kind == "bytes") {
    if (bytes == bytes_content) return byte_tokenizer();
    return Status(StatusCode::corrupt, "not a byte tokenizer of version 1");
  }
  if (kind == "sentencepiece") {
    try {
      return load_sentencepiece(bytes);
    } catch (const Error& e) {
      return Status(StatusCode::corrupt, e.what());
    }
  }
  return Status(StatusCode::invalid, "unknown tokenizer kind '" + kind + "'; expected bytes or sentencepiece");
}

Result<std::unique_ptr<Tokenizer>> load_tokenizer_from(FileSystem& fs, const std::string& folder) {
  for (const auto& [kind, name] : {std::pair("sentencepiece", "tokenizer.model"), std::pair("bytes", bytes_file)}) {
    const std::string path = join_path(folder, name);
    if (!fs.exists(path)) continue;
    Result<std::string> bytes = fs.read(path);
    if (!bytes.ok()) return bytes.status();
    auto tokenizer = load_tokenizer(kind, bytes.value());
    if (!tokenizer.ok()) return Status(tokenizer.status().code(), path + ": " + tokenizer.status().message());
    return tokenizer;
  }
  return Status(StatusCode::not_found,
                folder + ": no tokenizer; expected tokenizer.model (sentencepiece) or " + bytes_file);
}

}  // namespace govtrain
