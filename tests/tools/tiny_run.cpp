#include "tests/tools/tiny_run.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <thread>

#include "core/file.h"
#include "core/hash.h"
#include "core/rng.h"
#include "lineage/reader.h"
#include "tools/govtrain/train/checkpoint.h"

namespace govtrain::testing {
namespace {

constexpr const char* policy = R"(policy: tiny
version: 1
default: none
profiles:
  full: {all: 1}
  shallow: {embedding: 1, layer.0: 0.5, rest: 0}
rules:
  - {name: free, when: {license: MIT}, profile: full}
  - {name: copyleft, when: {license: GPL-3.0-only}, profile: shallow}
  - {name: unclear, when: {class: uncertain}, profile: none}
)";

constexpr const char* config = R"(run: {name: tiny, seed: 7, out: unset}
data:
  inputs: [unset]
  cache: cache
  tokenizer: {kind: bytes}
  context: 32
  validation_fraction: 0.1
model: {layers: 2, width: 32, heads: 2, mlp_width: 64, dropout: 0.1}
policy: {file: policy.yaml, date: 2026-06-01}
optim: {lr: 3.0e-3, warmup_steps: 2, weight_decay: 0.1, clip: 1.0}
train: {steps: 12, tokens_per_step: 256}
save: {every: 4, keep_last: 2}
log: {progress: none, tensorboard: false}
)";

std::string words(const Rng& rng, uint64_t at, int count) {
  static const char* const list[] = {"routing", "the", "block", "of",    "a",     "licence", "weight", "is",
                                     "example", "and", "depth", "never", "layer", "log",     "that",   "model"};
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += list[rng.bits(at + static_cast<uint64_t>(i)) % 16];
    text += i % 9 == 8 ? ".\n" : " ";
  }
  return text;
}

}  // namespace

TinyRun::TinyRun() {
  std::string pattern = std::filesystem::temp_directory_path() / "govtrain-tiny-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  folder_ = pattern;
  std::ofstream(path("policy.yaml")) << policy;
  std::ofstream(path("config.yaml")) << config;
  write_corpus("corpus", default_documents(1));
}

TinyRun::~TinyRun() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::vector<TinyDocument> TinyRun::default_documents(uint64_t seed) {
  const Rng rng(seed, Stream::test);
  std::vector<TinyDocument> documents;
  for (uint64_t i = 0; i < 60; ++i) {
    TinyDocument d;
    d.text = words(rng, 1000 * i, 8 + static_cast<int>(rng.bits(1000 * i + 999) % 60));
    d.source = "doc-" + std::to_string(i);
    d.license = i % 3 == 0 ? "GPL-3.0-only" : "MIT";
    d.cls = i % 5 == 4 ? "uncertain" : "manual";
    documents.push_back(std::move(d));
  }
  return documents;
}

void TinyRun::write_corpus(const std::string& name, const std::vector<TinyDocument>& documents) const {
  std::ofstream out(path(name + ".jsonl"));
  for (const TinyDocument& d : documents) {
    out << nlohmann::json{{"text", d.text},
                          {"meta",
                           {{"source", d.source}, {"license", d.license}, {"class", d.cls}, {"package", d.license}}}}
               .dump()
        << "\n";
  }
}

int TinyRun::run(const std::string& corpus, const std::string& out, const std::vector<std::string>& overrides,
                 std::chrono::milliseconds kill_after, int signal) const {
  std::vector<std::string> arguments = {"run", path("config.yaml"), "run.out=" + path(out),
                                        "data.inputs=[" + path(corpus + ".jsonl") + "]"};
  arguments.insert(arguments.end(), overrides.begin(), overrides.end());
  return program(arguments, out + ".log", kill_after, signal);
}

int TinyRun::program(const std::vector<std::string>& arguments, const std::string& log,
                     std::chrono::milliseconds kill_after, int signal) const {
  const char* other = std::getenv("GOVTRAIN_TEST_PROGRAM");  // tools/mutation_check
  std::vector<std::string> all = {other != nullptr ? other : GOVTRAIN_BINARY};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& a : all) argv.push_back(a.data());
  argv.push_back(nullptr);
  const std::string log_path = path(log);
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
    ::dup2(fd, 1);
    ::dup2(fd, 2);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  const auto deadline = std::chrono::steady_clock::now() + kill_after;
  int status = 0;
  while (kill_after.count() > 0 && std::chrono::steady_clock::now() < deadline) {
    if (::waitpid(child, &status, WNOHANG) == child)
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (kill_after.count() > 0) ::kill(child, signal);
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::chrono::milliseconds TinyRun::timed_run(const std::string& corpus, const std::string& out,
                                             const std::vector<std::string>& overrides) const {
  const auto start = std::chrono::steady_clock::now();
  if (run(corpus, out, overrides) != 0) throw std::runtime_error(read(out + ".log"));
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start);
}

void TinyRun::run_killed(const std::string& corpus, const std::string& out, const std::vector<std::string>& overrides,
                         int kills, std::chrono::milliseconds whole, const std::function<void()>& ended) const {
  const Rng moments(20260322, Stream::test);
  const double longest = std::min(1.0, 5.0 / kills) * static_cast<double>(whole.count());
  int killed = 0;
  for (uint64_t attempt = 0; killed < kills; ++attempt) {
    const auto life = std::chrono::milliseconds(1 + static_cast<int64_t>(moments.uniform(attempt) * longest));
    const int status = run(corpus, out, overrides, life);
    if (status == 0) {
      ended();
      std::filesystem::remove_all(path(out));
    } else if (status == 128 + SIGKILL) {
      ++killed;
    } else {
      throw std::runtime_error(read(out + ".log"));
    }
    if (attempt == 400) throw std::runtime_error("a run that is over before it can be killed");
  }
  if (run(corpus, out, overrides) != 0) throw std::runtime_error(read(out + ".log"));
  ended();
}

std::string TinyRun::read(const std::string& name) const {
  const Result<std::string> bytes = real_file_system().read(path(name));
  return bytes.ok() ? bytes.value() : "";
}

std::string TinyRun::final_sha256(const std::string& out, const std::string& file) const {
  const CheckpointStore store(real_file_system(), path(out + "/ckpt"));
  const auto steps = store.steps();
  if (!steps.ok() || steps.value().empty()) return "no checkpoint";
  const auto bytes = real_file_system().read(store.path(steps.value().back()) + "/" + file);
  return bytes.ok() ? hex(sha256(bytes.value())) : bytes.status().message();
}

TinyRun::Log TinyRun::log(const std::string& out) const {
  FileSystem& fs = real_file_system();
  const std::string folder = path(out + "/lineage");
  const auto key = read_log_key(fs, folder);
  if (!key.ok()) throw std::runtime_error(key.status().message());
  auto reader = LogReader::open(fs, folder, key.value());
  if (!reader.ok()) throw std::runtime_error(reader.status().message());
  Log log;
  const Status visited = reader.value().visit_effective(0, reader.value().size(), [&](uint64_t, std::string_view leaf) {
    log.leaves.emplace_back(leaf);
    const std::string kind = leaf_kind(leaf).value();
    if (kind == "ex") {
      log.examples.push_back(parse_example(leaf).value());
    } else {
      ++log.controls[kind];
    }
    return true;
  });
  if (!visited.ok()) throw std::runtime_error(visited.message());
  return log;
}

}  // namespace govtrain::testing
