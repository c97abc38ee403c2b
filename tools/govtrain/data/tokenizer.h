// Text <-> token ids. Two kinds: `bytes` (one id for each byte) and `sentencepiece` (BPE trained on the corpus). Both
// are lossless: decode(encode(x)) == x for every valid UTF-8 text. Training is deterministic: one thread, no sampling,
// identity normalisation. Not here: chat templates, special tokens other than begin and end of sequence.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/hash.h"

namespace govtrain {

struct TokenizerOptions {
  std::string kind = "sentencepiece";  // bytes | sentencepiece
  int vocab_size = 2048;               // sentencepiece only; includes 256 byte pieces and 3 control pieces
  int64_t training_bytes = 4'000'000;  // sentencepiece only: most text that the training looks at
};

// Tokens of the kind `bytes`: every byte, begin and end.
inline constexpr int byte_vocabulary = 258;

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string kind() const = 0;
  virtual int vocab_size() const = 0;
  virtual int bos() const = 0;
  virtual int eos() const = 0;
  // Appends nothing but the text's own ids, all in [0, vocab_size). Throws Error unless `text` is valid UTF-8.
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;
  // The bytes that the ids stand for; bos and eos give nothing. Not valid UTF-8 if the ids cut a character. Throws
  // Error on ids outside [0, vocab_size).
  virtual std::string decode(const int32_t* ids, size_t count) const = 0;
  // The whole tokenizer as bytes, and the name that its file has in a folder (sentencepiece: "tokenizer.model").
  virtual std::string bytes() const = 0;
  virtual std::string file_name() const = 0;

  std::string decode(const std::vector<int32_t>& ids) const { return decode(ids.data(), ids.size()); }
  // SHA-256 of the kind and bytes().
  Digest digest() const;
  // Writes file_name() into the folder, durably.
  Status save(FileSystem& fs, const std::string& folder) const;
};

std::unique_ptr<Tokenizer> byte_tokenizer();

// Throws Error when the vocabulary size cannot be met with these texts. The result depends on the set of texts alone:
// texts are taken in the order of their keyed content hash until `training_bytes` are reached.
struct TrainingText {
  Digest digest;
  std::string_view text;
};
std::unique_ptr<Tokenizer> train_sentencepiece(const std::vector<TrainingText>& texts, const TokenizerOptions& options);

// From the bytes of a model file. Throws Error when they are not a model with byte pieces.
std::unique_ptr<Tokenizer> load_sentencepiece(std::string_view model);

// Throws Error with what is allowed unless the options make sense by themselves.
void check_tokenizer_options(const TokenizerOptions& options);

// `corrupt` when the bytes are not a tokenizer of this kind.
Result<std::unique_ptr<Tokenizer>> load_tokenizer(const std::string& kind, std::string_view bytes);
// Looks for the file of either kind in the folder.
Result<std::unique_ptr<Tokenizer>> load_tokenizer_from(FileSystem& fs, const std::string& folder);

}  // namespace govtrain
