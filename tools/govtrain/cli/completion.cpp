// `completion bash|zsh|fish`: shell completion, made from the table of verbs and the configuration's schema.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "core/config/diagnostics.h"
#include "tools/govtrain/base/exit.h"
#include "tools/govtrain/cli/commands.h"
#include "tools/govtrain/config/run_config.h"

namespace govtrain {
namespace {

struct Entry {
  const Verb* verb;
  std::vector<std::string> options;
  bool takes_config = false;
};

std::vector<Entry> entries() {
  std::vector<Entry> out;
  for (const Verb& verb : verbs()) {
    CLI::App app;
    app.set_help_flag("-h,--help", "");
    (void)verb.declare(app);
    Entry entry{&verb, {}, false};
    for (const CLI::Option* option : app.get_options()) {
      for (const std::string& name : option->get_lnames()) entry.options.push_back("--" + name);
      if (option->get_name(true) == "OVERRIDES") entry.takes_config = true;
    }
    out.push_back(std::move(entry));
  }
  return out;
}

std::vector<std::string> config_words() {
  const RunConfigFile defaults;
  std::vector<std::string> words;
  for (const auto& field : defaults.schema.fields()) {
    if (field.options.choices.empty()) words.push_back(field.key + "=");
    for (const std::string& choice : field.options.choices) words.push_back(field.key + "=" + choice);
  }
  return words;
}

// The first words of all verbs, and for each group the second words.
std::vector<std::pair<std::string, std::vector<std::string>>> first_words() {
  std::vector<std::pair<std::string, std::vector<std::string>>> out;
  for (const Verb& verb : verbs()) {
    const size_t space = verb.name.find(' ');
    const std::string first = verb.name.substr(0, space);
    auto it = std::find_if(out.begin(), out.end(), [&](const auto& e) { return e.first == first; });
    if (it == out.end()) it = out.insert(out.end(), {first, {}});
    if (space != std::string::npos) it->second.push_back(verb.name.substr(space + 1));
  }
  return out;
}

std::string words_of(const std::vector<std::pair<std::string, std::vector<std::string>>>& list) {
  std::vector<std::string> words;
  for (const auto& [word, seconds] : list) words.push_back(word);
  return join(words, " ");
}

// Both shells: `verb` is set to the verb, `words` to what may follow.
std::string cases(const std::string& indent) {
  std::string out;
  for (const Entry& e : entries())
    out += fmt::format("{}'{}') options='{}'; config={} ;;\n", indent, e.verb->name, join(e.options, " "),
                       e.takes_config ? 1 : 0);
  return out;
}

std::string bash_script() {
  std::string groups, group_names;
  for (const auto& [first, seconds] : first_words())
    if (!seconds.empty()) {
      groups += fmt::format("      {}) COMPREPLY=($(compgen -W '{}' -- \"$current\")); return ;;\n", first,
                            join(seconds, " "));
      group_names += (group_names.empty() ? "" : "|") + first;
    }
  return fmt::format(R"(# bash completion for govtrain: source <(govtrain completion bash)
_govtrain() {{
  local current verb options='' config=0
  # Words as the shell splits them, but 'key=value' in one piece.
  local line="${{COMP_LINE:0:COMP_POINT}}" words
  read -r -a words <<< "$line"
  [[ "$line" == *[[:space:]] ]] && words+=('')
  local count=${{#words[@]}}
  current="${{words[count-1]}}"
  if ((count <= 2)); then COMPREPLY=($(compgen -W '{0}' -- "$current")); return; fi
  verb="${{words[1]}}"
  if ((count == 3)); then
    case "$verb" in
{1}      help) COMPREPLY=($(compgen -W '{0}' -- "$current")); return ;;
    esac
  fi
  case "$verb" in {2}) verb="$verb ${{words[2]}}" ;; esac
  case "$verb" in
{3}  esac
  if [[ "$current" == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$current")); return; fi
  if ((config)) && [[ "$current" != */* ]]; then
    COMPREPLY=($(compgen -W '{4}' -- "$current"))
    [[ "${{COMPREPLY[*]}}" == *= ]] && compopt -o nospace
    # Readline completes what stands after the last '='.
    [[ "$current" == *=* && "$COMP_WORDBREAKS" == *=* ]] && COMPREPLY=("${{COMPREPLY[@]#"${{current%=*}}="}}")
  fi
  COMPREPLY+=($(compgen -f -- "$current"))
}}
complete -o filenames -F _govtrain govtrain
)",
                     words_of(first_words()), groups, group_names.empty() ? "-" : group_names, cases("    "),
                     join(config_words(), " "));
}

std::string zsh_script() {
  std::string groups, group_names, described;
  for (const auto& [first, seconds] : first_words()) {
    if (seconds.empty()) continue;
    groups += fmt::format("      {}) compadd -- {}; return ;;\n", first, join(seconds, " "));
    group_names += (group_names.empty() ? "" : "|") + first;
  }
  return fmt::format(R"(#compdef govtrain
# zsh completion for govtrain: source <(govtrain completion zsh)
_govtrain() {{
  local verb options='' config=0
  if ((CURRENT == 2)); then compadd -- {0}; return; fi
  verb="${{words[2]}}"
  if ((CURRENT == 3)); then
    case "$verb" in
{1}      help) compadd -- {0}; return ;;
    esac
  fi
  case "$verb" in {2}) verb="$verb ${{words[3]}}" ;; esac
  case "$verb" in
{3}  esac
  if [[ "$PREFIX" == -* ]]; then compadd -- ${{=options}}; return; fi
  if ((config)); then compadd -S '' -- {4}; fi
  _files
}}
if [[ "${{funcstack[1]}}" == _govtrain ]]; then _govtrain "$@"; else compdef _govtrain govtrain; fi
)",
                     words_of(first_words()), groups, group_names.empty() ? "-" : group_names, cases("    "),
                     join(config_words(), " "));
}

std::string fish_quoted(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  return "'" + out + "'";
}

std::string fish_script() {
  std::string out = "# fish completion for govtrain: govtrain completion fish | source\n";
  const std::string firsts = words_of(first_words());
  const auto find_verb = [](const std::string& name) {
    return std::find_if(verbs().begin(), verbs().end(), [&](const Verb& v) { return v.name == name; });
  };
  for (const auto& [first, seconds] : first_words()) {
    const auto it = find_verb(first);
    out += fmt::format("complete -c govtrain -f -n __fish_use_subcommand -a {} -d {}\n", first,
                       fish_quoted(it == verbs().end() ? join(seconds, ", ") : it->summary));
    if (seconds.empty()) continue;
    for (const std::string& second : seconds) {
      const auto verb = find_verb(first + " " + second);
      out += fmt::format(
          "complete -c govtrain -f -n '__fish_seen_subcommand_from {}; and not __fish_seen_subcommand_from {}' -a {} "
          "-d {}\n",
          first, join(seconds, " "), second, fish_quoted(verb->summary));
    }
  }
  out += fmt::format("complete -c govtrain -f -n '__fish_seen_subcommand_from help' -a '{}'\n", firsts);
  const std::string keys = join(config_words(), " ");
  for (const Entry& e : entries()) {
    std::string condition;
    for (size_t at = 0; at <= e.verb->name.size();) {
      const size_t space = std::min(e.verb->name.find(' ', at), e.verb->name.size());
      condition +=
          (condition.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + e.verb->name.substr(at, space - at));
      at = space + 1;
    }
    for (const std::string& option : e.options)
      out += fmt::format("complete -c govtrain -n '{}' -l {}\n", condition, option.substr(2));
    if (e.takes_config) out += fmt::format("complete -c govtrain -n '{}' -a '{}'\n", condition, keys);
  }
  return out;
}

}  // namespace

Verb completion_verb() {
  return {"completion", "Print a completion script for bash, zsh or fish",
          "For example, in ~/.bashrc: source <(govtrain completion bash)", [](CLI::App& app) {
            auto shell = std::make_shared<std::string>();
            app.add_option("SHELL", *shell, "bash, zsh or fish")
                ->required()
                ->type_name("")
                ->check(CLI::IsMember({"bash", "zsh", "fish"}));
            return [shell] {
              fmt::print("{}", *shell == "bash" ? bash_script() : *shell == "zsh" ? zsh_script() : fish_script());
              return int{exit_ok};
            };
          }};
}

}  // namespace govtrain
