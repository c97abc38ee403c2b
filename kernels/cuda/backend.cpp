#include "kernels/cuda/backend.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "core/buffer.h"
#include "core/rng.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/contract_host.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/ops.h"
#include "kernels/rope_angles.h"

namespace govtrain {
namespace {

using cuda::Device;
using cuda::Packet;
using cuda::Scratch;

const float* pointer(std::span<const float> s) { return s.empty() ? nullptr : s.data(); }

// Blocks of the grid before each piece, and all of them.
template <class Piece>
std::vector<int32_t> blocks_of(const std::vector<Piece>& pieces) {
  std::vector<int32_t> first = {0};
  for (const Piece& p : pieces) {
    const int64_t parts = (p.at.size() + cuda::kPart - 1) / cuda::kPart;
    first.push_back(first.back() + static_cast<int32_t>(parts));
  }
  return first;
}

// What decides the bits beside the source.
std::string description(const cudaDeviceProp& p) {
  const std::string architecture = "sm_" + std::to_string(p.major) + std::to_string(p.minor);
#ifdef GOVTRAIN_CUDA_TOOLKIT
  return std::string(p.name) + " " + architecture + ", CUDA " + std::to_string(CUDART_VERSION / 1000) + "." +
         std::to_string(CUDART_VERSION % 1000 / 10);
#else
  return architecture;
#endif
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(Device& device, cuda::Precision precision, cuda::Determinism determinism)
      : device_(device), precision_(precision) {
    if (determinism == cuda::Determinism::fast) blas_.emplace(device);
    cudaDeviceProp p{};
    cuda::check(cudaGetDeviceProperties(&p, 0), "device properties");
    description_ = description(p);
  }

  std::string name() const override { return cuda_is_emulated() ? "emulated cuda" : "cuda"; }
  std::string instruction_set() const override { return description_; }
  Allocator& allocator() override { return device_.allocator; }
  void submit() override { device_.recorder.flush(); }

  void linear(View x, View w, std::span<const float> bias, MutView y) override {
    if (blas_) return blas_->linear(x, w, pointer(bias), y, precision_);
    cuda::linear(x, w, pointer(bias), y, precision_, device_.stream);
  }
  void linear_dx(View dy, View w, MutView dx, bool add) override {
    if (blas_) return blas_->linear_dx(dy, w, dx, add, precision_);
    cuda::linear_dx(dy, w, dx, add, precision_, device_.stream);
  }

  void contract(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad) override {
    cuda::contract(device_, precision_, factors, rows, how, grad);
  }
  void contract_plain(std::span<const Factor> factors, MutView grad) override {
    for (const Factor& f : factors) {
      if (blas_ && f.kind == Factor::Kind::outer) {
        blas_->outer(f.dy, f.x, grad, precision_);
      } else {
        cuda::contract_plain(device_, precision_, f, grad);
      }
    }
  }

  void attention(View q, View k, View v, const Rows& rows, int heads, int kv_heads, float scale, MutView out,
                 MutView lse) override {
    with_tiles(q, rows, heads, kv_heads, scale, [&](const cuda::AttentionShape& s) {
      cuda::attention(q, k, v, s, out, lse, precision_, device_.stream);
    });
  }
  void attention_backward(View q, View k, View v, View out, View lse, View dout, const Rows& rows, int heads,
                          int kv_heads, float scale, MutView dq, MutView dk, MutView dv) override {
    const Scratch<float> delta(device_, q.rows * heads);
    with_tiles(q, rows, heads, kv_heads, scale, [&](const cuda::AttentionShape& s) {
      cuda::attention_backward(q, k, v, out, lse, dout, s, delta.get(), dq, dk, dv, precision_, device_.stream);
    });
  }
  void rope(MutView x, const Rows& rows, std::span<const int32_t> start, int head_dim, float base,
            int direction) override {
    if (x.size() == 0) return;
    std::vector<int32_t> position;
    for (int e = 0; e < rows.examples(); ++e) {
      const int32_t first = start.empty() ? 0 : start[static_cast<size_t>(e)];
      for (int t = 0; t < rows.length(e); ++t) position.push_back(first + t);
    }
    const cuda::RopeTable table = table_for(rope_positions(rows, start), head_dim / 2, base);
    Packet packet(device_);
    const auto at = packet.add(position);
    packet.send();
    cuda::rope(x, packet.at(at), table, head_dim, static_cast<float>(direction), device_.stream);
  }

  void layer_norm(View x, std::span<const float> gain, std::span<const float> bias, float eps, MutView y,
                  std::span<float> mean, std::span<float> rstd) override {
    cuda::layer_norm(x, gain.data(), pointer(bias), eps, y, mean.data(), rstd.data(), device_.stream);
  }
  void layer_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> mean,
                     std::span<const float> rstd, MutView dx, bool add) override {
    cuda::norm_dx(dy, x, gain.data(), mean.data(), rstd.data(), dx, add, device_.stream);
  }
  void rms_norm(View x, std::span<const float> gain, float eps, MutView y, std::span<float> rstd) override {
    cuda::rms_norm(x, gain.data(), eps, y, rstd.data(), device_.stream);
  }
  void rms_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> rstd, MutView dx,
                   bool add) override {
    cuda::norm_dx(dy, x, gain.data(), nullptr, rstd.data(), dx, add, device_.stream);
  }

  void activation(Activation kind, View x, MutView y) override { cuda::activation(kind, x, y, device_.stream); }
  void activation_dx(Activation kind, View dy, View x, MutView dx) override {
    cuda::activation_dx(kind, dy, x, dx, device_.stream);
  }
  void gated(Activation kind, View gate, View up, MutView y) override {
    cuda::gated(kind, gate, up, y, device_.stream);
  }
  void gated_dx(Activation kind, View dy, View gate, View up, MutView dgate, MutView dup) override {
    cuda::gated_dx(kind, dy, gate, up, dgate, dup, device_.stream);
  }
  void add(View a, View b, MutView y) override { cuda::add(a, b, y, device_.stream); }
  void accumulate(View x, MutView y) override { cuda::add(y, x, y, device_.stream); }
  void scale_rows(View x, std::span<const float> per_row, MutView y) override {
    Packet packet(device_);
    const auto factor = packet.add(per_row);
    packet.send();
    cuda::scale_rows(x, packet.at(factor), y, device_.stream);
  }
  void dropout(View x, const Rows& rows, const DropoutKey& key, float rate, MutView y) override {
    std::vector<cuda::DropoutRow> at;
    cuda::DropoutStream from{{0, 0}, rate, static_cast<float>(1.0 / (1.0 - double{rate}))};
    for (int e = 0; e < rows.examples(); ++e) {
      const Rng rng = dropout_stream(key, static_cast<size_t>(e));
      from.key[0] = rng.key()[0];
      from.key[1] = rng.key()[1];
      for (int t = 0; t < rows.length(e); ++t) at.push_back({{rng.nonce()[0], rng.nonce()[1]}, t});
    }
    Packet packet(device_);
    const auto place = packet.add(at);
    packet.send();
    cuda::dropout(x, packet.at(place), from, y, device_.stream);
  }

  void embedding(View table, std::span<const int32_t> index, MutView y, bool add) override {
    Packet packet(device_);
    const auto place = packet.add(index);
    packet.send();
    cuda::embedding(table, packet.at(place), y, add, device_.stream);
  }

  void cross_entropy(MutView logits, std::span<const int32_t> target, const Rows& rows, bool dlogits_in_place,
                     std::span<double> loss, std::span<float> row_loss) override {
    Packet packet(device_);
    const auto targets = packet.add(target);
    const auto offsets = packet.add(rows.offsets());
    packet.send();
    const Scratch<double> row_nll(device_, logits.rows);
    cuda::cross_entropy(logits, packet.at(targets), dlogits_in_place, row_nll.get(), row_loss.data(), device_.stream);
    if (loss.empty()) return;
    cuda::sum_examples(row_nll.get(), packet.at(offsets), rows.examples(), loss.data(), device_.stream);
  }

  void adam(std::span<const AdamUpdate> updates) override {
    std::vector<cuda::AdamPiece> pieces;
    for (const AdamUpdate& u : updates) pieces.push_back(cuda::piece_of(u));
    with_pieces(pieces, [&](const auto& all) { cuda::adam(all, device_.stream); });
  }
  void sgd(std::span<const SgdUpdate> updates) override {
    std::vector<cuda::SgdPiece> pieces;
    for (const SgdUpdate& u : updates) pieces.push_back(cuda::piece_of(u));
    with_pieces(pieces, [&](const auto& all) { cuda::sgd(all, device_.stream); });
  }
  void scale(std::span<const Scaling> pieces) override {
    std::vector<cuda::ScalePiece> all;
    for (const Scaling& p : pieces) all.push_back({p.x, p.factor});
    with_pieces(all, [&](const auto& list) { cuda::scale(list, device_.stream); });
  }
  void fill(std::span<const MutView> pieces, float value) override {
    std::vector<cuda::FillPiece> all;
    for (const MutView& x : pieces) all.push_back({x, value});
    with_pieces(all, [&](const auto& list) { cuda::fill(list, device_.stream); });
  }
  void add_squares(std::span<const View> x, std::span<const int32_t> into, std::span<double> sum) override {
    std::vector<cuda::SquaresPiece> pieces;
    for (const View& v : x) pieces.push_back({v});
    const std::vector<int32_t> first = blocks_of(pieces);
    if (first.back() == 0) return;
    std::vector<int32_t> list(into.size()), offsets(sum.size() + 1, 0);
    std::iota(list.begin(), list.end(), 0);
    std::stable_sort(list.begin(), list.end(),
                     [&](int32_t a, int32_t b) { return into[static_cast<size_t>(a)] < into[static_cast<size_t>(b)]; });
    for (const int32_t g : into) ++offsets[static_cast<size_t>(g) + 1];
    std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
    Packet packet(device_);
    const auto all = packet.add(pieces);
    const auto blocks = packet.add(first);
    const auto groups = packet.add(offsets);
    const auto order = packet.add(list);
    packet.send();
    const Scratch<double> scratch(device_, first.back() + static_cast<int64_t>(pieces.size()));
    cuda::add_squares({packet.at(all), packet.at(blocks), static_cast<int>(pieces.size()), first.back()},
                      {packet.at(groups), packet.at(order), static_cast<int>(sum.size())}, scratch.get(), sum.data(),
                      device_.stream);
  }
  int64_t first_non_finite_row(View x) override {
    if (x.size() == 0) return -1;
    const Scratch<int32_t> row(device_, 1);
    cuda::first_non_finite_row(x, row.get(), device_.stream);
    int32_t found = 0;
    device_.allocator.read(&found, row.get(), sizeof(found));
    return found == x.rows ? -1 : found;
  }

 private:
  // Calls body with the tiles of the batch on the device.
  template <class Body>
  void with_tiles(View q, const Rows& rows, int heads, int kv_heads, float scale, const Body& body) {
    const auto head_dim = static_cast<int>(q.cols / heads);
    if (head_dim > cuda::kMaxHeadDim) {
      throw Error("attention", "columns of a head; expected at most {} on a CUDA device, got {}", cuda::kMaxHeadDim,
                  head_dim);
    }
    std::vector<cuda::AttentionTile> tiles;
    for (int e = 0; e < rows.examples(); ++e) {
      for (int first = rows.begin(e); first < rows.end(e); first += cuda::attention_tile(precision_)) {
        tiles.push_back({rows.begin(e), rows.end(e), first});
      }
    }
    Packet packet(device_);
    const auto place = packet.add(tiles);
    packet.send();
    body(cuda::AttentionShape{packet.at(place), static_cast<int>(tiles.size()), heads, kv_heads, head_dim, scale});
  }

  // Calls body with the list on the device, unless there is nothing in it.
  template <class Piece, class Body>
  void with_pieces(const std::vector<Piece>& pieces, const Body& body) {
    const std::vector<int32_t> first = blocks_of(pieces);
    if (first.back() == 0) return;
    Packet packet(device_);
    const auto all = packet.add(pieces);
    const auto blocks = packet.add(first);
    packet.send();
    body(cuda::Pieces<Piece>{packet.at(all), packet.at(blocks), static_cast<int>(pieces.size()), first.back()});
  }

  // The angles on the device; kept until more positions are asked for.
  cuda::RopeTable table_for(int64_t positions, int64_t half, float base) {
    const auto angles = rope_angles(positions, half, base);
    KeptTable& kept = tables_[{half, base}];
    if (kept.of != angles) {
      kept.of = angles;
      kept.cosine = Buffer<float>(std::span<const float>(angles->cosine), device_.allocator);
      kept.sine = Buffer<float>(std::span<const float>(angles->sine), device_.allocator);
    }
    return {kept.cosine.span().data(), kept.sine.span().data()};
  }

  struct KeptTable {
    std::shared_ptr<const RopeAngles> of;
    Buffer<float> cosine, sine;
  };

  Device& device_;
  cuda::Precision precision_;
  std::optional<cuda::Blas> blas_;  // determinism: fast
  std::map<std::pair<int64_t, float>, KeptTable> tables_;
  std::string description_;
};

}  // namespace

bool cuda_available(std::string* why) {
  int count = 0;
  const cudaError_t e = cudaGetDeviceCount(&count);
  if (e == cudaSuccess && count > 0) return true;
  if (e != cudaSuccess) cudaGetLastError();
  if (why != nullptr) *why = e == cudaSuccess ? "no device" : cudaGetErrorString(e);
  return false;
}

bool cuda_is_emulated() {
#ifdef GOVTRAIN_CUDA_TOOLKIT
  return false;
#else
  return true;
#endif
}

namespace {

// Never destroyed: tensors of the program may outlive the statics of this file.
Device& the_device() {
  std::string why;
  if (!cuda_available(&why)) throw Error("cuda", "expected a CUDA device, got none: {}", why);
  static auto* device = new Device;
  return *device;
}

}  // namespace

Backend& cuda_backend(cuda::Precision precision, cuda::Determinism determinism) {
  static auto* all = new std::map<std::pair<cuda::Precision, cuda::Determinism>, std::unique_ptr<CudaBackend>>;
  auto& backend = (*all)[{precision, determinism}];
  if (!backend) backend = std::make_unique<CudaBackend>(the_device(), precision, determinism);
  return *backend;
}

void use_cuda_graphs(bool on) { the_device().recorder.use(on); }
CudaWork take_cuda_work() { return the_device().recorder.take_counts(); }

}  // namespace govtrain
