#include "lineage/log_format.h"

#include <nlohmann/json.hpp>

#include "lineage/encoding.h"

namespace govtrain {

std::string tree_state_text(const TreeState& state) {
  std::string out = "{\"root\":\"" + base64(state.root) + "\",\"run\":";
  append_json_string(out, state.run);
  return out + ",\"size\":" + std::to_string(state.size) + "}\n";
}

Result<TreeState> parse_tree_state(std::string_view text) {
  const Status bad(StatusCode::corrupt, ".state/treeState is not {\"root\":...,\"run\":...,\"size\":...}");
  const Result<nlohmann::json> value = parse_json(text);
  if (!value.ok() || !value.value().is_object()) return bad;
  const nlohmann::json& object = value.value();
  TreeState out;
  const auto root = object.find("root");
  const auto run = object.find("run");
  const auto size = object.find("size");
  if (root == object.end() || !root->is_string() || run == object.end() || !run->is_string() || size == object.end() ||
      !size->is_number_unsigned() || size->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
    return bad;
  }
  const Result<Digest> digest = digest_from_base64(root->get<std::string>());
  if (!digest.ok()) return bad;
  out = {size->get<uint64_t>(), digest.value(), run->get<std::string>()};
  if (tree_state_text(out) != text) return bad;
  return out;
}

}  // namespace govtrain
