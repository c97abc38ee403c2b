#include "tests/tools/changes.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/file.h"
#include "tools/govtrain/train/checkpoint.h"

namespace govtrain::testing {

using nlohmann::json;

namespace {

// Without the rewind.
std::vector<std::string> story(const TinyRun::Log& log) {
  std::vector<std::string> out;
  for (const std::string& leaf : log.leaves) {
    if (leaf_kind(leaf).value() != "rewind") out.push_back(leaf);
  }
  return out;
}

}  // namespace

void put(const std::string& path, const std::string& text) {
  std::ofstream(path + ".new") << text;
  std::filesystem::rename(path + ".new", path);
}

std::vector<json> controls(const TinyRun::Log& log, const std::string& kind) {
  std::vector<json> out;
  for (const std::string& leaf : log.leaves) {
    const json record = json::parse(leaf);
    if (record.at("k") == kind) out.push_back(record);
  }
  return out;
}

std::vector<std::string> with(std::vector<std::string> settings, const std::vector<std::string>& more) {
  settings.insert(settings.end(), more.begin(), more.end());
  return settings;
}

void check_again(const TinyRun& tiny, const std::string& out, const std::vector<std::string>& settings, int64_t step) {
  const std::string model = tiny.final_sha256(out, "model.safetensors");
  const std::vector<std::string> told = story(tiny.log(out));
  const CheckpointStore store(real_file_system(), tiny.path(out + "/ckpt"));
  REQUIRE(tiny.run("corpus", out, with(settings, {"run.resume=" + store.path(step)})) == 0);
  INFO(tiny.read(out + ".log"));
  CHECK(tiny.final_sha256(out, "model.safetensors") == model);
  CHECK(story(tiny.log(out)) == told);
  CHECK(tiny.program({"lineage", "verify", tiny.path(out)}, out + ".verify.log") == 0);
}

std::vector<std::string> train_beside(const TinyRun& tiny, const std::vector<std::string>& settings, int64_t steps,
                                      const std::function<void()>& reset,
                                      const std::function<bool(const WaitFor& wait_for)>& script) {
  for (;; steps *= 4) {
    REQUIRE(steps < 1000000);
    const std::vector<std::string> all = with(settings, {"train.steps=" + std::to_string(steps)});
    std::filesystem::remove_all(tiny.path("run"));
    reset();
    std::atomic<int> status = -1;
    std::thread trainer([&] { status = tiny.run("corpus", "run", all); });
    const bool seen = script([&](const std::string& file, const std::string& text) {
      while (status < 0) {
        if (tiny.read(file).find(text) != std::string::npos) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      return tiny.read(file).find(text) != std::string::npos;
    });
    trainer.join();
    INFO(tiny.read("run.log"));
    REQUIRE(status == 0);
    if (seen) return all;
  }
}

}  // namespace govtrain::testing
