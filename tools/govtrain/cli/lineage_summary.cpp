#include "tools/govtrain/cli/lineage_summary.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "core/config/diagnostics.h"
#include "lineage/log_format.h"
#include "lineage/record.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/io/human.h"

namespace govtrain {
namespace {

using nlohmann::json;

const std::string nothing = "(none)";

struct Origin {
  std::string source, license;
  auto operator<=>(const Origin&) const = default;
};

struct Row {
  int64_t records = 0, excluded = 0, tokens = 0;
  std::vector<double> weight;  // summed per block, by tokens
  std::vector<double> norm;    // summed per block
};

// The value of `key` in one metadata object or in all objects of a list, joined.
std::string value_of(const json& object, const std::string& key) {
  std::set<std::string> values;
  for (const json& meta : object.is_array() ? object : json::array({object})) {
    const auto it = meta.is_object() ? meta.find(key) : meta.end();
    if (meta.is_object() && it != meta.end() && it->is_string()) values.insert(it->get<std::string>());
  }
  return values.empty() ? nothing : join({values.begin(), values.end()}, " + ");
}

// Provenance objects by the name that records carry, the first 16 digits of their digest.
std::map<std::string, Origin> read_origins(FileSystem& fs, const std::string& folder) {
  std::map<std::string, Origin> out;
  const std::string prov = join_path(folder, provenance_dir);
  if (!fs.exists(prov)) return out;
  for (const std::string& name : require(fs.list(prov))) {
    const std::string bytes = require(fs.read(join_path(prov, name)));
    const std::string digest = hex(sha256(bytes));
    if (name != digest + ".json")
      throw Failure(exit_unverified, fmt::format("{}/{} does not have the digest of its name", prov, name));
    json object = json::parse(bytes, nullptr, false);
    if (object.is_object() && object.contains("provenance")) object = object["provenance"];
    const std::string package = value_of(object, "package");
    out[digest.substr(0, 16)] = {package == nothing ? value_of(object, "source") : package,
                                 value_of(object, "license")};
  }
  return out;
}

void add(Row& row, const ExampleRecord& r) {
  row.weight.resize(std::max(row.weight.size(), r.w.size()));
  row.norm.resize(row.weight.size());
  if (!r.place) {
    ++row.excluded;
    return;
  }
  ++row.records;
  row.tokens += r.tok;
  for (size_t b = 0; b < r.w.size(); ++b) {
    row.weight[b] += static_cast<double>(r.w[b]) * static_cast<double>(r.tok);
    if (b < r.g.size() && std::isfinite(r.g[b])) row.norm[b] += static_cast<double>(r.g[b]);
  }
}

// Names of the blocks, where a control record lists them.
void find_blocks(std::string_view leaf, std::vector<std::string>& names) {
  const json record = json::parse(leaf, nullptr, false);
  if (!record.is_object() || !record.contains("blocks") || !record["blocks"].is_array()) return;
  std::vector<std::string> found;
  for (const json& name : record["blocks"]) {
    if (name.is_string()) found.push_back(name);
    if (name.is_object() && name.contains("name") && name["name"].is_string()) found.push_back(name["name"]);
  }
  if (record.contains("first") && record["first"] == names.size()) {
    names.insert(names.end(), found.begin(), found.end());  // one of several entries
  } else if (!found.empty()) {
    names = found;
  }
}

}  // namespace

void print_lineage_summary(FileSystem& fs, const std::string& folder, LogReader& log) {
  const std::map<std::string, Origin> origins = read_origins(fs, folder);
  std::map<Origin, Row> rows;
  std::vector<std::string> names;
  Status broken;
  const auto visit = [&](uint64_t index, std::string_view leaf) {
    const auto kind = leaf_kind(leaf);
    if (kind.ok() && kind.value() != "ex") {
      find_blocks(leaf, names);
      return true;
    }
    const auto record = parse_example(leaf);
    if (!record.ok()) {
      broken = Status(record.status().code(), fmt::format("entry {}: {}", index, record.status().message()));
      return false;
    }
    const auto origin = origins.find(record.value().prov);
    add(rows[origin == origins.end() ? Origin{"(unknown)", "(unknown)"} : origin->second], record.value());
    return true;
  };
  require(log.visit_effective(0, log.size(), visit), exit_unverified);
  require(broken, exit_unverified);

  size_t blocks = 0;
  for (const auto& [origin, row] : rows) blocks = std::max(blocks, row.weight.size());
  std::vector<double> total(blocks);
  for (const auto& [origin, row] : rows)
    for (size_t b = 0; b < row.norm.size(); ++b) total[b] += row.norm[b];
  std::vector<std::string> head = {"source", "licence", "examples", "excluded", "tokens"};
  for (size_t b = 0; b < blocks; ++b) head.push_back(b < names.size() ? names[b] : fmt::format("block {}", b));
  std::vector<std::vector<std::string>> cells = {head};
  for (const auto& [origin, row] : rows) {
    std::vector<std::string> line = {origin.source, origin.license, grouped(row.records), grouped(row.excluded),
                                     human_count(static_cast<double>(row.tokens))};
    for (size_t b = 0; b < blocks; ++b) {
      const double weight =
          row.tokens > 0 && b < row.weight.size() ? row.weight[b] / static_cast<double>(row.tokens) : 0;
      const double share = b < row.norm.size() && total[b] > 0 ? 100 * row.norm[b] / total[b] : 0;
      line.push_back(row.records == 0 ? "-" : fmt::format("{:.2f} {:5.1f}%", weight, share));
    }
    cells.push_back(line);
  }
  fmt::print("{}", table(cells));
  fmt::print(
      "\nEach block: mean weight of the source's tokens, and the source's share of the summed gradient norms that\n"
      "reached the block. {} entries, root {}\n",
      grouped(static_cast<int64_t>(log.size())), hex(log.checkpoint().root));
}

}  // namespace govtrain
