// Makes the good run, damages copies of it, and watches what the program does with them.
#include "tests/tools/bad_input.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "core/hash.h"

namespace govtrain_test {
namespace {

namespace fs = std::filesystem;

constexpr const char* policy_text =
    "policy: tiny\n"
    "version: 1\n"
    "default: none\n"
    "profiles:\n"
    "  full: {all: 1}\n"
    "  shallow:\n"
    "    embedding: 1\n"
    "    first 1 layers: 1\n"
    "    rest: 0\n"
    "rules:\n"
    "  - name: permissive\n"
    "    when: {license: MIT}\n"
    "    profile: full\n"
    "  - name: copyleft\n"
    "    when: {license: GPL-*}\n"
    "    profile: shallow\n";

constexpr const char* config_text =
    "run: {name: tiny, out: run, threads: 1}\n"
    "data:\n"
    "  inputs: [corpus.jsonl]\n"
    "  cache: cache\n"
    "  tokenizer: {kind: bytes}\n"
    "  context: 32\n"
    "  validation_fraction: 0.4\n"
    "model: {layers: 2, width: 32, heads: 2, mlp_width: 64}\n"
    "policy: {file: policy.yaml, date: 2026-01-01}\n"
    "optim: {lr: 1.0e-3}\n"
    "train: {steps: 3, tokens_per_step: 128}\n"
    "save: {every: 1, keep_last: 10}\n"
    "log: {tensorboard: false, progress: none}\n";

std::string corpus_text() {
  const std::vector<std::string> licenses = {"MIT", "MIT", "GPL-2", "MIT", "NONE", "GPL-2", "MIT", "MIT"};
  std::string text;
  for (size_t i = 0; i < licenses.size(); ++i)
    text += fmt::format(
        "{{\"text\": \"Document {0}. Seven wise owls watch {0} foxes jump over old trees.\", \"meta\": "
        "{{\"license\": \"{1}\", \"id\": \"d{0}\"}}}}\n",
        i, licenses[i]);
  return text;
}

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

// Runs shell text in `folder`, with the program on the path as `govtrain`; output goes beside the folder.
int shell(const std::string& text, const std::string& folder) {
  const std::string script = folder + ".sh";
  std::ofstream(script) << "PATH='" << fs::path(GOVTRAIN_BINARY).parent_path().string() << "':$PATH\nexport PATH\ncd '"
                        << folder << "' || exit 99\n"
                        << text << "\n";
  const int raw =
      std::system(("timeout 100 sh '" + script + "' >'" + folder + ".out' 2>'" + folder + ".err'").c_str());  // NOLINT
  return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
}

struct Scratch {
  const std::string root = (fs::temp_directory_path() / fmt::format("govtrain_bad_input_{}", ::getpid())).string();
  Scratch() { fs::remove_all(root), fs::create_directories(root); }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
};

const std::string& scratch() {
  static const Scratch folder;
  return folder.root;
}

// Lock files name the process that last held them.
bool is_lock(const std::string& name) { return name.ends_with(".lock") || name.ends_with(".state/lock"); }

std::map<std::string, std::string> tree(const std::string& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().lexically_relative(folder).string();
    if (!is_lock(name)) out[name] = entry.is_regular_file() ? "file " + slurp(entry.path()) : "folder";
  }
  return out;
}

std::vector<std::string> difference(const std::map<std::string, std::string>& a,
                                    const std::map<std::string, std::string>& b) {
  std::vector<std::string> out;
  for (const auto& [name, content] : a)
    if (!b.contains(name)) out.push_back("removed " + name);
  for (const auto& [name, content] : b) {
    const auto before = a.find(name);
    if (before == a.end()) out.push_back("created " + name);
    if (before != a.end() && before->second != content) out.push_back("changed " + name);
  }
  return out;
}

std::string steady(std::string line, const std::string& folder) {
  for (size_t at = 0; (at = line.find(folder, at)) != std::string::npos;) line.replace(at, folder.size(), "DIR");
  const std::vector<std::pair<const char*, const char*>> rules = {
      {"\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]{40,}=*", "+<key>"},
      {"tiny-[0-9a-f]{8}", "tiny-<id>"},
      {"\\b[0-9a-f]{64}\\b", "<digest>"},
      {"[A-Za-z0-9+/]{43}=", "<digest>"},
      {"process [0-9]+", "process <pid>"},
      {"this machine has [0-9.]+ [KMGT]iB", "this machine has <memory>"},
      {"this CPU has: .*", "this CPU has: <sets>"},
      {"needs about [0-9]+", "needs about <bytes>"},
  };
  for (const auto& [from, to] : rules) line = std::regex_replace(line, std::regex(from), to);
  return line;
}

std::string first_line(const std::string& text, const std::string& word, bool anywhere) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (anywhere ? line.find(word) != std::string::npos : line.starts_with(word)) return line;
  return "";
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '|' ? "\\|" : std::string(1, c);
  return out;
}

std::string code(const std::string& text) {
  const bool ticks = text.find('`') != std::string::npos;
  return ticks ? "`` " + escaped(text) + " ``" : "`" + escaped(text) + "`";
}

}  // namespace

std::string Damage::read(const std::string& name) const {
  REQUIRE(fs::is_regular_file(path(name)));
  return slurp(path(name));
}

void Damage::write(const std::string& name, const std::string& text) const {
  fs::create_directories(fs::path(path(name)).parent_path());
  std::ofstream(path(name), std::ios::binary) << text;
}

void Damage::remove(const std::string& name) const { REQUIRE(fs::remove_all(path(name)) > 0); }

void Damage::copy(const std::string& from, const std::string& to) const {
  fs::copy(path(from), path(to), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
}

void Damage::run(const std::string& arguments) const {
  const int status = shell("govtrain run " + arguments, folder_);
  INFO("govtrain run " << arguments << "\n" << slurp(folder_ + ".err"));
  REQUIRE(status == 0);
}

void Damage::edit(const std::string& name, const std::string& from, const std::string& to) const {
  std::string text = read(name);
  const size_t at = text.find(from);
  INFO(name << " holds no '" << from << "'");
  REQUIRE(at != std::string::npos);
  write(name, text.replace(at, from.size(), to));
}

void Damage::last_line(const std::string& text) const { append("corpus.jsonl", text); }

void Damage::cut(const std::string& name, size_t bytes) const {
  REQUIRE(fs::file_size(path(name)) > bytes);
  fs::resize_file(path(name), bytes);
}

void Damage::poke(const std::string& name, size_t at, const std::string& bytes) const {
  std::string text = read(name);
  REQUIRE(at + bytes.size() <= text.size());
  write(name, text.replace(at, bytes.size(), bytes));
}

void Damage::flip(const std::string& name, size_t at) const {
  std::string text = read(name);
  REQUIRE(at < text.size());
  text[at] = static_cast<char>(text[at] ^ 1);
  write(name, text);
}

void Damage::json(const std::string& name, const std::function<void(nlohmann::json&)>& change) const {
  nlohmann::json value = nlohmann::json::parse(read(name));
  change(value);
  write(name, value.dump(1) + "\n");
}

void Damage::safetensors_header(const std::string& name, const std::function<void(nlohmann::json&)>& change) const {
  const std::string text = read(name);
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= uint64_t{static_cast<unsigned char>(text[i])} << (8 * i);
  nlohmann::json header = nlohmann::json::parse(text.substr(8, length));
  change(header);
  const std::string changed = header.dump();
  std::string bytes;
  for (size_t i = 0; i < 8; ++i) bytes += static_cast<char>(changed.size() >> (8 * i) & 255);
  write(name, bytes + changed + text.substr(8 + length));
}

std::string Damage::data(const std::string& name) const {
  for (const auto& entry : fs::directory_iterator(path("cache")))
    if (entry.is_directory()) return "cache/" + entry.path().filename().string() + "/" + name;
  FAIL("there is no prepared data");
  return "";
}

void Damage::seal_data() const {
  json(data("manifest.json"), [&](nlohmann::json& manifest) {
    for (auto& [name, entry] : manifest.at("files").items()) {
      const std::string bytes = read(data(name));
      entry = {{"bytes", bytes.size()}, {"sha256", govtrain::hex(govtrain::sha256(bytes))}};
    }
  });
}

void Damage::seal_checkpoint(const std::string& folder) const {
  std::map<std::string, std::string> digests;
  for (const auto& entry : fs::directory_iterator(path(folder))) {
    const std::string name = entry.path().filename().string();
    if (name != "DONE") digests[name] = govtrain::hex(govtrain::sha256(slurp(entry.path())));
  }
  std::string done;
  for (const auto& [name, digest] : digests) done += digest + "  " + name + "\n";
  write(folder + "/DONE", done);
}

std::string Damage::log_size() const {
  std::istringstream lines(read("run/lineage/checkpoint"));
  std::string line;
  for (int i = 0; i < 2; ++i) REQUIRE(std::getline(lines, line));
  return line;
}

std::string Damage::provenance() const {
  std::set<std::string> names;  // in an order that is not the disk's
  for (const auto& entry : fs::directory_iterator(path("run/lineage/prov"))) names.insert(entry.path().filename());
  REQUIRE_FALSE(names.empty());
  return "run/lineage/prov/" + *names.begin();
}

const std::string& good_run() {
  static const std::string folder = [] {
    const Damage made(scratch() + "/good");
    made.write("corpus.jsonl", corpus_text());
    made.write("policy.yaml", policy_text);
    made.write("config.yaml", config_text);
    const int status = shell("govtrain run config.yaml", made.path(""));
    INFO(slurp(made.path("") + ".err"));
    REQUIRE(status == 0);
    return made.path("");
  }();
  return folder;
}

Outcome meet(const BadInput& row) {
  const std::string folder = scratch() + "/" + row.id;
  fs::copy(good_run(), folder, fs::copy_options::recursive);
  row.damage(Damage(folder));
  Outcome out;
  if (!row.mounts.empty() && std::system("unshare --mount true 2>/dev/null") != 0) {  // NOLINT
    out.skipped = true;
    return out;
  }
  const auto before = tree(folder);
  std::string command = row.command;
  if (!row.mounts.empty()) {
    std::ofstream(folder + ".inner") << row.mounts << " || exit 99\n" << row.command << "\n";
    command = "exec unshare --mount sh '" + folder + ".inner'";
  }
  out.status = shell(command, folder);
  out.changed = difference(before, tree(folder));
  if (row.fills_cache) std::erase_if(out.changed, [](const std::string& c) { return c.starts_with("created cache/"); });
  out.out = slurp(folder + ".out");
  out.err = slurp(folder + ".err");
  const std::string problem = first_line(out.out, "problem:", false);
  std::string error = first_line(out.err, "error:", true);
  // What was found stands on the next line when the first one says how many there are.
  if (error.ends_with(":") || error.ends_with("nothing was written")) {
    const size_t next = out.err.find(error) + error.size() + 1;
    error += "\n" + out.err.substr(next, out.err.find('\n', next) - next);
  }
  out.message = steady((problem.empty() ? "" : problem + "\n") + error, folder);
  fs::remove_all(folder);
  return out;
}

std::vector<BadInputs> all_bad_inputs() {
  return {bad_configs(),   bad_blocks(), bad_policies(),    bad_classes(), bad_changes(),     bad_withheld(),
          bad_documents(), bad_data(),   bad_checkpoints(), bad_logs(),    bad_environments()};
}

std::string bad_input_page(const std::vector<BadInputs>& table) {
  size_t rows = 0;
  for (const BadInputs& group : table) rows += group.rows.size();
  std::string out = fmt::format(
      "# Bad input\n\n"
      "What govtrain says when something is wrong: {} faults, each with the command that meets it, the exit status, "
      "and\n"
      "the first line of the error. This page is printed from the table that tests it (`tests/tools/bad_input*.cpp`): "
      "for\n"
      "every row a small finished run is damaged, the command is run, and status and message must be these. No command "
      "may\n"
      "die of a signal, and none may create, change or remove a file; lock files, which name the process that last "
      "held\n"
      "them, are the only exception.\n\n"
      "Errors in a configuration or a policy are reported all at once, each with the line, the place in it, and a "
      "hint;\n"
      "the table shows the first line of the first one. The exit status is 2 for the command line, the configuration "
      "or\n"
      "the policy, 3 for damaged or missing data, 4 for what does not verify, 5 for memory or disk, 1 for any other\n"
      "failure. `<digest>`, `<key>`, `<id>`, `<pid>`, `<memory>`, `<bytes>` and `<sets>` stand for what differs from "
      "run to run.\n",
      rows);
  for (const BadInputs& group : table) {
    out += fmt::format("\n## {}\n\n{}\n\n| what is wrong | command | status | message |\n|---|---|---|---|\n",
                       group.category, group.introduction);
    for (const BadInput& row : group.rows) {
      std::string message;
      std::istringstream lines(row.message);
      for (std::string line; std::getline(lines, line);) message += (message.empty() ? "" : "<br>") + code(line);
      out += fmt::format("| {} | {} | {} | {} |\n", escaped(row.wrong), code(row.command), row.status, message);
    }
  }
  return out;
}

}  // namespace govtrain_test
