#include "tools/govtrain/io/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tools/govtrain/io/human.h"

namespace govtrain {
namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr int kBarCells = 12;

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool capable_terminal(std::FILE* out) {
  const char* term = std::getenv("TERM");
  return isatty(fileno(out)) != 0 && term != nullptr && std::strcmp(term, "dumb") != 0;
}

int terminal_width(std::FILE* out) {
  winsize size{};
  return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

// "3.0e-4": two digits, exponent without padding.
std::string short_exponent(double value) {
  std::string text = fmt::format("{:.1e}", value);
  const size_t digits = text.find('e') + 2;
  if (text[digits - 1] == '+') return fmt::format("{:.3g}", value);
  while (digits + 1 < text.size() && text[digits] == '0') text.erase(digits, 1);
  return text;
}

struct Part {
  std::string text;
  int rank;  // the highest goes first when there is no room
};

std::vector<Part> parts(const ProgressState& s) {
  std::vector<Part> out = {{fmt::format("step {}/{}", s.step, s.steps), 0}};
  const auto add = [&](bool known, int rank, const auto& make) {
    if (known) out.push_back({make(), rank});
  };
  add(true, 1, [&] {
    if (std::isnan(s.loss)) return std::string("loss -");
    return fmt::format("loss {:.3f}", s.loss) + (std::isnan(s.loss_z) ? "" : fmt::format(" ({:+.1f}z)", s.loss_z));
  });
  add(!std::isnan(s.norm), 5, [&] { return fmt::format("norm {:.2f}", s.norm); });
  add(!std::isnan(s.lr), 7, [&] { return "lr " + short_exponent(s.lr); });
  add(!std::isnan(s.tokens_per_second), 3, [&] { return human_count(s.tokens_per_second) + " tok/s"; });
  add(!std::isnan(s.milliseconds), 8, [&] {
    return s.milliseconds < 99.95 ? fmt::format("{:.1f} ms", s.milliseconds) : fmt::format("{:.0f} ms", s.milliseconds);
  });
  add(!std::isnan(s.admitted), 4, [&] { return fmt::format("adm {:.2f}", s.admitted); });
  add(s.log_size >= 0, 6, [&] { return fmt::format("log {} (+{} lag)", grouped(s.log_size), grouped(s.log_lag)); });
  add(!std::isnan(s.eta_seconds), 2, [&] { return "eta " + human_duration(s.eta_seconds); });
  return out;
}

std::string joined(const std::vector<Part>& list) {
  std::string out;
  for (const Part& p : list) out += (out.empty() ? "" : " | ") + p.text;
  return out;
}

std::string bar(const ProgressState& s) {
  const double done = s.steps > 0 ? static_cast<double>(s.step) / static_cast<double>(s.steps) : 0;
  const int full = std::clamp(static_cast<int>(done * kBarCells), 0, kBarCells);
  return "[" + std::string(static_cast<size_t>(full), '#') + std::string(static_cast<size_t>(kBarCells - full), '.') +
         "] ";
}

std::string json_text(const ProgressState& s) {
  nlohmann::json out = {{"event", "step"}, {"step", s.step}, {"steps", s.steps}};
  const auto add = [&](const char* name, double value) {
    if (std::isfinite(value)) out[name] = value;
  };
  add("loss", s.loss);
  add("loss_z", s.loss_z);
  add("norm", s.norm);
  add("lr", s.lr);
  add("tokens_per_second", s.tokens_per_second);
  add("milliseconds", s.milliseconds);
  add("admitted", s.admitted);
  add("eta_seconds", s.eta_seconds);
  if (s.log_size >= 0) {
    out["log_size"] = s.log_size;
    out["log_lag"] = s.log_lag;
  }
  return out.dump();
}

}  // namespace

ProgressMode progress_mode(const std::string& name) {
  if (name == "auto") return ProgressMode::automatic;
  if (name == "bar") return ProgressMode::bar;
  if (name == "plain") return ProgressMode::plain;
  if (name == "json") return ProgressMode::json;
  if (name == "none") return ProgressMode::none;
  throw Error("progress", "unknown mode; expected auto, bar, plain, json or none, got '{}'", name);
}

std::string progress_text(const ProgressState& state, int width) {
  std::vector<Part> list = parts(state);
  std::string text = joined(list);
  while (width > 0 && text.size() > static_cast<size_t>(width) && list.size() > 1) {
    list.erase(
        std::max_element(list.begin(), list.end(), [](const Part& a, const Part& b) { return a.rank < b.rank; }));
    text = joined(list);
  }
  return width > 0 ? text.substr(0, static_cast<size_t>(width)) : text;
}

Progress::Progress(ProgressMode mode, double every_seconds, std::FILE* out)
    : mode_(mode), every_seconds_(every_seconds), out_(out) {
  if (mode_ == ProgressMode::automatic) mode_ = capable_terminal(out) ? ProgressMode::bar : ProgressMode::plain;
}

Progress::~Progress() { finish(); }

// One write per change, so that a terminal never shows half of it.
void Progress::write(const std::string& bytes) {
  std::fwrite(bytes.data(), 1, bytes.size(), out_);
  std::fflush(out_);
}

void Progress::draw() {
  // The last column stays free: a character there makes some terminals wrap.
  const int width = terminal_width(out_) - 1;
  std::string text = progress_text(state_, width);
  const std::string cells = bar(state_);
  if (text.size() + cells.size() <= static_cast<size_t>(width)) text = cells + text;
  write("\r" + text + "\x1b[K");
  live_ = true;
}

void Progress::print_state() {
  if (mode_ == ProgressMode::bar) draw();
  if (mode_ == ProgressMode::plain) write(progress_text(state_) + "\n");
  if (mode_ == ProgressMode::json) write(json_text(state_) + "\n");
  pending_ = false;
  shown_at_ = seconds();
}

void Progress::update(const ProgressState& state) {
  state_ = state;
  pending_ = true;
  if (mode_ == ProgressMode::none) return;
  if (seconds() - shown_at_ >= (mode_ == ProgressMode::bar ? kRedrawSeconds : every_seconds_)) print_state();
}

void Progress::event(const std::string& text) {
  if (mode_ == ProgressMode::json) {
    const nlohmann::json line = {{"event", "message"}, {"text", text}};
    return write(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  write((live_ ? "\r\x1b[K" : "") + printable(text) + "\n");
  if (live_) draw();
}

void Progress::finish() {
  if (live_) write("\r\x1b[K");
  live_ = false;
  if (pending_ && mode_ != ProgressMode::bar && mode_ != ProgressMode::none) print_state();
  pending_ = false;
}

double ZScore::update(double value) {
  if (!std::isfinite(value)) return std::numeric_limits<double>::quiet_NaN();
  double z = std::numeric_limits<double>::quiet_NaN();
  if (values_.size() < window_) {
    values_.push_back(value);
    return z;
  }
  double mean = 0, variance = 0;
  for (const double v : values_) mean += v / static_cast<double>(window_);
  for (const double v : values_) variance += (v - mean) * (v - mean) / static_cast<double>(window_);
  if (variance > 0) z = (value - mean) / std::sqrt(variance);
  values_[next_] = value;
  next_ = (next_ + 1) % window_;
  return z;
}

}  // namespace govtrain
