#include "tools/govtrain/data/shards.h"

#include <fmt/format.h>

#include "tools/govtrain/data/format.h"

namespace govtrain {

using nlohmann::json;

namespace {

constexpr char made_by[] = "govtrain " GOVTRAIN_VERSION;

void put(std::string& out, size_t at, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out[at + i] = static_cast<char>(value >> (8 * i));
}

std::string tokens_bytes(const ShardContents& contents) {
  namespace f = data_format;
  uint64_t tokens = 0;
  for (const ShardDocument& d : contents.documents) tokens += d.tokens.size();
  const auto vocab = static_cast<uint64_t>(contents.tokenizer->vocab_size());
  const size_t width = vocab <= 65536 ? 2 : 4;
  std::string out(f::header_bytes, '\0');
  out.replace(0, f::magic.size(), f::magic);
  put(out, f::at_version, f::version, 4);
  put(out, f::at_width, width, 4);
  put(out, f::at_tokens, tokens, 8);
  put(out, f::at_documents, contents.documents.size(), 8);
  put(out, f::at_vocab, vocab, 4);
  const std::string maker = std::string(made_by).substr(0, 23);
  out.replace(f::at_made_by, maker.size(), maker);
  out.reserve(out.size() + tokens * width);
  for (const ShardDocument& d : contents.documents) {
    for (const int32_t t : d.tokens) {
      for (size_t i = 0; i < width; ++i) out.push_back(static_cast<char>(static_cast<uint32_t>(t) >> (8 * i)));
    }
  }
  return out;
}

std::string documents_bytes(const ShardContents& contents) {
  std::string out;
  uint64_t begin = 0;
  for (const ShardDocument& d : contents.documents) {
    std::string provenance;
    for (const std::string& p : d.provenance) provenance += (provenance.empty() ? "" : ",") + p;
    const std::string claims = d.claims.empty() ? "" : ",\"claims\":" + d.claims;
    out += fmt::format("{{\"begin\":{}{},\"id\":\"{}\",\"provenance\":[{}],\"split\":\"{}\",\"tokens\":{}}}\n", begin,
                       claims, hex(d.digest), provenance, split_name(d.split), d.tokens.size());
    begin += d.tokens.size();
  }
  return out;
}

}  // namespace

Status write_shards(FileSystem& fs, const std::string& folder, const ShardContents& contents) {
  namespace f = data_format;
  const std::string parent = parent_path(folder);
  const std::string temporary = join_path(parent, ".tmp-" + folder.substr(parent == "." ? 0 : parent.size() + 1));
  std::vector<std::pair<std::string, std::string>> files = {
      {f::tokens_file, tokens_bytes(contents)},
      {f::documents_file, documents_bytes(contents)},
      {contents.tokenizer->file_name(), contents.tokenizer->bytes()}};
  json list = json::object();
  for (const auto& [name, bytes] : files) list[name] = {{"bytes", bytes.size()}, {"sha256", hex(sha256(bytes))}};
  uint64_t tokens = 0;
  for (const ShardDocument& d : contents.documents) tokens += d.tokens.size();
  const json manifest = {
      {"format", f::format_name},
      {"version", f::version},
      {"made_by", made_by},
      {"documents", contents.documents.size()},
      {"tokens", tokens},
      {"tokenizer",
       {{"kind", contents.tokenizer->kind()},
        {"vocab_size", contents.tokenizer->vocab_size()},
        {"digest", hex(contents.tokenizer->digest())}}},
      {"options", contents.options},
      {"files", list},
  };
  files.emplace_back(f::excluded_file, contents.excluded);
  files.emplace_back(f::prepare_file, contents.prepare.dump(2) + "\n");
  files.emplace_back(f::manifest_file, manifest.dump(2) + "\n");

  Status status = fs.make_dirs(parent);
  if (status.ok()) status = fs.remove_all(temporary);
  if (status.ok()) status = fs.make_dirs(temporary);
  for (const auto& [name, bytes] : files) {
    if (!status.ok()) break;
    status = fs.write(join_path(temporary, name), bytes);
    if (status.ok()) status = fs.sync_file(join_path(temporary, name));
  }
  if (status.ok()) status = fs.sync_dir(temporary);
  if (status.ok()) status = fs.rename(temporary, folder);
  if (status.ok()) return fs.sync_dir(parent);
  if (const Status cleanup = fs.remove_all(temporary); !cleanup.ok()) {
    return Status(status.code(), status.message() + "; and the temporary folder stays behind: " + cleanup.message());
  }
  return status;
}

}  // namespace govtrain
