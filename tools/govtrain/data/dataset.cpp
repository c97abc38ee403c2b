#include "tools/govtrain/data/dataset.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>

#include "core/error.h"
#include "tools/govtrain/data/format.h"

namespace govtrain {

using nlohmann::json;

namespace {

constexpr char rebuild[] = "Delete the folder and run 'govtrain data prepare' again";

// Thrown and caught in this file only: open() turns it into a Status.
struct Bad {
  StatusCode code;
  std::string text;
};

template <class... Args>
[[noreturn]] void bad(const std::string& path, fmt::format_string<Args...> text, Args&&... args) {
  throw Bad{StatusCode::corrupt, path + ": " + fmt::format(text, std::forward<Args>(args)...) + ". " + rebuild};
}

template <class T>
T number_at(std::string_view bytes, size_t at) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<T>(static_cast<unsigned char>(bytes[at + i])) << (8 * i));
  }
  return value;
}

// A member of an object, of the type that T stands for.
template <class T>
T member(const std::string& path, const json& object, const char* key) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (!object.is_object() || found == object.end()) bad(path, "'{}' is missing", key);
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) bad(path, "'{}' is not a string", key);
  } else {
    if (!found->is_number_unsigned()) bad(path, "'{}' is not a whole number", key);
  }
  return found->template get<T>();
}

Digest digest_in(const std::string& path, const json& object, const char* key) {
  const std::string text = member<std::string>(path, object, key);
  try {
    return digest_from_hex(text);
  } catch (const Error&) {
    bad(path, "'{}' is not a SHA-256 in 64 hex digits", key);
  }
}

std::string slurp(const std::string& path) {
  Result<std::string> bytes = real_file_system().read(path);
  if (!bytes.ok()) throw Bad{bytes.status().code(), bytes.status().message() + ". " + rebuild};
  return std::move(bytes.value());
}

json parse_object(const std::string& path, std::string_view text) {
  int depth_limit = 0;
  const json value = json::parse(
      text,
      [&](int depth, json::parse_event_t, json&) {
        if (depth > 64) depth_limit = depth;
        return depth <= 64;
      },
      false);
  if (value.is_discarded() || !value.is_object() || depth_limit > 0) bad(path, "not a JSON object");
  return value;
}

void check_checksum(const std::string& path, const json& files, const char* name, std::string_view bytes) {
  const auto entry = files.find(name);
  if (entry == files.end()) bad(path, "the manifest does not list it");
  const uint64_t size = member<uint64_t>(path, *entry, "bytes");
  if (size != bytes.size()) bad(path, "{} bytes; the manifest says {}: it is truncated or changed", bytes.size(), size);
  const std::string found = hex(sha256(bytes)), expected = hex(digest_in(path, *entry, "sha256"));
  if (found != expected) bad(path, "its SHA-256 is {}; the manifest says {}: it was changed", found, expected);
}

struct Header {
  uint32_t width = 0, vocab = 0;
  uint64_t tokens = 0, documents = 0;
};

// Everything about the file that can be told from its first bytes and its size.
Header read_header(const std::string& path, std::string_view bytes) {
  namespace f = data_format;
  if (bytes.size() < f::header_bytes)
    bad(path, "{} bytes; a header has {}: it is truncated", bytes.size(), f::header_bytes);
  if (bytes.substr(0, f::magic.size()) != f::magic)
    bad(path, "not a govtrain token file: it does not start with {}", f::magic);
  if (const uint32_t v = number_at<uint32_t>(bytes, f::at_version); v != f::version) {
    std::string maker(bytes.substr(f::at_made_by, 24).data(), 24);
    maker = maker.c_str();
    for (char& c : maker) c = c < 32 || c > 126 ? '?' : c;
    bad(path, "token file of version {}, made by {}; this program reads version {}", v, maker, f::version);
  }
  Header h;
  h.width = number_at<uint32_t>(bytes, f::at_width);
  h.tokens = number_at<uint64_t>(bytes, f::at_tokens);
  h.documents = number_at<uint64_t>(bytes, f::at_documents);
  h.vocab = number_at<uint32_t>(bytes, f::at_vocab);
  if (h.width != 2 && h.width != 4) bad(path, "{} bytes per token; expected 2 or 4", h.width);
  const uint64_t room = (bytes.size() - f::header_bytes) / h.width;
  if (h.tokens != room || (bytes.size() - f::header_bytes) % h.width != 0) {
    bad(path, "the header says {} tokens, but the file has room for {}: it is truncated or changed", h.tokens, room);
  }
  return h;
}

std::vector<DatasetDocument> read_documents(const std::string& path, std::string_view text, const Header& header) {
  std::vector<DatasetDocument> out;
  uint64_t next = 0;
  for (size_t line = 1; !text.empty(); ++line) {
    const std::string where = fmt::format("{}:{}", path, line);
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) bad(where, "the line has no end: the file is truncated");
    const json object = parse_object(where, text.substr(0, end));
    text.remove_prefix(end + 1);
    DatasetDocument d;
    d.digest = digest_in(where, object, "id");
    const std::string split = member<std::string>(where, object, "split");
    if (split != "train" && split != "validation") bad(where, "split '{}'; expected train or validation", split);
    d.split = split == "train" ? Split::train : Split::validation;
    d.begin = member<uint64_t>(where, object, "begin");
    d.tokens = member<uint64_t>(where, object, "tokens");
    if (d.begin != next || d.tokens == 0 || d.tokens > header.tokens - next ||
        d.tokens >= std::numeric_limits<int32_t>::max()) {
      bad(where, "tokens {} from {} on; expected at least one, from {} on, of {} in all", d.tokens, d.begin, next,
          header.tokens);
    }
    next += d.tokens;
    if (!out.empty() && !(out.back().digest < d.digest))
      bad(where, "documents are not in ascending order of their ids");
    const auto provenance = object.find("provenance");
    if (provenance == object.end() || !provenance->is_array() || provenance->empty()) {
      bad(where, "'provenance' is not a list of at least one object");
    }
    for (const json& meta : *provenance) {
      if (!meta.is_object()) bad(where, "'provenance' holds something that is not an object");
      d.provenance.push_back(meta);
    }
    if (const auto claims = object.find("claims"); claims != object.end()) {
      if (!claims->is_array() || claims->size() != d.provenance.size())
        bad(where, "'claims' is not a list with one list for each provenance");
      try {
        for (const json& of_one : *claims) d.claims.push_back(parse_claims(of_one));
      } catch (const Error& e) {
        bad(where, "'claims': {}", e.what());
      }
    }
    out.push_back(std::move(d));
  }
  if (out.size() != header.documents || next != header.tokens) {
    bad(path, "{} documents with {} tokens; the token file says {} with {}", out.size(), next, header.documents,
        header.tokens);
  }
  return out;
}

}  // namespace

std::vector<Origin> DatasetDocument::origins() const {
  std::vector<Origin> out;
  for (size_t i = 0; i < provenance.size(); ++i) {
    out.push_back({provenance[i], {}});
    if (!claims.empty()) out.back().claims = claims[i];
  }
  return out;
}

const char* split_name(Split split) { return split == Split::train ? "train" : "validation"; }

Result<Dataset> Dataset::open(const std::string& folder) try {
  namespace f = data_format;
  Dataset set;
  set.folder_ = folder;
  const std::string manifest_path = join_path(folder, f::manifest_file);
  if (!real_file_system().exists(manifest_path)) {
    return Status(StatusCode::not_found, folder + ": not a prepared corpus: " + f::manifest_file +
                                             " is missing. Make one with 'govtrain data prepare'");
  }
  const std::string manifest = slurp(manifest_path);
  set.digest_ = sha256(manifest);
  set.manifest_ = parse_object(manifest_path, manifest);
  if (member<std::string>(manifest_path, set.manifest_, "format") != f::format_name) {
    bad(manifest_path, "'format' is not {}", f::format_name);
  }
  if (const uint64_t v = member<uint64_t>(manifest_path, set.manifest_, "version"); v != f::version) {
    bad(manifest_path, "prepared corpus of version {}, made by {}; this program reads version {}", v,
        member<std::string>(manifest_path, set.manifest_, "made_by"), f::version);
  }
  const json files = set.manifest_.value("files", json());
  const json tokenizer = set.manifest_.value("tokenizer", json());
  if (!files.is_object() || !tokenizer.is_object()) bad(manifest_path, "'files' or 'tokenizer' is not an object");

  const std::string kind = member<std::string>(manifest_path, tokenizer, "kind");
  const std::string file = kind == "bytes" ? "tokenizer.bytes" : "tokenizer.model";
  const std::string tokenizer_path = join_path(folder, file);
  const std::string tokenizer_bytes = slurp(tokenizer_path);
  check_checksum(tokenizer_path, files, file.c_str(), tokenizer_bytes);
  auto loaded = load_tokenizer(kind, tokenizer_bytes);
  if (!loaded.ok()) bad(tokenizer_path, "{}", loaded.status().message());
  set.tokenizer_ = std::move(loaded.value());

  const std::string tokens_path = join_path(folder, f::tokens_file);
  Result<MappedFile> mapped = MappedFile::open(tokens_path);
  if (!mapped.ok()) throw Bad{mapped.status().code(), mapped.status().message() + ". " + rebuild};
  set.file_ = std::move(mapped.value());
  const std::string_view bytes = set.file_.bytes();
  const Header header = read_header(tokens_path, bytes);
  check_checksum(tokens_path, files, f::tokens_file, bytes);
  if (header.vocab != static_cast<uint32_t>(set.tokenizer_->vocab_size())) {
    bad(tokens_path, "made for a vocabulary of {}; the tokenizer has {}", header.vocab, set.tokenizer_->vocab_size());
  }
  set.width_ = static_cast<int>(header.width);
  set.tokens_ = header.tokens;
  set.data_ = reinterpret_cast<const unsigned char*>(bytes.data()) + f::header_bytes;
  for (uint64_t i = 0; i < header.tokens; ++i) {
    if (const auto t = static_cast<uint32_t>(set.token(i)); t >= header.vocab) {
      bad(tokens_path, "token {} is {}, outside the vocabulary of {}", i, t, header.vocab);
    }
  }
  const std::string documents_path = join_path(folder, f::documents_file);
  const std::string documents = slurp(documents_path);
  check_checksum(documents_path, files, f::documents_file, documents);
  set.documents_ = read_documents(documents_path, documents, header);
  return set;
} catch (const Bad& e) {
  return Status(e.code, e.text);
}

std::string Dataset::classification() const {
  const nlohmann::json::json_pointer id("/options/classification/id");
  return manifest_.contains(id) && manifest_.at(id).is_string() ? manifest_.at(id).get<std::string>() : "";
}

int32_t Dataset::token(uint64_t position) const {
  const unsigned char* p = data_ + position * static_cast<uint64_t>(width_);
  if (width_ == 2) return p[0] | p[1] << 8;
  const uint32_t value = uint32_t{p[0]} | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
  return static_cast<int32_t>(value);
}

}  // namespace govtrain
