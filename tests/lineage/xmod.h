// The verifier of logs that is not ours: xmod/verify.go on golang.org/x/mod, from the Debian packages golang-1.19-go
// and golang-golang-x-mod-dev. Built when a test asks for it.
#pragma once

#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

namespace govtrain::testing {

class Xmod {
 public:
  // Builds into `folder`. available() is false, with a loud message, when Go is not installed; that is a failure where
  // GOVTRAIN_REQUIRE_GO is set, as tools/test does.
  explicit Xmod(const std::string& folder) : folder_(folder) {
    namespace fs = std::filesystem;
    available_ =
        fs::exists("/usr/lib/go-1.19/bin/go") && fs::exists("/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog");
    if (!available_) {
      std::cerr << "\n*** SKIPPED: the independent verifier of the log was not run.\n"
                   "*** Install golang-1.19-go and golang-golang-x-mod-dev to run it.\n\n";
      if (std::getenv("GOVTRAIN_REQUIRE_GO") != nullptr) FAIL("golang-1.19-go or golang-golang-x-mod-dev is missing");
      WARN("SKIPPED: golang-1.19-go or golang-golang-x-mod-dev is not installed");
      return;
    }
    REQUIRE(shell("GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE='" + folder + "/gocache' " +
                  "/usr/lib/go-1.19/bin/go build -o '" + folder +
                  "/verify' " GOVTRAIN_SOURCE_DIR "/tests/lineage/xmod/verify.go") == 0);
  }

  bool available() const { return available_; }
  // `vkey` is a file with the verifier key.
  bool accepts(const std::string& log, const std::string& vkey) const {
    return shell("'" + folder_ + "/verify' '" + log + "' '" + vkey + "' > '" + folder_ + "/output' 2>&1") == 0;
  }

 private:
  static int shell(const std::string& command) {
    const int status = std::system(command.c_str());  // NOLINT
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string folder_;
  bool available_ = false;
};

}  // namespace govtrain::testing
