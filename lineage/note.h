// Signed notes (C2SP signed-note v1.0.0) with Ed25519, and the text forms of their keys. Knows nothing of trees.
// A note is text that ends in a newline, an empty line, and lines "U+2014 SP name SP base64(key id || signature)".
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "core/status.h"

namespace govtrain {

// A public key with its name. Auditors hold its text form: name+hex(key id)+base64(0x01 || key).
struct NoteKey {
  std::string name;
  std::array<uint8_t, 32> key{};

  // The first four bytes of SHA-256(name || '\n' || 0x01 || key).
  std::array<uint8_t, 4> id() const;
  std::string text() const;
  static Result<NoteKey> parse(std::string_view text);
};

// Non-empty UTF-8 without spaces, control characters or '+'.
bool valid_note_name(std::string_view name);

// A private key. Copies share it. Signing is deterministic (RFC 8032).
class NoteSigner {
 public:
  // `invalid` when the name is not a valid one.
  static Result<NoteSigner> from_seed(std::string name, const std::array<uint8_t, 32>& seed);
  // From the form PRIVATE+KEY+name+hex(key id)+base64(0x01 || seed).
  static Result<NoteSigner> parse(std::string_view text);

  const NoteKey& public_key() const { return public_; }
  const std::string& name() const { return public_.name; }
  std::string private_text() const;
  // The whole signed note. REQUIRES: text is UTF-8, ends in '\n' and has no other control character.
  std::string sign(std::string_view text) const;

 private:
  struct Key;
  NoteSigner() = default;
  NoteKey public_;
  std::array<uint8_t, 32> seed_{};
  std::shared_ptr<const Key> key_;
};

// Makes a new random key and writes its private form to `path` (mode 0600, never over an existing file). Keep the file
// outside the folder of the log.
Result<NoteSigner> create_note_key(FileSystem& fs, const std::string& path, const std::string& name);
Result<NoteSigner> load_note_key(FileSystem& fs, const std::string& path);

// The signed text, with its final newline. `corrupt` when the note is malformed, a known key's signature does not
// verify, or no known key signed. Signatures of unknown keys are ignored; more than 100 are refused.
Result<std::string> open_note(std::string_view note, const std::vector<NoteKey>& known);

}  // namespace govtrain
