// Bounded lists of what a verification found. Used by verify*.cpp only.
#pragma once

#include <string>
#include <utility>

#include "lineage/verify.h"

namespace govtrain {

class Findings {
 public:
  Findings(VerifyReport& report, size_t max_listed) : report_(report), max_listed_(max_listed) {}
  void problem(std::string text) {
    if (report_.problem_count++ < max_listed_) report_.problems.push_back(std::move(text));
  }
  void warning(std::string text) {
    if (report_.warning_count++ < max_listed_) report_.warnings.push_back(std::move(text));
  }
  VerifyReport& report() { return report_; }

 private:
  VerifyReport& report_;
  size_t max_listed_;
};

}  // namespace govtrain
