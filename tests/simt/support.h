// For tests of the host execution layer: the fault that a piece of code must cause.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/cuda/support.h"

namespace govtrain::test {

// Runs `body`, which must end in a fault of `kind` that says all of `words`.
template <class F>
simt::Fault expect_fault(simt::FaultKind kind, const std::vector<std::string>& words, const F& body) {
  try {
    body();
  } catch (const simt::Fault& f) {
    INFO(f.what());
    CHECK(f.kind() == kind);
    for (const std::string& w : words) {
      INFO("expected: " << w);
      CHECK(std::string(f.what()).find(w) != std::string::npos);
    }
    return f;
  }
  FAIL("no fault, expected " << simt::name_of(kind));
  throw std::logic_error("unreachable");
}

}  // namespace govtrain::test
