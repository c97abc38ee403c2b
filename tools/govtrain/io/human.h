// Numbers for people. Independent of the locale.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace govtrain {

std::string human_count(double n);           // 950, 41.2k, 1.2M, 3.4G
std::string human_bytes(uint64_t bytes);     // 512 B, 1.5 KiB, 2.0 GiB
std::string human_duration(double seconds);  // 0.3s, 12s, 2m10s, 3h05m, 2d04h
std::string grouped(int64_t n);              // 15,360
// The noun as it stands after that number: 1 thread, 2 threads, 1 entry, 0 entries, 2 classes.
std::string noun(int64_t n, std::string_view one);
inline const char* are(int64_t n) { return n == 1 ? "is" : "are"; }

// Control characters other than tab and newline become U+FFFD, so that text that a model or a file makes up cannot
// steer a terminal. C1 controls (U+0080 to U+009F) are replaced too; other bytes are kept.
std::string printable(std::string_view text);

}  // namespace govtrain
