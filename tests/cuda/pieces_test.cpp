// Lists of pieces, as an optimizer's step hands them over: the bits of each piece alone and of the CPU backend, in one
// launch whatever their number.
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

#include "core/buffer.h"
#include "core/rng.h"
#include "core/tensor.h"
#include "kernels/cuda/backend.h"
#include "kernels/simt/runtime.h"

namespace govtrain::test {
namespace {

struct Shape {
  int64_t rows, cols, ld;
};
// Whole arrays below, at and above what one block takes; rectangles; nothing.
const std::vector<Shape> kShapes = {{1, 1, 1},     {0, 4, 4}, {1, 17, 17},   {3, 5, 9},
                                    {1, 16384, 0}, {2, 0, 3}, {1, 40001, 0}, {150, 129, 140}};

// Four arrays for each shape, on one backend.
struct Arrays {
  std::vector<Tensor> all;
  explicit Arrays(Backend& k) {
    const Rng rng(5, Stream::test);
    uint64_t at = 0;
    for (const Shape& s : kShapes) {
      for (int i = 0; i < 4; ++i) {
        std::vector<float> values(static_cast<size_t>(s.rows * std::max(s.ld, s.cols)));
        for (float& v : values) v = rng.uniform(at++) - (i == 3 ? 0.0f : 0.5f);  // the last: second moments
        all.push_back(Tensor::of(1, static_cast<int64_t>(values.size()), values, k.allocator()));
      }
    }
  }
  MutView at(size_t shape, size_t which) const {
    const Shape& s = kShapes[shape];
    return {all[4 * shape + which].data(), s.rows, s.cols, std::max(s.ld, s.cols)};
  }
  std::vector<float> values() const {
    std::vector<float> out;
    for (const Tensor& t : all) {
      const Tensor host = t.host();
      out.insert(out.end(), host.data(), host.data() + host.size());
    }
    return out;
  }
};

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

AdamUpdate adam_update(const Arrays& a, size_t i) {
  const AdamOptions o{0.01f, 0.9f, 0.999f, 1e-8f, i % 2 == 0 ? 0.1f : 0.0f, i % 3 == 0, static_cast<int64_t>(i) + 1};
  return {a.at(i, 0), a.at(i, 1).data, a.at(i, 2).data, a.at(i, 3).data, o};
}
SgdUpdate sgd_update(const Arrays& a, size_t i) {
  const SgdOptions o{0.01f, i % 4 == 0 ? 0.0f : 0.9f, 0.1f, i % 2 == 0 ? 0.1f : 0.0f, i % 3 == 0, i % 5 == 0};
  return {a.at(i, 0), a.at(i, 1).data, o.momentum == 0.0f ? nullptr : a.at(i, 2).data, o};
}

// What `run` leaves when it is given all pieces at once, and one by one.
using Run = std::function<void(Backend&, const Arrays&, const std::vector<size_t>& which)>;
void check(const Run& run) {
  std::vector<size_t> all;
  for (size_t i = 0; i < kShapes.size(); ++i) all.push_back(i);
  const auto after = [&](Backend& k, bool together) {
    const Arrays arrays(k);
    const std::vector<float> before = arrays.values();
    if (together) {
      simt::take_counts();
      run(k, arrays, all);
      CHECK(simt::take_counts().size() == (&k == &cuda_backend() ? 1 : 0));
    } else {
      for (const size_t i : all) run(k, arrays, {i});
    }
    CHECK_FALSE(same(before, arrays.values()));
    return arrays.values();
  };
  const std::vector<float> expected = after(cpu_backend(), false);
  CHECK(same(expected, after(cpu_backend(), true)));
  CHECK(same(expected, after(cuda_backend(), false)));
  CHECK(same(expected, after(cuda_backend(), true)));
}

}  // namespace

TEST_CASE("a list of updates has the bits of each of them alone and of the CPU, in one launch") {
  SECTION("Adam and AdamW") {
    check([](Backend& k, const Arrays& a, const std::vector<size_t>& which) {
      std::vector<AdamUpdate> list;
      for (const size_t i : which) list.push_back(adam_update(a, i));
      k.adam(list);
    });
  }
  SECTION("SGD") {
    check([](Backend& k, const Arrays& a, const std::vector<size_t>& which) {
      std::vector<SgdUpdate> list;
      for (const size_t i : which) list.push_back(sgd_update(a, i));
      k.sgd(list);
    });
  }
  SECTION("scale") {
    check([](Backend& k, const Arrays& a, const std::vector<size_t>& which) {
      std::vector<Scaling> list;
      for (const size_t i : which) list.push_back({a.at(i, 0), 0.7f * static_cast<float>(i)});
      k.scale(list);
    });
  }
  SECTION("fill") {
    check([](Backend& k, const Arrays& a, const std::vector<size_t>& which) {
      std::vector<MutView> list;
      for (const size_t i : which) list.push_back(a.at(i, 2));
      k.fill(list, 1.5f);
    });
  }
}

TEST_CASE("sums of squares by group: the bits of piece after piece, in two launches") {
  const std::vector<int32_t> into = {2, 0, 2, 0, 4, 2, 2, 0};
  const std::vector<double> start = {0.25, 1.5, 0.0, 3.0, 0.125};
  const auto sums = [&](Backend& k, bool together) {
    const Arrays arrays(k);
    const Buffer<double> sum(start, k.allocator());
    std::vector<View> x;
    for (size_t i = 0; i < kShapes.size(); ++i) x.push_back(arrays.at(i, 0));
    simt::take_counts();
    if (together) {
      k.add_squares(x, into, sum.span());
      CHECK(simt::take_counts().size() == (&k == &cuda_backend() ? 2 : 0));
    } else {
      for (size_t i = 0; i < x.size(); ++i) k.add_squares({&x[i], 1}, {&into[i], 1}, sum.span());
    }
    return sum.host();
  };
  const std::vector<double> expected = sums(cpu_backend(), false);
  CHECK(expected[1] == start[1]);
  CHECK(expected[3] == start[3]);
  CHECK(expected == sums(cpu_backend(), true));
  const std::vector<double> device = sums(cuda_backend(), true);
  CHECK(device == sums(cuda_backend(), false));
  for (size_t g = 0; g < start.size(); ++g) CHECK(std::abs(device[g] - expected[g]) <= 1e-12 * expected[g]);
}

}  // namespace govtrain::test
