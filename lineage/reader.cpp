#include "lineage/reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "lineage/log_format.h"
#include "lineage/record.h"

namespace govtrain {

Result<NoteKey> read_log_key(FileSystem& fs, const std::string& dir) {
  const std::string path = join_path(dir, key_file);
  const Result<std::string> text = fs.read_at_most(path, 4096);
  if (!text.ok()) return text.status();
  Result<NoteKey> key = NoteKey::parse(text.value());
  if (!key.ok()) return Status(StatusCode::corrupt, path + ": " + key.status().message());
  return key;
}

Result<LogReader> LogReader::open(FileSystem& fs, const std::string& dir, const NoteKey& key) {
  Result<std::string> note = fs.read_at_most(join_path(dir, checkpoint_file), 1 << 20);
  if (!note.ok()) return note.status();
  Result<Checkpoint> checkpoint = verify_checkpoint(note.value(), key);
  if (!checkpoint.ok()) {
    return Status(checkpoint.status().code(),
                  fmt::format("{}: {}", join_path(dir, checkpoint_file), checkpoint.status().message()));
  }
  Result<TileTree> tree = TileTree::open(fs, dir, checkpoint.value().size, checkpoint.value().root);
  if (!tree.ok()) return tree.status();
  return LogReader(std::move(tree).value(), key, std::move(checkpoint).value(), std::move(note).value());
}

Result<std::string> LogReader::entry(uint64_t index) {
  if (index >= size()) {
    return Status(StatusCode::invalid, fmt::format("entry {} is not in the log; it has {} entries", index, size()));
  }
  std::string out;
  const Status s = visit(index, index + 1, [&](uint64_t, std::string_view leaf) {
    out = leaf;
    return true;
  });
  if (!s.ok()) return s;
  return out;
}

Status LogReader::visit(uint64_t begin, uint64_t end, const Visit& visit) {
  end = std::min(end, size());
  while (begin < end) {
    const uint64_t index = begin / tile_width;
    const auto bundle = tree_.bundle(index);
    if (!bundle.ok()) return bundle.status();
    const auto entries = split_bundle(*bundle.value(), tree_.bundle_width(index));
    if (!entries.ok()) return entries.status();
    const uint64_t stop = std::min(end, (index + 1) * tile_width);
    for (; begin < stop; ++begin) {
      if (!visit(begin, entries.value()[begin % tile_width])) return {};
    }
  }
  return {};
}

Result<std::vector<std::pair<uint64_t, uint64_t>>> LogReader::superseded() {
  if (scanned_) return superseded_;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  Status wrong;
  const Status read = visit(0, size(), [&](uint64_t index, std::string_view leaf) {
    if (leaf.find("\"k\":\"rewind\"") == std::string_view::npos) return true;
    const Result<ControlRecord> record = parse_control(leaf);
    if (!record.ok() || record.value().kind != "rewind") return true;
    const auto from = record.value().payload.find("from");
    if (from == record.value().payload.end() || !from->is_number_unsigned() || from->get<uint64_t>() > index) {
      wrong = {StatusCode::corrupt, fmt::format("entry {}: a rewind without a valid 'from'", index)};
      return false;
    }
    const uint64_t first = from->get<uint64_t>();
    while (!ranges.empty() && ranges.back().first >= first) ranges.pop_back();
    if (first == index) return true;
    if (!ranges.empty() && ranges.back().second >= first) {
      ranges.back().second = index;
    } else {
      ranges.emplace_back(first, index);
    }
    return true;
  });
  if (!read.ok()) return read;
  if (!wrong.ok()) return wrong;
  superseded_ = std::move(ranges);
  scanned_ = true;
  return superseded_;
}

Status LogReader::visit_effective(uint64_t begin, uint64_t end, const Visit& visit_one) {
  const auto ranges = superseded();
  if (!ranges.ok()) return ranges.status();
  bool go_on = true;
  const auto run = [&](uint64_t first, uint64_t last) {
    return visit(first, last, [&](uint64_t index, std::string_view leaf) { return go_on = visit_one(index, leaf); });
  };
  const auto written = [&](uint64_t index, std::string_view leaf) {
    if (leaf.find("\"k\":\"infer\"") == std::string_view::npos) return true;
    const Result<std::string> kind = leaf_kind(leaf);
    return go_on = !kind.ok() || kind.value() != "infer" || visit_one(index, leaf);
  };
  for (const auto& [first, last] : ranges.value()) {
    if (begin < std::min(first, end)) {
      if (Status s = run(begin, std::min(first, end)); !s.ok() || !go_on) return s;
    }
    const uint64_t hidden = std::max(begin, first), until = std::min(last, end);
    if (hidden < until) {
      if (Status s = visit(hidden, until, written); !s.ok() || !go_on) return s;
    }
    begin = std::max(begin, last);
  }
  return run(begin, end);
}

Result<Checkpoint> LogReader::covers(std::string_view note) {
  Result<Checkpoint> old = verify_checkpoint(note, key_);
  if (!old.ok()) return old;
  if (old.value().size > size()) {
    return Status(StatusCode::rolled_back,
                  fmt::format("the note covers {} entries, the log has only {}", old.value().size, size()));
  }
  const Result<Digest> root = tree_root(old.value().size, tree_.nodes());
  if (!root.ok()) return root.status();
  if (root.value() != old.value().root) {
    return Status(StatusCode::corrupt,
                  fmt::format("the log does not begin with the {} entries of the note", old.value().size));
  }
  return old;
}

}  // namespace govtrain
