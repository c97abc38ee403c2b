// Trains the classifier of routing/linear_classifier.h with the program's own ops, routed gradients and optimizer, on
// the documents that the policy admits and whose class is known. Excluded documents have no part in it: the file has
// the same bytes as if they had been deleted from the corpus.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/hash.h"
#include "kernels/backend.h"
#include "tools/govtrain/classify/model_file.h"
#include "tools/govtrain/config/run_config.h"

namespace govtrain {

struct ClassifierOptions {
  NgramOptions ngrams;
  int64_t epochs = 60;
  int64_t batch = 32;  // documents in a step; also the denominator of the loss
  double lr = 0.05;    // of AdamW; falls to 0 along a cosine
  double decay = 0.01;
  uint64_t seed = 1;
};

struct ClassifierExample {
  Digest digest;
  std::string text, cls;
};

// Softmax regression from zero weights: the mean over the training documents of -log p(class). Documents are ordered
// anew in each epoch by a random number keyed by (seed, epoch, digest), gradients are summed in that order: the result
// does not depend on threads, nor on the order of `examples`. Throws Error unless there are two classes or more.
LinearClassifier fit_classifier(std::vector<ClassifierExample> examples, const ClassifierOptions& options,
                                Backend& backend);

// How a classifier does on documents that it has not seen.
struct ClassifierReport {
  int64_t documents = 0, right = 0;
  int64_t largest_class = 0;                   // right answers of always naming the class most seen in training
  std::vector<std::string> classes;            // with documents held out, sorted
  std::vector<int64_t> of_class, right_class;  // per class
  struct Above {
    double threshold = 0;
    int64_t documents = 0, right = 0;  // of those that score at least that
  };
  std::vector<Above> above;
};

struct ClassifierTraining {
  ClassifierFile file;
  ClassifierReport held_out;
  std::vector<std::pair<std::string, int64_t>> trained_on;  // class, documents
  int64_t several = 0, none = 0;                            // left out: sources disagree, or claim nothing
};

// On the configuration's corpus, by the sources of its classification that are no classifiers; the validation split is
// held out. Throws ConfigError, Error or Failure.
ClassifierTraining train_classifier(const RunConfig& config, const ClassifierOptions& options);

}  // namespace govtrain
