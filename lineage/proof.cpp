#include "lineage/proof.h"

#include <fmt/format.h>

#include "lineage/encoding.h"

namespace govtrain {
namespace {

constexpr std::string_view header = "c2sp.org/tlog-proof@v1\n";
constexpr size_t max_hashes = 128;  // twice the depth of any tree

Status corrupt(const std::string& what) { return {StatusCode::corrupt, "proof: " + what}; }

}  // namespace

std::string proof_text(const Proof& proof) {
  std::string out;
  for (const Digest& hash : proof) out += base64(hash) + "\n";
  return out;
}

Result<Proof> parse_proof(std::string_view text) {
  Proof out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return corrupt("the last line does not end in a newline");
    if (out.size() == max_hashes) return corrupt("more than 128 hashes");
    const Result<Digest> hash = digest_from_base64(text.substr(0, end));
    if (!hash.ok()) return corrupt(hash.status().message());
    out.push_back(hash.value());
    text.remove_prefix(end + 1);
  }
  return out;
}

std::string entry_proof_text(const EntryProof& proof) {
  std::string out(header);
  if (!proof.extra.empty()) out += fmt::format("extra {}\n", base64(proof.extra));
  return out + fmt::format("index {}\n{}\n{}", proof.index, proof_text(proof.hashes), proof.note);
}

Result<EntryProof> parse_entry_proof(std::string_view text) {
  EntryProof out;
  if (!text.starts_with(header)) return corrupt("the first line is not c2sp.org/tlog-proof@v1");
  text.remove_prefix(header.size());
  const auto line = [&](std::string_view key) -> Result<std::string> {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos || !text.starts_with(key)) {
      return corrupt(fmt::format("expected a line '{}...'", key));
    }
    std::string value(text.substr(key.size(), end - key.size()));
    text.remove_prefix(end + 1);
    return value;
  };
  if (text.starts_with("extra ")) {
    const Result<std::string> value = line("extra ");
    if (!value.ok()) return value.status();
    const Result<std::string> extra = from_base64(value.value());
    if (!extra.ok() || extra.value().empty()) return corrupt("'extra' is not base64");
    out.extra = extra.value();
  }
  const Result<std::string> index = line("index ");
  if (!index.ok()) return index.status();
  const Result<uint64_t> number = parse_decimal(index.value());
  if (!number.ok()) return corrupt("index: " + number.status().message());
  out.index = number.value();
  const size_t gap = text.starts_with('\n') ? 0 : text.find("\n\n");
  if (gap == std::string_view::npos) return corrupt("no empty line before the checkpoint");
  const size_t hashes_end = gap == 0 ? 0 : gap + 1;
  Result<Proof> hashes = parse_proof(text.substr(0, hashes_end));
  if (!hashes.ok()) return hashes.status();
  out.hashes = std::move(hashes).value();
  out.note = text.substr(hashes_end + 1);
  return out;
}

Result<EntryProof> prove_entry(LogReader& log, uint64_t index) {
  Result<Proof> hashes = inclusion_proof(index, log.size(), log.tree().nodes());
  if (!hashes.ok()) return hashes.status();
  return EntryProof{index, std::move(hashes).value(), log.checkpoint_note(), ""};
}

Result<Checkpoint> check_entry(const EntryProof& proof, std::string_view leaf, const NoteKey& key) {
  Result<Checkpoint> head = verify_checkpoint(proof.note, key);
  if (!head.ok()) return head;
  const Status s = check_inclusion(proof.hashes, proof.index, leaf_hash(leaf), head.value().size, head.value().root);
  if (!s.ok()) return s;
  return head;
}

Result<Proof> prove_extension(LogReader& log, uint64_t old_size) {
  return consistency_proof(old_size, log.size(), log.tree().nodes());
}

Status check_extension(const Proof& proof, std::string_view old_note, std::string_view new_note, const NoteKey& key) {
  const Result<Checkpoint> before = verify_checkpoint(old_note, key);
  if (!before.ok()) return before.status();
  const Result<Checkpoint> after = verify_checkpoint(new_note, key);
  if (!after.ok()) return after.status();
  if (before.value().size > after.value().size) {
    return {StatusCode::rolled_back, fmt::format("the older checkpoint covers {} entries, the newer only {}",
                                                 before.value().size, after.value().size)};
  }
  return check_consistency(proof, before.value().size, before.value().root, after.value().size, after.value().root);
}

}  // namespace govtrain
