#include "tools/govtrain/train/proposals.h"

#include <fmt/format.h>

#include "core/hash.h"
#include "lineage/record.h"
#include "tools/govtrain/base/exit.h"

namespace govtrain {
namespace {

using nlohmann::json;

std::string path_of(const std::string& run, const json& proposal) {
  return join_path(join_path(run, "proposals"), fmt::format("{}.json", proposal.at("id").get<int64_t>()));
}

std::string digest_of(const json& proposal) {
  std::string leaf;
  require(write_leaf(leaf, ControlRecord{"proposal", proposal}));
  return "sha256:" + hex(sha256(leaf));
}

}  // namespace

std::optional<Verdict> read_verdict(FileSystem& fs, const std::string& run, const json& proposal) {
  const std::string path = path_of(run, proposal);
  if (!fs.exists(path)) return std::nullopt;
  const json parsed = json::parse(require(fs.read(path)), nullptr, false);
  const auto text = [&](const char* key) {
    return parsed.is_object() && parsed.contains(key) && parsed.at(key).is_string() ? parsed.at(key).get<std::string>()
                                                                                    : std::string();
  };
  const std::string verdict = text("verdict");
  const bool complete = parsed.is_object() && parsed.contains("reason") && parsed.at("reason").is_string();
  if ((verdict != "approve" && verdict != "reject") || !complete) {
    throw Failure(exit_data, path +
                                 ": expected {\"reason\": \"..\", \"verdict\": \"approve\" or \"reject\"}; remove it "
                                 "and decide again with 'govtrain proposals'");
  }
  if (text("proposal") != digest_of(proposal)) {
    throw Failure(exit_data, path +
                                 ": the verdict was given on another proposal of that number; remove it and decide "
                                 "again with 'govtrain proposals'");
  }
  return Verdict{verdict == "approve", text("reason")};
}

Status write_verdict(FileSystem& fs, const std::string& run, const json& proposal, const Verdict& verdict) {
  const std::string path = path_of(run, proposal);
  if (fs.exists(path)) return {StatusCode::exists, path + " holds a verdict already"};
  if (Status s = fs.make_dirs(join_path(run, "proposals")); !s.ok()) return s;
  const json text = {{"proposal", digest_of(proposal)},
                     {"verdict", verdict.approved ? "approve" : "reject"},
                     {"reason", verdict.reason}};
  return write_atomic(fs, path, text.dump() + "\n");
}

}  // namespace govtrain
