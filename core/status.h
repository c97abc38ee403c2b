// The result of anything where the disk, a log or a peer may disagree with us. Never ignored, never logged below the
// caller. Not for programming or configuration errors: see core/error.h.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace govtrain {

enum class StatusCode { ok, not_found, exists, corrupt, io, no_space, locked, invalid, rolled_back };

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::ok; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::ok;
  std::string message_;
};

// A value or the status that explains its absence. REQUIRES: ok() before value().
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}                                  // NOLINT(runtime/explicit)
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }  // NOLINT(runtime/explicit)

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  const T& value() const& { return *value_; }
  T& value() & { return *value_; }
  T&& value() && { return std::move(*value_); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace govtrain
