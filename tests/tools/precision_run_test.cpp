// run.precision and run.determinism of whole runs on the CUDA device of this build: what the log holds of them, and
// that a run does not go on with others.
#include <catch2/catch.hpp>

#include "kernels/cuda/backend.h"
#include "tests/backends.h"
#include "tests/tools/tiny_run.h"
#include "tools/govtrain/base/device.h"

using namespace govtrain;
using govtrain::testing::TinyRun;

TEST_CASE("precision and determinism are in the log's first record, and a run goes on with its own only") {
  if (test::backend_names().back() == "cpu") return;
  const TinyRun place;
  const std::vector<std::string> chosen = {"run.device=cuda", "run.precision=bf16", "run.determinism=fast"};
  std::vector<std::string> first = chosen;
  first.push_back("train.steps=3");
  REQUIRE(place.run("corpus", "run", first) == 0);
  const auto log = place.log("run");
  const std::string& head = log.leaves.at(0);
  INFO(head);
  CHECK(head.find("\"precision\":\"bf16\"") != std::string::npos);
  CHECK(head.find("\"determinism\":\"fast\"") != std::string::npos);

  std::vector<std::string> other = {"run.device=cuda", "run.precision=tf32", "run.determinism=fast", "train.steps=3",
                                    "run.resume=auto"};
  CHECK(place.run("corpus", "run", other) == 2);
  CHECK(place.read("run.log").find("run.precision: \"bf16\" against \"tf32\"") != std::string::npos);
  other = chosen;
  other[2] = "run.determinism=strict";
  other.insert(other.end(), {"train.steps=3", "run.resume=auto"});
  CHECK(place.run("corpus", "run", other) == 2);
  CHECK(place.read("run.log").find("run.determinism: \"fast\" against \"strict\"") != std::string::npos);
}

TEST_CASE("a backend has the products that were asked for, or none is given") {
  CHECK(device_backend("cpu").name() == "cpu");
  CHECK_THROWS_WITH(device_backend("cpu", {"run.device"}, {"bf16", "strict"}), Catch::Contains("run.precision"));
  CHECK_THROWS_WITH(device_backend("cpu", {"run.device"}, {"fp32", "fast"}), Catch::Contains("run.determinism"));
  if (!cuda_available(nullptr)) return;
  CHECK(&device_backend("cuda", {"run.device"}, {"tf32", "fast"}) ==
        &cuda_backend(cuda::Precision::tf32, cuda::Determinism::fast));
  CHECK(&device_backend("cuda", {"run.device"}, {"bf16", "strict"}) ==
        &cuda_backend(cuda::Precision::bf16, cuda::Determinism::strict));
}
