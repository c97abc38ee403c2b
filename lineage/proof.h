// Proofs as files: that an entry is in a log (C2SP tlog-proof, draft), and that a log extends an older checkpoint of
// it. Who checks needs the public key and the entry's bytes or the older note; not the log.
#pragma once

#include <string>
#include <string_view>

#include "lineage/checkpoint.h"
#include "lineage/merkle.h"
#include "lineage/reader.h"

namespace govtrain {

struct EntryProof {
  uint64_t index = 0;
  Proof hashes;       // the leaf's sibling first
  std::string note;   // the signed checkpoint that it leads to
  std::string extra;  // not authenticated
  bool operator==(const EntryProof&) const = default;
};

// c2sp.org/tlog-proof@v1, [extra <base64>], index <decimal>, <base64 hash>..., an empty line, the note.
std::string entry_proof_text(const EntryProof& proof);
Result<EntryProof> parse_entry_proof(std::string_view text);

Result<EntryProof> prove_entry(LogReader& log, uint64_t index);
// The checkpoint that covers `leaf`; `corrupt` when the signature or the proof does not hold.
Result<Checkpoint> check_entry(const EntryProof& proof, std::string_view leaf, const NoteKey& key);

// Proof that the log begins with the first `old_size` entries that it once published.
Result<Proof> prove_extension(LogReader& log, uint64_t old_size);
// That the log of `new_note` is the log of `old_note` with entries added.
Status check_extension(const Proof& proof, std::string_view old_note, std::string_view new_note, const NoteKey& key);

// One base64 hash per line.
std::string proof_text(const Proof& proof);
Result<Proof> parse_proof(std::string_view text);

}  // namespace govtrain
