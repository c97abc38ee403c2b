#include "lineage/checkpoint.h"

#include <fmt/format.h>

#include "lineage/encoding.h"
#include "lineage/merkle.h"

namespace govtrain {

std::string checkpoint_text(const Checkpoint& checkpoint) {
  std::string out = fmt::format("{}\n{}\n{}\n", checkpoint.origin, checkpoint.size, base64(checkpoint.root));
  for (const std::string& line : checkpoint.extensions) out += line + "\n";
  return out;
}

Result<Checkpoint> parse_checkpoint(std::string_view text) {
  const auto bad = [](const std::string& why) { return Status(StatusCode::corrupt, "checkpoint: " + why); };
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return bad("the last line does not end in a newline");
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  if (lines.size() < 3) return bad(fmt::format("expected at least three lines, got {}", lines.size()));
  Checkpoint out;
  out.origin = lines[0];
  if (out.origin.empty()) return bad("the origin is empty");
  const Result<uint64_t> size = parse_decimal(lines[1]);
  if (!size.ok()) return bad("size: " + size.status().message());
  const Result<Digest> root = digest_from_base64(lines[2]);
  if (!root.ok()) return bad("root: " + root.status().message());
  out.size = size.value();
  out.root = root.value();
  if (out.size == 0 && out.root != empty_root()) return bad("the root of an empty log is wrong");
  for (size_t i = 3; i < lines.size(); ++i) {
    if (lines[i].empty()) return bad("an extension line is empty");
    out.extensions.emplace_back(lines[i]);
  }
  return out;
}

Result<Checkpoint> verify_checkpoint(std::string_view note, const NoteKey& key) {
  const Result<std::string> text = open_note(note, {key});
  if (!text.ok()) return text.status();
  Result<Checkpoint> checkpoint = parse_checkpoint(text.value());
  if (checkpoint.ok() && checkpoint.value().origin != key.name) {
    return Status(StatusCode::corrupt, fmt::format("checkpoint: origin is '{}'; expected '{}', the key's name",
                                                   checkpoint.value().origin, key.name));
  }
  return checkpoint;
}

}  // namespace govtrain
