// Which of two versions of a policy is the newer one.
#pragma once

#include <optional>
#include <string>

namespace govtrain {

// Versions by their numbers: 2 < 10, 1.9 < 1.10. Nothing when one of them is not made of numbers.
std::optional<bool> is_newer(const std::string& text, const std::string& than);

}  // namespace govtrain
