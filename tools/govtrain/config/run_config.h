// The configuration of a run: every key, its default and its meaning in one place, and which combinations make no
// sense. Reading files is core/config/loader.h; what the values do is said where they are used.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/config/diagnostics.h"
#include "core/config/loader.h"
#include "core/config/schema.h"

namespace govtrain {

struct RunConfig {
  struct {
    std::string name = "run";
    std::string out;
    int64_t seed = 1;
    int64_t threads = 0;  // 0: all CPUs of this process
    std::string device = "auto";
    std::string precision = "fp32";
    std::string determinism = "strict";
    std::string resume = "never";  // never, auto, or a checkpoint folder
  } run;
  struct {
    std::vector<std::string> inputs;
    std::string cache;
    struct {
      std::string kind = "sentencepiece";
      int64_t vocab_size = 2048;
    } tokenizer;
    int64_t context = 256;
    double validation_fraction = 0.05;
    int64_t min_chars = 1;
  } data;
  struct {
    std::string kind = "transformer";
    int64_t layers = 0;
    int64_t width = 0;
    int64_t heads = 0;
    int64_t kv_heads = 0;  // 0: as many as heads
    std::string mlp = "swiglu";
    int64_t mlp_width = 0;  // 0: 4 * width, or 8/3 * width for gated kinds
    std::string norm = "rmsnorm";
    double norm_eps = 1e-5;
    std::string positions = "rope";
    double rope_base = 10000;
    bool tied_head = true;
    bool bias = false;
    double dropout = 0;
  } model;
  struct {
    std::string file;
    std::string date;  // YYYY-MM-DD; empty: the day of the first start
    std::string clock = "auto";
    int64_t steps_per_day = 0;  // of the simulated clock
    std::string revocations;    // file; empty: none
    bool watch = false;
    std::string classification;  // file; empty: the class is the metadata's
    std::string reference;       // folder of the frozen model that surprisal is measured with
  } policy;
  struct {
    std::string by = "layer";  // one of granularity_names()
    int64_t group_layers = 2;
    int64_t ranges = 4;
    std::vector<std::string> shares;
    std::string file;
  } blocks;
  struct {
    std::string kind = "adamw";
    double lr = 1e-3;
    std::vector<double> betas = {0.9, 0.95};
    double eps = 1e-8;
    double weight_decay = 0;
    double momentum = 0;
    bool nesterov = false;
    int64_t warmup_steps = 0;
    std::string schedule = "cosine";
    double min_lr = 0;
    double clip = 1;
    std::string untouched = "skip";
  } optim;
  struct {
    std::string withheld = "discard";  // discard, quarantine, shadow
    struct {
      int64_t every = 100;
    } shadow;
    std::vector<std::string> technique = {"scale"};
    std::string enforcement = "backward";
    bool skip = true;
    bool forward_excluded = false;
  } routing;
  struct {
    int64_t steps = 0;
    int64_t tokens_per_step = 8192;
    int64_t micro_batch_tokens = 0;  // 0: the whole step at once
    double max_minutes = 0;          // 0: no limit
    bool routing = true;
  } train;
  struct {
    int64_t every = 0;  // 0: at the end only
    int64_t max_tokens = 65536;
  } eval;
  struct {
    int64_t examples = 0;  // 0: no probe set
    std::string file;      // empty: validation documents
    int64_t every = 100;
    double alpha = 1;
    int64_t reference_step = 0;
    int64_t loss_window = 20;
  } probe;
  struct {
    std::string replay;
  } adaptation;
  struct {
    int64_t every = 0;  // 0: never
    std::vector<std::string> prompts;
    int64_t tokens = 64;
    double temperature = 0.8;
    int64_t top_k = 0;
  } sample;
  struct {
    int64_t every = 0;         // steps; 0: at the end only
    double every_minutes = 0;  // 0: off
    int64_t keep_last = 2;
    int64_t keep_every = 0;  // steps; 0: none
  } save;
  struct {
    double every_seconds = 10;
    bool tensorboard = true;
    std::string progress = "auto";
  } log;
  struct {
    bool enabled = true;
    std::string key;     // empty: <run.name>.key beside the run folder
    std::string origin;  // empty: govtrain.local/<run.name>
    int64_t flush_records = 4096;
    bool norms = true;
  } lineage;

  std::string key_path() const;    // lineage.key, or where its default lies
  std::string log_origin() const;  // lineage.origin, or its default
};

// Binds every key to its member. `config` must outlive the schema.
void describe(Schema& schema, RunConfig& config);

// Reports every combination of values that cannot work, at the place where one of them was given.
void check(const RunConfig& config, const LoadedConfig& loaded, Diagnostics& diagnostics);

// A run's configuration as read, with the schema that is bound to it. Not movable, as the schema points into it.
struct RunConfigFile {
  RunConfig config;
  Schema schema;
  LoadedConfig loaded;
  Diagnostics diagnostics;

  RunConfigFile() { describe(schema, config); }
  RunConfigFile(const RunConfigFile&) = delete;
  RunConfigFile& operator=(const RunConfigFile&) = delete;
};

// Reads and checks. `path` may be a run folder: then it is the configuration that the run was started with. Problems
// are in `diagnostics`; nothing is thrown.
std::unique_ptr<RunConfigFile> read_run_config(const std::string& path, const std::vector<std::string>& overrides);

// All values as YAML for a file in `folder`: paths are written relative to it, so that reading the file back gives the
// same places, and so that a copied run does not tell where it was made.
std::string resolved_yaml(const RunConfig& config, const std::string& folder);
// All values as they are, as canonical JSON (see core/config/render.h).
std::string resolved_json(const RunConfig& config);

}  // namespace govtrain
