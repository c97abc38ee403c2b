// A fixed set of texts on which the effect of an update is predicted and measured: the validation split, or the
// documents of a file. Without dropout, so that equal weights give equal bits.
#pragma once

#include <string>
#include <vector>

#include "kernels/backend.h"
#include "models/transformer.h"
#include "tools/govtrain/data/sampler.h"
#include "tools/govtrain/train/session.h"

namespace govtrain {

class Probe {
 public:
  // `file`: texts, one per line, or JSONL as `data.inputs` takes it; empty: the validation split, up to
  // eval.max_tokens rows. Throws Failure when nothing is in it.
  Probe(const Session& session, const std::string& file);

  const std::string& name() const { return name_; }
  int64_t rows() const;
  // Documents of the validation split that are kept out by now: not among the texts.
  int64_t kept_out() const { return kept_out_; }

  struct Point {
    double loss = 0;               // nats per token
    std::vector<Tensor> gradient;  // of `loss`, per parameter; empty unless asked for
  };
  Point at(const Transformer& model, Backend& backend, bool gradient) const;

 private:
  struct Part {
    std::vector<int32_t> tokens, targets;
    Rows rows;
  };
  std::string name_;
  std::vector<Part> parts_;
  int64_t kept_out_ = 0;
};

}  // namespace govtrain
