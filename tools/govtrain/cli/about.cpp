// `version`, `env` and `help`. Nothing here names the host or the user.

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "core/parallel.h"
#include "kernels/backend.h"
#include "tools/govtrain/base/build_info.h"
#include "tools/govtrain/base/device.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/cli/program.h"

namespace govtrain {
namespace {

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string memory_text() {
  const double bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  return fmt::format("{:.1f} GiB", bytes / (1024.0 * 1024.0 * 1024.0));
}

std::string kernel() {
  utsname u{};
  return uname(&u) == 0 ? fmt::format("{} {} {}", u.sysname, u.release, u.machine) : "unknown";
}

int print_env() {
  fmt::print("{:<16}{}\n", "govtrain", version());
  fmt::print("{:<16}{}\n", "commit", git_id());
  fmt::print("{:<16}{}\n", "build", build_description());
  fmt::print("{:<16}{}\n", "system", kernel());
  fmt::print("{:<16}{}\n", "cpu", cpu_name());
  fmt::print("{:<16}{}\n", "instruction set", cpu_backend().instruction_set());
  fmt::print("{:<16}{}\n", "threads", thread_count());
  fmt::print("{:<16}{}\n", "memory", memory_text());
  fmt::print("{:<16}{}\n", "devices", devices_text());
  fmt::print("{:<16}{}\n", "openssl", OpenSSL_version(OPENSSL_VERSION_STRING));
  fmt::print("{:<16}{}\n", "zstd", ZSTD_versionString());
  fmt::print("{:<16}{}\n", "zlib", zlibVersion());
  fmt::print("{:<16}{}.{}.{}\n", "fmt", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100);
  fmt::print("{:<16}{}.{}.{}\n", "nlohmann-json", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
             NLOHMANN_JSON_VERSION_PATCH);
  fmt::print("{:<16}{}\n", "CLI11", CLI11_VERSION);
  return exit_ok;
}

}  // namespace

Verb version_verb() {
  return {"version", "Print the version", "",
          [](CLI::App&) { return [] { return fmt::print("{}\n", version_line()), exit_ok; }; }};
}

Verb env_verb() {
  return {"env", "Print what a bug report needs: build, CPU, threads, library versions", "",
          [](CLI::App&) { return print_env; }};
}

Verb help_verb() {
  return {"help", "Explain a verb", "", [](CLI::App& app) {
            auto words = std::make_shared<std::vector<std::string>>();
            app.add_option("verb", *words, "A verb (run, data, data prepare, ...)");
            return [words] {
              const std::string topic = fmt::format("{}", fmt::join(*words, " "));
              const std::string text = help_text(topic);
              if (text.empty())
                throw Failure(exit_usage, fmt::format("there is no help on '{}'\n  see 'govtrain help'", topic));
              fmt::print("{}", text);
              return exit_ok;
            };
          }};
}

}  // namespace govtrain
