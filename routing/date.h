// Calendar dates of licence windows: proleptic Gregorian, no times and no time zones.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace govtrain {

class Date {
 public:
  // Exactly YYYY-MM-DD, a day that exists, years 0001 to 9999; otherwise nothing.
  static std::optional<Date> parse(std::string_view text);
  // The date now in UTC, so that every machine agrees on the day a licence ends.
  static Date today();

  std::string text() const;
  Date plus_days(int64_t days) const { return Date(days_ + days); }
  auto operator<=>(const Date&) const = default;

 private:
  explicit Date(int64_t days) : days_(days) {}
  int64_t days_;  // since 1970-01-01
};

}  // namespace govtrain
