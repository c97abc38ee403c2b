// The kernels behind cpu/backend.cpp, one function per method of Backend and with its meaning (kernels/backend.h).
// Each dispatches to the instruction set taken. Private to kernels/cpu.
#pragma once

#include "kernels/backend.h"

namespace govtrain::cpu {

// gemm.cpp
void linear(View x, View w, std::span<const float> bias, MutView y);
void linear_dx(View dy, View w, MutView dx, bool add);
// contract.cpp
void contract(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad);
void contract_plain(std::span<const Factor> factors, MutView grad);
// contract_vector.cpp: factors gain and bias.
void contract_vector(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad);
// contract_scatter.cpp: factors scatter only.
void contract_scatter(std::span<const Factor> factors, const Rows& rows, const Contraction& how, MutView grad);
// attention.cpp
void attention(View q, View k, View v, const Rows& rows, int heads, int kv_heads, float scale, MutView out,
               MutView lse);
void attention_backward(View q, View k, View v, View out, View lse, View dout, const Rows& rows, int heads,
                        int kv_heads, float scale, MutView dq, MutView dk, MutView dv);
// rope.cpp
void rope(MutView x, const Rows& rows, std::span<const int32_t> start, int head_dim, float base, int direction);
// norm.cpp
void layer_norm(View x, std::span<const float> gain, std::span<const float> bias, float eps, MutView y,
                std::span<float> mean, std::span<float> rstd);
void layer_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> mean,
                   std::span<const float> rstd, MutView dx, bool add);
void rms_norm(View x, std::span<const float> gain, float eps, MutView y, std::span<float> rstd);
void rms_norm_dx(View dy, View x, std::span<const float> gain, std::span<const float> rstd, MutView dx, bool add);
// elementwise.cpp
void activation(Activation kind, View x, MutView y);
void activation_dx(Activation kind, View dy, View x, MutView dx);
void gated(Activation kind, View gate, View up, MutView y);
void gated_dx(Activation kind, View dy, View gate, View up, MutView dgate, MutView dup);
void add(View a, View b, MutView y);
void accumulate(View x, MutView y);
void scale_rows(View x, std::span<const float> per_row, MutView y);
void scale(std::span<float> x, float factor);
void fill(std::span<float> x, float value);
double sum_of_squares(std::span<const float> x);
int64_t first_non_finite_row(View x);
// dropout.cpp
void dropout(View x, const Rows& rows, const DropoutKey& key, float rate, MutView y);
// embedding.cpp
void embedding(View table, std::span<const int32_t> index, MutView y, bool add);
// loss.cpp
void cross_entropy(MutView logits, std::span<const int32_t> target, const Rows& rows, bool dlogits_in_place,
                   std::span<double> loss, std::span<float> row_loss);
// optimizer.cpp
void adam(std::span<float> value, std::span<const float> grad, std::span<float> m, std::span<float> v,
          const AdamOptions& o);
void sgd(std::span<float> value, std::span<const float> grad, std::span<float> momentum, const SgdOptions& o);

}  // namespace govtrain::cpu
