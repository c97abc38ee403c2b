// What a run shows while it trains: one live line on a terminal, plain lines or JSON elsewhere. Shows; measures
// nothing.
#pragma once

#include <cstdint>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>

namespace govtrain {

enum class ProgressMode { automatic, bar, plain, json, none };

// Throws Error unless `name` is auto, bar, plain, json or none.
ProgressMode progress_mode(const std::string& name);

// The state after a step. NaN (or a negative count) leaves a field out, but for the loss: a step from which nothing was
// counted shows "loss -".
struct ProgressState {
  static constexpr double unknown = std::numeric_limits<double>::quiet_NaN();
  int64_t step = 0;   // steps done
  int64_t steps = 0;  // of so many
  double loss = unknown;
  double loss_z = unknown;  // standard deviations from the recent mean, see ZScore
  double norm = unknown;    // of the routed gradient
  double lr = unknown;
  double tokens_per_second = unknown;
  double milliseconds = unknown;  // of the last step
  double admitted = unknown;      // mean admitted weight
  int64_t log_size = -1;          // records in the log
  int64_t log_lag = 0;            // of them not yet covered by a signed checkpoint
  double eta_seconds = unknown;
};

// "step 120/1000 | loss 3.412 (-0.3z) | norm 0.87 | lr 3.0e-4 | 41.2k tok/s | 12.3 ms | adm 0.78 | log 15,360 (+0 lag)
// | eta 2m10s". With `width` > 0 the least important fields are left out until the line has at most `width` columns.
std::string progress_text(const ProgressState& state, int width = 0);

class Progress {
 public:
  // `automatic` becomes bar on a capable terminal, else plain. Plain and JSON lines are at least `every_seconds` apart.
  Progress(ProgressMode mode, double every_seconds, std::FILE* out = stdout);
  ~Progress();  // finish()
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void update(const ProgressState& state);
  // A message of its own, above the live line. Mode none shows it too: it is no progress.
  void event(const std::string& text);
  // Plain: prints the last state if it was not printed. Bar: erases the live line. Later calls start anew.
  void finish();
  ProgressMode mode() const { return mode_; }

 private:
  void draw();
  void print_state();
  void write(const std::string& bytes);

  ProgressMode mode_;
  double every_seconds_;
  std::FILE* out_;
  ProgressState state_;
  bool pending_ = false;  // state_ has not been shown
  bool live_ = false;     // the cursor stands on a live line
  double shown_at_ = -1e9;
};

// How many standard deviations a value is away from the mean of the last `window` values before it. As in llm.c, a
// full window is needed first: until then NaN.
class ZScore {
 public:
  explicit ZScore(size_t window = 128) : window_(window) {}
  double update(double value);

 private:
  size_t window_;
  size_t next_ = 0;
  std::vector<double> values_;
};

}  // namespace govtrain
