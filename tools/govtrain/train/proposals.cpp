#include "tools/govtrain/train/proposals.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "tools/govtrain/base/exit.h"

namespace govtrain {
namespace {

std::string path_of(const std::string& run, int64_t id) {
  return join_path(join_path(run, "proposals"), fmt::format("{}.json", id));
}

}  // namespace

std::optional<Verdict> read_verdict(FileSystem& fs, const std::string& run, int64_t id) {
  const std::string path = path_of(run, id);
  if (!fs.exists(path)) return std::nullopt;
  const std::string text = require(fs.read(path));
  const auto parsed = nlohmann::json::parse(text, nullptr, false);
  const std::string verdict =
      parsed.is_object() && parsed.contains("verdict") && parsed.at("verdict").is_string() ? parsed.at("verdict") : "";
  if ((verdict != "approve" && verdict != "reject") || !parsed.contains("reason") || !parsed.at("reason").is_string()) {
    throw Failure(exit_data, path +
                                 ": expected {\"reason\": \"..\", \"verdict\": \"approve\" or \"reject\"}; remove it "
                                 "and decide again with 'govtrain proposals'");
  }
  return Verdict{verdict == "approve", parsed.at("reason")};
}

Status write_verdict(FileSystem& fs, const std::string& run, int64_t id, const Verdict& verdict) {
  const std::string path = path_of(run, id);
  if (fs.exists(path)) return {StatusCode::exists, path + " holds a verdict already"};
  if (Status s = fs.make_dirs(join_path(run, "proposals")); !s.ok()) return s;
  const nlohmann::json text = {{"verdict", verdict.approved ? "approve" : "reject"}, {"reason", verdict.reason}};
  return write_atomic(fs, path, text.dump() + "\n");
}

}  // namespace govtrain
