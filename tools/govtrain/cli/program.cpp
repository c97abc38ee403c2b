#include "tools/govtrain/cli/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>

#include "core/config/diagnostics.h"
#include "tools/govtrain/base/build_info.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/terminal.h"
#include "tools/govtrain/cli/verb.h"

namespace govtrain {
namespace {

const Verb* find_verb(const std::string& name) {
  const auto& table = verbs();
  const auto it = std::find_if(table.begin(), table.end(), [&](const Verb& v) { return v.name == name; });
  return it == table.end() ? nullptr : &*it;
}

// The verbs of the group `word` ("data"): their full names.
std::vector<std::string> group(const std::string& word) {
  std::vector<std::string> names;
  for (const Verb& v : verbs())
    if (v.name.starts_with(word + " ")) names.push_back(v.name);
  return names;
}

// "\n  did you mean 'x'?", or nothing.
std::string suggestion(const std::string& word, const std::vector<std::string>& candidates) {
  const std::string text = did_you_mean(word, candidates);
  return text.empty() ? "" : "\n  " + text;
}

[[noreturn]] void unknown_verb(const std::vector<std::string>& args) {
  const std::vector<std::string> subverbs = group(args[0]);
  std::vector<std::string> names;
  if (!subverbs.empty()) {
    std::string list;
    for (const std::string& s : subverbs) list += (list.empty() ? "" : ", ") + s.substr(args[0].size() + 1);
    if (args.size() == 1)
      throw Failure(exit_usage, fmt::format("'{}' needs one of: {}\n  see 'govtrain help {}'", args[0], list, args[0]));
    for (const std::string& s : subverbs) names.push_back(s.substr(args[0].size() + 1));
    throw Failure(exit_usage, fmt::format("'{} {}' is no verb; '{}' has: {}{}", args[0], args[1], args[0], list,
                                          suggestion(args[1], names)));
  }
  for (const Verb& v : verbs()) {
    names.push_back(v.name);
    const size_t space = v.name.find(' ');
    if (space == std::string::npos) continue;
    const std::string first = v.name.substr(0, space);
    if (std::find(names.begin(), names.end(), first) == names.end()) names.push_back(first);
  }
  throw Failure(exit_usage, fmt::format("'{}' is no verb of govtrain{}\n  see 'govtrain help'", args[0],
                                        suggestion(args[0], names)));
}

void prepare(CLI::App& app, const Verb& verb) {
  app.name("govtrain " + verb.name);
  app.description(verb.summary + (verb.details.empty() ? "" : "\n\n" + verb.details));
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.get_formatter()->column_width(34);
}

[[noreturn]] void unknown_option(const CLI::App& app, const Verb& verb, const std::string& word) {
  if (!word.starts_with("-"))
    throw Failure(exit_usage, fmt::format("unexpected argument '{}'\n  see 'govtrain help {}'", word, verb.name));
  std::vector<std::string> options;
  for (const CLI::Option* o : app.get_options())
    for (const std::string& name : o->get_lnames()) options.push_back("--" + name);
  throw Failure(exit_usage, fmt::format("'{}' is no option of '{}'{}\n  see 'govtrain help {}'", word, verb.name,
                                        suggestion(word.substr(0, word.find('=')), options), verb.name));
}

int run_verb(const Verb& verb, std::vector<std::string> args) {
  CLI::App app;
  prepare(app, verb);
  app.allow_extras();
  const std::function<int()> action = verb.declare(app);
  std::reverse(args.begin(), args.end());
  try {
    app.parse(args);
  } catch (const CLI::CallForHelp&) {
    fmt::print("{}", help_text(verb.name));
    return exit_ok;
  } catch (const CLI::ParseError& e) {
    throw Failure(exit_usage, fmt::format("{}\n  see 'govtrain help {}'", e.what(), verb.name));
  }
  if (const auto extra = app.remaining(); !extra.empty()) unknown_option(app, verb, extra.front());
  return action();
}

int dispatch(const std::vector<std::string>& args) {
  if (args.empty()) {
    fmt::print(stderr, "{}", help_text(""));
    return exit_usage;
  }
  if (args[0] == "-h" || args[0] == "--help") return fmt::print("{}", help_text("")), exit_ok;
  if (args[0] == "-V" || args[0] == "--version") return fmt::print("{}\n", version_line()), exit_ok;
  if (args.size() > 1) {
    if (const Verb* v = find_verb(args[0] + " " + args[1])) return run_verb(*v, {args.begin() + 2, args.end()});
  }
  if (const Verb* v = find_verb(args[0])) return run_verb(*v, {args.begin() + 1, args.end()});
  if (args.size() > 1 && (args[1] == "-h" || args[1] == "--help") && !group(args[0]).empty())
    return fmt::print("{}", help_text(args[0])), exit_ok;
  unknown_verb(args);
}

int report(ExitCode code, const std::string& message) {
  std::fflush(stdout);
  // A failure without text has been reported where it happened.
  if (!message.empty()) fmt::print(stderr, "govtrain: {} {}\n", red("error:", stderr), message);
  return code;
}

}  // namespace

std::string help_text(const std::string& topic) {
  if (const Verb* verb = find_verb(topic)) {
    CLI::App app;
    prepare(app, *verb);
    (void)verb->declare(app);
    return app.help();
  }
  if (!topic.empty() && group(topic).empty()) return "";
  std::string out = topic.empty() ? version_line() +
                                        "\nTrains neural networks under governance: which example may teach "
                                        "which part of a model, enforced and logged.\n\n"
                                  : "";
  out += fmt::format("Usage: govtrain {}VERB [options]\n\nVerbs:\n", topic.empty() ? "" : topic + " ");
  for (const Verb& v : verbs())
    if (topic.empty() || v.name.starts_with(topic + " ")) out += fmt::format("  {:<18} {}\n", v.name, v.summary);
  if (topic.empty()) {
    out +=
        "\n'govtrain help VERB' explains a verb. Exit status: 0 ok, 1 failure, 2 usage or configuration, 3 data,\n"
        "4 verification failed, 5 memory or disk, 6 refused by the policy, 130 interrupted after a clean save.\n";
  }
  return out;
}

int run_program(const std::vector<std::string>& args) {
  try {
    const int code = dispatch(args);
    if (std::fflush(stdout) != 0) return report(exit_failure, "cannot write to standard output");
    return code;
  } catch (const Failure& e) {
    return report(e.code(), e.what());
  } catch (const ConfigError& e) {
    std::fflush(stdout);
    fmt::print(stderr, "{}", highlighted(e.what(), stderr));
    return exit_usage;
  } catch (const std::bad_alloc&) {
    return report(exit_resource, "out of memory");
  } catch (const std::exception& e) {
    return report(exit_failure, e.what());
  }
}

}  // namespace govtrain
