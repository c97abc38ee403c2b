#include "routing/date.h"

#include <fmt/format.h>

#include <chrono>

namespace govtrain {

std::optional<Date> Date::parse(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return {};
  int field[3] = {0, 0, 0};
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 4 || i == 7) continue;
    if (text[i] < '0' || text[i] > '9') return {};
    int& f = field[i < 4 ? 0 : i < 7 ? 1 : 2];
    f = f * 10 + (text[i] - '0');
  }
  const std::chrono::year_month_day day{std::chrono::year(field[0]),
                                        std::chrono::month(static_cast<unsigned>(field[1])),
                                        std::chrono::day(static_cast<unsigned>(field[2]))};
  if (!day.ok() || field[0] == 0) return {};
  return Date(std::chrono::sys_days(day).time_since_epoch().count());
}

Date Date::today() {
  return Date(std::chrono::floor<std::chrono::days>(std::chrono::system_clock::now()).time_since_epoch().count());
}

std::string Date::text() const {
  const std::chrono::year_month_day day{std::chrono::sys_days(std::chrono::days(days_))};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()), static_cast<unsigned>(day.month()),
                     static_cast<unsigned>(day.day()));
}

}  // namespace govtrain
