// Memory that is kept for reuse.
#include "kernels/cuda/memory.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "tests/cuda/support.h"

using namespace govtrain;

TEST_CASE("pinned memory is used again once it was sent, though a smaller piece is older") {
  const cuda::OwnStream stream;
  cuda::Staging staging(stream);
  constexpr size_t large = size_t{3} << 20;
  const test::DeviceBuffer<unsigned char> to(large);
  std::set<const unsigned char*> places;
  staging.take(1000);
  for (int i = 0; i < 40; ++i) {
    unsigned char* const from = staging.take(large);
    places.insert(from);
    std::fill_n(from, large, static_cast<unsigned char>(i));
    REQUIRE(cudaMemcpyAsync(to.get(), from, large, cudaMemcpyHostToDevice, stream) == cudaSuccess);
    REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
  }
  CHECK(places.size() <= 8);  // of 40
  CHECK(to.host().back() == 39);
}
