#include "lineage/note.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <new>

#include "core/hash.h"
#include "lineage/encoding.h"

namespace govtrain {
namespace {

constexpr char algorithm = 0x01;  // Ed25519
constexpr std::string_view dash = "\xE2\x80\x94 ";
constexpr std::string_view private_prefix = "PRIVATE+KEY+";
constexpr size_t max_note_bytes = 1 << 20;
constexpr int max_signatures = 100;

struct FreeKey {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};
struct FreeContext {
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
};
using KeyHandle = std::unique_ptr<EVP_PKEY, FreeKey>;
using ContextHandle = std::unique_ptr<EVP_MD_CTX, FreeContext>;

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

template <size_t N>
std::string_view view_of(const std::array<uint8_t, N>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), N};
}

template <size_t N>
std::array<uint8_t, N> array_of(std::string_view bytes) {
  std::array<uint8_t, N> out{};
  std::copy_n(bytes.begin(), N, out.begin());
  return out;
}

std::string hex8(const std::array<uint8_t, 4>& id) {
  return fmt::format("{:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]);
}

bool verifies(const NoteKey& key, std::string_view text, std::string_view signature) {
  const KeyHandle handle(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.key.data(), key.key.size()));
  const ContextHandle context(EVP_MD_CTX_new());
  return handle && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, handle.get()) == 1 &&
         EVP_DigestVerify(context.get(), bytes_of(signature), signature.size(), bytes_of(text), text.size()) == 1;
}

// Code points of White_Space above ASCII, as UTF-8.
constexpr std::string_view unicode_spaces[] = {
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81", "\xE2\x80\x82", "\xE2\x80\x83",
    "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A",
    "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

struct KeyText {
  std::string name;
  std::array<uint8_t, 4> id;
  std::array<uint8_t, 32> key;
};

// name+hex8+base64(0x01 || 32 bytes); base64 may itself hold '+', names and ids may not.
Result<KeyText> split_key(std::string_view text) {
  const Status bad(StatusCode::invalid, "a key must read name+<8 hex digits>+<base64 of 33 bytes>, algorithm Ed25519");
  const size_t first = text.find('+');
  if (first == std::string_view::npos) return bad;
  const std::string_view name = text.substr(0, first);
  const std::string_view rest = text.substr(first + 1);
  if (!valid_note_name(name) || rest.size() < 9 || rest[8] != '+') return bad;
  const Result<std::string> body = from_base64(rest.substr(9));
  if (!body.ok() || body.value().size() != 33 || body.value()[0] != algorithm) return bad;
  KeyText out;
  out.name = name;
  out.key = array_of<32>(std::string_view(body.value()).substr(1));
  for (size_t i = 0; i < 4; ++i) {
    const auto nibble = [&](char c) {
      return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    };
    const int high = nibble(rest[2 * i]);
    const int low = nibble(rest[2 * i + 1]);
    if (high < 0 || low < 0) return bad;
    out.id[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return out;
}

}  // namespace

struct NoteSigner::Key {
  KeyHandle handle;
};

bool valid_note_name(std::string_view name) {
  if (name.empty() || name.size() > 1000 || !valid_utf8(name)) return false;
  if (std::any_of(name.begin(), name.end(),
                  [](char c) { return static_cast<uint8_t>(c) <= 0x20 || c == 0x7F || c == '+'; })) {
    return false;
  }
  return std::none_of(std::begin(unicode_spaces), std::end(unicode_spaces),
                      [&](std::string_view space) { return name.find(space) != std::string_view::npos; });
}

std::array<uint8_t, 4> NoteKey::id() const {
  const Digest digest = sha256(fmt::format("{}\n{}{}", name, algorithm, view_of(key)));
  return {digest[0], digest[1], digest[2], digest[3]};
}

std::string NoteKey::text() const {
  return fmt::format("{}+{}+{}", name, hex8(id()), base64(algorithm + std::string(view_of(key))));
}

Result<NoteKey> NoteKey::parse(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  const Result<KeyText> parts = split_key(text);
  if (!parts.ok()) return parts.status();
  NoteKey key{parts.value().name, parts.value().key};
  if (key.id() != parts.value().id)
    return Status(StatusCode::invalid, "the key's id does not match its name and bytes");
  return key;
}

Result<NoteSigner> NoteSigner::from_seed(std::string name, const std::array<uint8_t, 32>& seed) {
  if (!valid_note_name(name)) {
    return Status(StatusCode::invalid,
                  fmt::format("'{}' cannot name a log; expected text without spaces, control characters or '+'", name));
  }
  auto key = std::make_shared<Key>();
  key->handle.reset(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  NoteSigner signer;
  size_t length = signer.public_.key.size();
  if (!key->handle || EVP_PKEY_get_raw_public_key(key->handle.get(), signer.public_.key.data(), &length) != 1) {
    throw std::bad_alloc();
  }
  signer.public_.name = std::move(name);
  signer.seed_ = seed;
  signer.key_ = std::move(key);
  return signer;
}

Result<NoteSigner> NoteSigner::parse(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  if (!text.starts_with(private_prefix)) {
    return Status(StatusCode::invalid, "a private key must begin with PRIVATE+KEY+");
  }
  const Result<KeyText> parts = split_key(text.substr(private_prefix.size()));
  if (!parts.ok()) return parts.status();
  Result<NoteSigner> signer = from_seed(parts.value().name, parts.value().key);
  if (signer.ok() && signer.value().public_.id() != parts.value().id) {
    return Status(StatusCode::invalid, "the private key's id does not match its name and bytes");
  }
  return signer;
}

std::string NoteSigner::private_text() const {
  return fmt::format("{}{}+{}+{}", private_prefix, name(), hex8(public_.id()),
                     base64(algorithm + std::string(view_of(seed_))));
}

std::string NoteSigner::sign(std::string_view text) const {
  std::array<uint8_t, 64> signature{};
  size_t length = signature.size();
  const ContextHandle context(EVP_MD_CTX_new());
  if (!context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key_->handle.get()) != 1 ||
      EVP_DigestSign(context.get(), signature.data(), &length, bytes_of(text), text.size()) != 1) {
    throw std::bad_alloc();
  }
  const std::string body = std::string(view_of(public_.id())) + std::string(view_of(signature));
  return fmt::format("{}\n{}{} {}\n", text, dash, name(), base64(body));
}

Result<NoteSigner> create_note_key(FileSystem& fs, const std::string& path, const std::string& name) {
  std::array<uint8_t, 32> seed{};
  if (RAND_priv_bytes(seed.data(), static_cast<int>(seed.size())) != 1) {
    return Status(StatusCode::io, "the system gave no random bytes for a new key");
  }
  Result<NoteSigner> signer = NoteSigner::from_seed(name, seed);
  if (!signer.ok()) return signer;
  const std::string folder = parent_path(path);
  if (Status s = fs.make_dirs(folder); !s.ok()) return s;
  if (Status s = fs.write_private(path, signer.value().private_text() + "\n"); !s.ok()) return s;
  if (Status s = fs.sync_dir(folder.empty() ? "." : folder); !s.ok()) return s;
  return signer;
}

Result<NoteSigner> load_note_key(FileSystem& fs, const std::string& path) {
  const Result<std::string> text = fs.read_at_most(path, 4096);
  if (!text.ok()) return text.status();
  Result<NoteSigner> signer = NoteSigner::parse(text.value());
  if (!signer.ok()) return Status(StatusCode::corrupt, path + ": " + signer.status().message());
  return signer;
}

Result<std::string> open_note(std::string_view note, const std::vector<NoteKey>& known) {
  const auto bad = [](const std::string& why) { return Status(StatusCode::corrupt, "signed note: " + why); };
  if (note.size() > max_note_bytes) return bad("longer than 1 MiB");
  if (!valid_utf8(note)) return bad("not UTF-8");
  if (std::any_of(note.begin(), note.end(), [](char c) { return static_cast<uint8_t>(c) < 0x20 && c != '\n'; })) {
    return bad("contains a control character");
  }
  const size_t gap = note.rfind("\n\n");
  if (gap == std::string_view::npos) return bad("no empty line before the signatures");
  const std::string_view text = note.substr(0, gap + 1);
  std::string_view lines = note.substr(gap + 2);
  if (lines.empty() || lines.back() != '\n') return bad("the last line does not end in a newline");
  bool verified = false;
  for (int count = 0; !lines.empty();) {
    const size_t end = lines.find('\n');
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 1);
    if (++count > max_signatures) return bad("more than 100 signatures");
    if (!line.starts_with(dash)) return bad("a signature line does not begin with an em dash");
    line.remove_prefix(dash.size());
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) return bad("a signature line has no signature");
    const std::string_view name = line.substr(0, space);
    const Result<std::string> body = from_base64(line.substr(space + 1));
    if (!valid_note_name(name) || !body.ok() || body.value().size() < 5) return bad("a signature line is malformed");
    for (const NoteKey& key : known) {
      if (key.name != name || view_of(key.id()) != std::string_view(body.value()).substr(0, 4)) continue;
      if (body.value().size() != 68 || !verifies(key, text, std::string_view(body.value()).substr(4))) {
        return bad(fmt::format("the signature of {} does not verify", key.name));
      }
      verified = true;
    }
  }
  if (!verified) return bad("no signature by a known key");
  return std::string(text);
}

}  // namespace govtrain
