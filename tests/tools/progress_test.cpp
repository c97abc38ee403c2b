// Numbers for people, the progress line in its widths and modes, the running z-score.
#include "tools/govtrain/io/progress.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdio>

#include "tools/govtrain/io/human.h"

using namespace govtrain;

namespace {

ProgressState sample() {
  ProgressState s;
  s.step = 120;
  s.steps = 1000;
  s.loss = 3.412;
  s.loss_z = -0.3;
  s.norm = 0.87;
  s.lr = 3e-4;
  s.tokens_per_second = 41200;
  s.milliseconds = 12.3;
  s.admitted = 0.78;
  s.log_size = 15360;
  s.eta_seconds = 130;
  return s;
}

// What `use` makes Progress write to a file that is no terminal.
template <class Use>
std::string written(ProgressMode mode, double every_seconds, const Use& use) {
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  {
    Progress progress(mode, every_seconds, file);
    use(progress);
  }
  std::rewind(file);
  std::string out;
  for (int c; (c = std::fgetc(file)) != EOF;) out += static_cast<char>(c);
  std::fclose(file);
  return out;
}

}  // namespace

TEST_CASE("numbers for people", "[progress]") {
  CHECK(human_count(0) == "0");
  CHECK(human_count(999) == "999");
  CHECK(human_count(999.6) == "1.0k");
  CHECK(human_count(41200) == "41.2k");
  CHECK(human_count(999960) == "1.0M");
  CHECK(human_count(1.2e6) == "1.2M");
  CHECK(human_bytes(512) == "512 B");
  CHECK(human_bytes(1536) == "1.5 KiB");
  CHECK(human_bytes(1024 * 1024 - 1) == "1.0 MiB");
  CHECK(human_bytes(uint64_t{2} << 30) == "2.0 GiB");
  CHECK(human_duration(0.25) == "0.2s");
  CHECK(human_duration(9.99) == "10s");
  CHECK(human_duration(59.4) == "59s");
  CHECK(human_duration(59.6) == "1m00s");
  CHECK(human_duration(130) == "2m10s");
  CHECK(human_duration(3600 + 5 * 60) == "1h05m");
  CHECK(human_duration(2 * 86400 + 4 * 3600) == "2d04h");
  CHECK(human_duration(NAN) == "?");
  CHECK(human_duration(1e300) == "11574074d01h");
  CHECK(grouped(0) == "0");
  CHECK(grouped(999) == "999");
  CHECK(grouped(15360) == "15,360");
  CHECK(grouped(-1234567) == "-1,234,567");
  CHECK(noun(1, "thread") == "thread");
  CHECK(noun(0, "thread") == "threads");
  CHECK(noun(2, "entry") == "entries");
  CHECK(noun(1, "entry") == "entry");
  CHECK(noun(3, "day") == "days");
  CHECK(noun(2, "privacy class") == "privacy classes");
}

TEST_CASE("the line has every field that is known", "[progress]") {
  CHECK(progress_text(sample()) ==
        "step 120/1000 | loss 3.412 (-0.3z) | norm 0.87 | lr 3.0e-4 | 41.2k tok/s | 12.3 ms | adm 0.78 | "
        "log 15,360 (+0 lag) | eta 2m10s");
  ProgressState s;
  s.step = 1;
  s.steps = 2;
  CHECK(progress_text(s) == "step 1/2 | loss -");  // a step without a loss
  s.lr = 2;
  s.milliseconds = 312.4;
  CHECK(progress_text(s) == "step 1/2 | loss - | lr 2 | 312 ms");
}

TEST_CASE("a narrow line drops the least important fields and never exceeds its width", "[progress]") {
  for (int width = 1; width < 140; ++width) CHECK(progress_text(sample(), width).size() <= static_cast<size_t>(width));
  CHECK(progress_text(sample(), 79) == "step 120/1000 | loss 3.412 (-0.3z) | 41.2k tok/s | adm 0.78 | eta 2m10s");
  CHECK(progress_text(sample(), 40) == "step 120/1000 | loss 3.412 (-0.3z)");
  CHECK(progress_text(sample(), 8) == "step 120");
}

TEST_CASE("plain output has whole lines, rarely, and the last state", "[progress]") {
  const std::string out = written(ProgressMode::automatic, 1000, [](Progress& p) {
    CHECK(p.mode() == ProgressMode::plain);
    ProgressState s;
    s.steps = 3;
    for (s.step = 1; s.step <= 3; ++s.step) {
      p.update(s);
      if (s.step == 2) p.event("saved");
    }
  });
  CHECK(out == "step 1/3 | loss -\nsaved\nstep 3/3 | loss -\n");
}

TEST_CASE("JSON output is one object per line", "[progress]") {
  const std::string out = written(ProgressMode::json, 0, [](Progress& p) {
    ProgressState s;
    s.step = 1;
    s.steps = 3;
    s.loss = 2.5;
    s.norm = INFINITY;
    p.update(s);
    p.event("a \"b\"");
  });
  CHECK(out ==
        "{\"event\":\"step\",\"loss\":2.5,\"step\":1,\"steps\":3}\n{\"event\":\"message\",\"text\":\"a \\\"b\\\"\"}\n");
}

TEST_CASE("the live line is redrawn in place, moves below events and is erased", "[progress]") {
  const std::string out = written(ProgressMode::bar, 1000, [](Progress& p) {
    ProgressState s;
    s.step = 1;
    s.steps = 2;
    p.update(s);
    p.event("saved");
  });
  CHECK(out ==
        "\r[######......] step 1/2 | loss -\x1b[K\r\x1b[Ksaved\n\r[######......] step 1/2 | loss -\x1b[K\r\x1b[K");
}

TEST_CASE("text cannot steer the terminal", "[progress]") {
  CHECK(printable("a\tb\n\xc3\xa9\xf0\x9f\x98\x80") == "a\tb\n\xc3\xa9\xf0\x9f\x98\x80");
  CHECK(printable(std::string("\x1b[2J\r\x7f\xc2\x9b\0.", 10)) ==
        "\xef\xbf\xbd[2J\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd.");
  CHECK(printable("\xc2") == "\xc2");
  CHECK(written(ProgressMode::plain, 0, [](Progress& p) { p.event("\x1b[31m"); }) == "\xef\xbf\xbd[31m\n");
}

TEST_CASE("mode none shows events only", "[progress]") {
  CHECK(written(ProgressMode::none, 0, [](Progress& p) {
          p.update(sample());
          p.event("saved");
        }) == "saved\n");
  CHECK_THROWS_WITH(progress_mode("fancy"),
                    "[progress] unknown mode; expected auto, bar, plain, json or none, got 'fancy'");
}

TEST_CASE("the z-score compares with the window before the value", "[progress]") {
  ZScore z(4);
  for (const double v : {1.0, 3.0, 1.0, 3.0}) CHECK(std::isnan(z.update(v)));
  CHECK(z.update(4.0) == Approx(2.0));   // mean 2, deviation 1
  CHECK(std::isnan(z.update(NAN)));      // and does not enter the window
  CHECK(z.update(2.75) == Approx(0.0));  // of 4 3 1 3
  ZScore flat(2);
  for (const double v : {1.0, 1.0}) CHECK(std::isnan(flat.update(v)));
  CHECK(std::isnan(flat.update(2.0)));  // no deviation to compare with
}
