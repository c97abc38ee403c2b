// Errors of input files, gathered so that a user sees all of them at once:
//   train.yaml:12:3: error: unknown key 'optim.learing_rate'
//      12 |   learing_rate: 3e-4
//         |   ^^^^^^^^^^^^ did you mean 'optim.lr'?
// Not a logger: nothing is printed here.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace govtrain {

// 1-based; columns count characters, not bytes. Line 0 means "not in a file" (for example "command line, argument 3"
// in `file`). `length` is how many characters the caret line marks.
struct Position {
  std::string file;
  int line = 0;
  int column = 0;
  int length = 1;
};

// "file:line:column", or the file alone when there is no line.
std::string to_string(const Position& at);

class Diagnostics {
 public:
  // Keeps the text of an input so that messages can show the line.
  void add_source(const std::string& file, const std::string& text);
  void error(const Position& at, const std::string& message, const std::string& hint = "");
  void warning(const Position& at, const std::string& message, const std::string& hint = "");
  bool has_errors() const { return errors_ > 0; }
  int errors() const { return errors_; }
  int warnings() const { return static_cast<int>(messages_.size()) - errors_; }
  // All messages in order of file, line and column; each ends with a newline. Long lines are cut around the place,
  // control characters are made visible, and after 100 messages the rest is counted.
  std::string render() const;
  // Throws ConfigError when there is an error.
  void throw_if_errors() const;

 private:
  struct Message {
    Position at;
    bool is_error;
    std::string message, hint;
  };
  std::string render_one(const Message& message) const;
  std::vector<Message> messages_;
  std::map<std::string, std::vector<std::string>> sources_;
  int errors_ = 0;
};

// Thrown when an input cannot be used; what() is Diagnostics::render(). The program exits with status 2.
class ConfigError : public std::runtime_error {
 public:
  explicit ConfigError(const Diagnostics& diagnostics) : std::runtime_error(diagnostics.render()) {}
};

// The nearest of `candidates` by edit distance, or "" when none is near enough to be meant. Case and the difference
// between '-' and '_' count nothing; of equals the first wins.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

// "did you mean 'x'?", or "" when nothing is near.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& candidates);

// 'text' in quotes, fit for a message: at most 60 characters, control characters made visible.
std::string in_quotes(std::string_view text);

// Number of characters of a UTF-8 text.
int display_length(std::string_view text);

// "a, b, c"
std::string join(const std::vector<std::string>& words, const std::string& separator = ", ");

}  // namespace govtrain
