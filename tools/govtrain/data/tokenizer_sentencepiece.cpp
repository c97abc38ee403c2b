// BPE by the sentencepiece library. The library normalises, escapes spaces as U+2581 and treats a few characters as its
// own; what it would not give back unchanged is kept away from it here: text is cut at line ends, U+2581 and U+2585,
// these are written as byte pieces, and decoding is done here, piece by piece.
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cstdlib>

#include "core/config/utf8.h"
#include "core/error.h"
#include "tools/govtrain/data/tokenizer.h"

namespace govtrain {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581, the library's escaped space
constexpr std::string_view unk_mark = "\xE2\x96\x85";    // U+2585, reserved by the library

// Calls segment(text) for what the library may see and other(text) for what it may not, in order.
template <class Segment, class Other>
void cut(std::string_view text, const Segment& segment, const Other& other) {
  size_t begin = 0;
  const auto flush = [&](size_t end) {
    if (end > begin) segment(text.substr(begin, end - begin));
  };
  for (size_t i = 0; i < text.size();) {
    const std::string_view three = text.substr(i, 3);
    const size_t length = text[i] == '\n' || text[i] == '\0' ? 1 : three == space_mark || three == unk_mark ? 3 : 0;
    if (length == 0) {
      ++i;
      continue;
    }
    flush(i);
    other(text.substr(i, length));
    i += length;
    begin = i;
  }
  flush(text.size());
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(std::string_view model) : model_(model) {
    const auto status = processor_.LoadFromSerializedProto(absl::string_view(model_.data(), model_.size()));
    if (!status.ok()) throw Error("tokenizer", "not a sentencepiece model: {}", status.ToString());
    const int size = processor_.GetPieceSize();
    byte_ids_.assign(256, -1);
    for (int id = 0; id < size; ++id) {
      const std::string& piece = processor_.IdToPiece(id);
      std::string text;
      if (processor_.IsByte(id)) {
        // "<0x0A>"
        const int value = piece.size() == 6 ? static_cast<int>(std::strtol(piece.c_str() + 3, nullptr, 16)) : -1;
        if (value < 0 || value > 255) throw Error("tokenizer", "sentencepiece model with the byte piece '{}'", piece);
        byte_ids_[static_cast<size_t>(value)] = id;
        text.push_back(static_cast<char>(value));
      } else if (!processor_.IsControl(id) && !processor_.IsUnknown(id)) {
        for (size_t i = 0; i < piece.size();) {
          const bool space = piece.compare(i, 3, space_mark) == 0;
          text += space ? ' ' : piece[i];
          i += space ? 3 : 1;
        }
      }
      texts_.push_back(std::move(text));
    }
    const bool all = std::none_of(byte_ids_.begin(), byte_ids_.end(), [](int id) { return id < 0; });
    if (!all || processor_.bos_id() < 0 || processor_.eos_id() < 0) {
      throw Error(
          "tokenizer",
          "the sentencepiece model lacks byte pieces or the begin and end pieces; expected a model trained with "
          "byte_fallback, bos and eos");
    }
  }

  std::string kind() const override { return "sentencepiece"; }
  int vocab_size() const override { return static_cast<int>(texts_.size()); }
  int bos() const override { return processor_.bos_id(); }
  int eos() const override { return processor_.eos_id(); }
  std::string bytes() const override { return model_; }
  std::string file_name() const override { return "tokenizer.model"; }

  std::vector<int32_t> encode(std::string_view text) const override {
    if (const size_t bad = first_invalid_utf8(text); bad != text.size()) {
      throw Error("tokenizer", "the text is not valid UTF-8 at byte {}", bad);
    }
    std::vector<int32_t> ids;
    std::vector<int> part;
    const auto raw = [&](std::string_view bytes) {
      for (char c : bytes) ids.push_back(byte_ids_[static_cast<unsigned char>(c)]);
    };
    const auto segment = [&](std::string_view piece) {
      const auto status = processor_.Encode(absl::string_view(piece.data(), piece.size()), &part);
      if (!status.ok()) throw Error("tokenizer", "sentencepiece cannot encode: {}", status.ToString());
      // A model from elsewhere may normalise; then the bytes are kept instead of what it made of them.
      std::string back;
      for (int id : part) back += texts_[static_cast<size_t>(id)];
      if (back == piece) {
        ids.insert(ids.end(), part.begin(), part.end());
      } else {
        raw(piece);
      }
    };
    cut(text, segment, raw);
    return ids;
  }

  std::string decode(const int32_t* ids, size_t count) const override {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
      if (ids[i] < 0 || ids[i] >= vocab_size()) {
        throw Error("tokenizer", "token id {} is outside the vocabulary of {}", ids[i], vocab_size());
      }
      text += texts_[static_cast<size_t>(ids[i])];
    }
    return text;
  }

 private:
  std::string model_;
  sentencepiece::SentencePieceProcessor processor_;
  std::vector<std::string> texts_;  // what each piece stands for
  std::vector<int> byte_ids_;       // [256]
};

class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(const std::vector<std::string>& lines) : lines_(lines) {}
  bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  const std::vector<std::string>& lines_;
  size_t at_ = 0;
};

// The lines of the texts, in the order of the texts' keyed hashes, until `limit` bytes are reached.
std::vector<std::string> training_lines(const std::vector<TrainingText>& texts, int64_t limit) {
  std::vector<std::pair<Digest, std::string_view>> keyed;
  for (const TrainingText& t : texts) {
    keyed.push_back({sha256("tokenizer" + std::string(t.digest.begin(), t.digest.end())), t.text});
  }
  std::sort(keyed.begin(), keyed.end());
  std::vector<std::string> lines;
  int64_t taken = 0;
  for (const auto& [key, text] : keyed) {
    if (taken > 0 && taken + static_cast<int64_t>(text.size()) > limit) break;
    taken += static_cast<int64_t>(text.size());
    cut(
        text, [&](std::string_view line) { lines.emplace_back(line); }, [](std::string_view) {});
  }
  return lines;
}

// The digits that follow `mark` in the text, or "".
std::string number_after(const std::string& text, const std::string& mark) {
  const size_t at = text.find(mark);
  if (at == std::string::npos) return "";
  const size_t begin = at + mark.size(), end = text.find_first_not_of("0123456789", begin);
  return text.substr(begin, end == std::string::npos ? end : end - begin);
}

// The library's reasons name its own flags; these name ours.
std::string explain(const std::string& reason, int vocab_size, size_t lines) {
  if (const std::string most = number_after(reason, "set it to a value <= "); !most.empty()) {
    return fmt::format(
        "vocab_size is {}, but the {} lines of training text support at most {} pieces; lower vocab_size or give more "
        "text",
        vocab_size, lines, most);
  }
  const std::string mark = fmt::format("smaller than required_chars. {} vs ", vocab_size);
  if (const std::string least = number_after(reason, mark); !least.empty()) {
    return fmt::format(
        "vocab_size is {}, but the characters of the training text and the byte pieces need at least {}; raise "
        "vocab_size",
        vocab_size, least);
  }
  return fmt::format("no sentencepiece vocabulary of {} pieces can be trained on {} lines of text: {}", vocab_size,
                     lines, reason);
}

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece(std::string_view model) {
  return std::make_unique<SentencePieceTokenizer>(model);
}

std::unique_ptr<Tokenizer> train_sentencepiece(const std::vector<TrainingText>& texts,
                                               const TokenizerOptions& options) {
  check_tokenizer_options(options);
  const std::vector<std::string> lines = training_lines(texts, options.training_bytes);
  if (lines.empty()) throw Error("tokenizer", "there is no text to train on: no admitted training document has any");
  Lines iterator(lines);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      std::unordered_map<std::string, std::string>{
          {"model_type", "bpe"},
          {"vocab_size", std::to_string(options.vocab_size)},
          {"byte_fallback", "true"},
          {"character_coverage", "0.9995"},
          {"normalization_rule_name", "identity"},
          {"add_dummy_prefix", "false"},
          {"remove_extra_whitespaces", "false"},
          {"allow_whitespace_only_pieces", "true"},
          {"split_digits", "true"},
          {"max_sentence_length", "65536"},
          {"input_sentence_size", "0"},
          {"shuffle_input_sentence", "false"},
          {"num_threads", "1"},
          {"unk_id", "0"},
          {"bos_id", "1"},
          {"eos_id", "2"},
          {"pad_id", "-1"},
          {"minloglevel", "4"},
      },
      &iterator, &model);
  if (!status.ok()) {
    throw Error("tokenizer", "{}", explain(status.ToString(), options.vocab_size, lines.size()));
  }
  return load_sentencepiece(model);
}

}  // namespace govtrain
