#include "core/hash.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <new>

#include "core/error.h"

namespace govtrain {
namespace {

// OpenSSL's own cleanup at exit would run before the worker threads end, which may still hash or hold its per-thread
// state. It is asked for by whatever uses OpenSSL first, so this comes before main.
[[maybe_unused]] const int without_cleanup_at_exit = OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, nullptr);

}  // namespace

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() {
    if (context == nullptr || EVP_DigestInit_ex(context, EVP_sha256(), nullptr) != 1) throw std::bad_alloc();
  }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::update(std::string_view bytes) {
  if (EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) != 1) throw std::bad_alloc();
  return *this;
}

Digest Sha256::finish() {
  Digest out{};
  if (EVP_DigestFinal_ex(state_->context, out.data(), nullptr) != 1) throw std::bad_alloc();
  return out;
}

Digest sha256(std::string_view bytes) { return Sha256().update(bytes).finish(); }

std::string hex(const Digest& digest) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  out.reserve(64);
  for (const uint8_t b : digest) {
    out.push_back(digits[b >> 4]);
    out.push_back(digits[b & 15]);
  }
  return out;
}

Digest digest_from_hex(std::string_view text) {
  const auto nibble = [&](char c) -> uint8_t {
    if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<uint8_t>(c - 'a' + 10);
    throw Error("digest", "expected 64 lower-case hex digits, got '{}'", text);
  };
  if (text.size() != 64) throw Error("digest", "expected 64 lower-case hex digits, got '{}'", text);
  Digest out{};
  for (size_t i = 0; i < 32; ++i) out[i] = static_cast<uint8_t>(nibble(text[2 * i]) << 4 | nibble(text[2 * i + 1]));
  return out;
}

}  // namespace govtrain
