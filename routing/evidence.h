// A record of a decision against the same decision, made again from its evidence.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace govtrain {

// The first member of `again` that the record says otherwise. Throws json::exception when the record lacks one.
inline std::optional<std::string> disagreement(const nlohmann::json& record, const nlohmann::json& again) {
  for (const auto& [key, value] : again.items()) {
    if (record.at(key) == value) continue;
    return fmt::format("'{}' is {}; its evidence gives {}", key, record.at(key).dump(), value.dump());
  }
  return std::nullopt;
}

// What is wrong with a record that such an exception is about.
inline std::string lacking(const nlohmann::json::exception& e) {
  return fmt::format("it lacks what a check needs ({})", e.what());
}

}  // namespace govtrain
