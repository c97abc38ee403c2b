#include "routing/adaptation_spec.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/config/scalar.h"
#include "core/number.h"

namespace govtrain {
namespace {

// Reads the scalars of one section. Reports what is wrong and leaves the default.
class Values {
 public:
  Values(const YamlNode& node, std::string what, Diagnostics& diagnostics)
      : what_(std::move(what)), diagnostics_(diagnostics), reader_(node, what_, diagnostics) {}

  MapReader& reader() { return reader_; }

  void number(const std::string& key, double low, double high, double& out) {
    const YamlNode* node = reader_.optional(key);
    if (node == nullptr) return;
    double value = 0;
    const auto problem = node->kind == YamlNode::Kind::scalar
                             ? parse_number({node->text, node->quoted}, "", value)
                             : std::optional<Problem>({"expected a number, found " + describe(*node), "", 0});
    if (problem) {
      fail(*node, key, problem->message, problem->hint);
    } else if (value < low || value > high) {
      fail(*node, key, fmt::format("expected {} to {}, found {}", low, high, node->text), "");
    } else {
      out = value;
    }
  }

  void count(const std::string& key, double low, int64_t& out) {
    double value = static_cast<double>(out);
    number(key, low, 1e6, value);
    if (value != std::floor(value)) {
      fail(*reader_.optional(key), key, fmt::format("expected a whole number, found {}", value), "");
      return;
    }
    out = static_cast<int64_t>(value);
  }

  // The index of the word, or `fallback`.
  size_t word(const std::string& key, const std::vector<std::string>& words, size_t fallback) {
    const YamlNode* node = reader_.optional(key);
    if (node == nullptr) return fallback;
    for (size_t i = 0; i < words.size(); ++i) {
      if (node->kind == YamlNode::Kind::scalar && node->text == words[i]) return i;
    }
    fail(*node, key, fmt::format("expected {}, found {}", join(words, " or "), describe(*node)),
         did_you_mean(node->text, words));
    return fallback;
  }

  // The map of profiles; `entry` reads one value.
  void profiles(const char* hint, const std::function<void(const YamlNode& key, const YamlNode& value)>& entry) {
    const YamlNode* node = reader_.required("profiles", hint);
    if (node == nullptr) return;
    if (node->kind != YamlNode::Kind::map || node->entries.empty()) {
      fail(*node, "profiles",
           fmt::format("expected a map of profiles, found {}",
                       node->kind == YamlNode::Kind::map ? "an empty one" : describe(*node)),
           hint);
      return;
    }
    for (const auto& [key, value] : node->entries) {
      if (key.text == "none") {
        fail(key, "profiles", "the profile 'none' never changes", "");
      } else {
        entry(key, value);
      }
    }
  }

  void fail(const YamlNode& node, const std::string& key, const std::string& message, const std::string& hint) {
    diagnostics_.error(node.at, fmt::format("{} of {}: {}", in_quotes(key), what_, message), hint);
  }

 private:
  std::string what_;
  Diagnostics& diagnostics_;
  MapReader reader_;
};

const std::vector<std::string> mode_words{"off", "frozen", "on"};
const std::vector<std::string> measure_words{"spread", "order"};

std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

const char* name(AdaptMode mode) { return mode_words[static_cast<size_t>(mode)].c_str(); }
const char* name(StratificationMeasure m) { return measure_words[static_cast<size_t>(m)].c_str(); }

AdaptationSpec read_adaptation(const YamlNode& node, const ProfileLookup& lookup, Diagnostics& diagnostics) {
  AdaptationSpec out;
  Values values(node, "'adaptation'", diagnostics);
  out.mode = static_cast<AdaptMode>(values.word("mode", mode_words, static_cast<size_t>(out.mode)));
  out.measure = static_cast<StratificationMeasure>(values.word("measure", measure_words, 0));
  values.number("begin", 0, 1, out.begin);
  values.number("full", 0, 1, out.full);
  if (out.begin >= out.full && values.reader().ok()) {
    diagnostics.error(node.at, fmt::format("'adaptation': begin {} is not below full {}", out.begin, out.full),
                      "the profiles narrow while the measure goes from begin to full");
  }
  values.number("rate", 1e-6, 1, out.rate);
  values.number("dead_band", 0, 1, out.dead_band);
  values.count("wait", 1, out.wait);
  const char* hint = "write 'profiles: {shallow: full}': the profile that adapts and the one that it starts from";
  values.profiles(hint, [&](const YamlNode& key, const YamlNode& value) {
    AdaptationSpec::Entry entry;
    entry.profile = lookup(key, "'adaptation'");
    entry.broad = lookup(value, fmt::format("'adaptation' of {}", in_quotes(key.text)));
    entry.at = key.at;
    out.profiles.push_back(entry);
  });
  values.reader().finish();
  return out;
}

ControllerSpec read_controller(const YamlNode& node, const ProfileLookup& lookup, Diagnostics& diagnostics) {
  ControllerSpec out;
  Values values(node, "'controller'", diagnostics);
  out.mode = static_cast<AdaptMode>(values.word("mode", mode_words, static_cast<size_t>(out.mode)));
  out.review = values.word("by", {"rule", "review"}, 0) == 1;
  const YamlNode* protect = values.reader().required("protect", "write 'protect: [\"own-*\"]': validation groups");
  if (protect != nullptr) {
    const bool list = protect->kind == YamlNode::Kind::list;
    for (const YamlNode& item : list ? protect->items : std::vector<YamlNode>{*protect}) {
      if (item.kind == YamlNode::Kind::scalar && !item.text.empty()) {
        out.protect.push_back(item.text);
      } else {
        values.fail(item, "protect", "expected the name of a group, found " + describe(item), "");
      }
    }
    if (list && protect->items.empty()) values.fail(*protect, "protect", "expected a group, found an empty list", "");
  }
  values.number("tolerance", 0, 1, out.tolerance);
  values.count("window", 3, out.window);
  values.number("correlation", 0, 1, out.correlation);
  values.number("rate", 1e-6, 0.9, out.rate);
  const char* hint = "write 'profiles: {copyleft: {floor: low}}': the profile that may change and its bounds";
  values.profiles(hint, [&](const YamlNode& key, const YamlNode& value) {
    ControllerSpec::Entry entry;
    const std::string what = fmt::format("'controller' of {}", in_quotes(key.text));
    entry.profile = entry.ceiling = lookup(key, "'controller'");
    entry.at = key.at;
    MapReader bounds(value, what, diagnostics);
    if (const YamlNode* floor = bounds.required("floor", "a profile, for example none")) {
      entry.floor = lookup(*floor, what);
    }
    if (const YamlNode* ceiling = bounds.optional("ceiling")) entry.ceiling = lookup(*ceiling, what);
    bounds.finish();
    out.profiles.push_back(entry);
  });
  values.reader().finish();
  return out;
}

std::string to_flow(const AdaptationSpec& spec, const ProfileName& profile) {
  std::vector<std::string> entries;
  for (const auto& e : spec.profiles) entries.push_back(quoted(profile(e.profile)) + ": " + quoted(profile(e.broad)));
  return fmt::format(
      "{{\"mode\": \"{}\", \"measure\": \"{}\", \"begin\": {}, \"full\": {}, \"rate\": {}, \"dead_band\": {}, "
      "\"wait\": {}, \"profiles\": {{{}}}}}",
      name(spec.mode), name(spec.measure), number_text(spec.begin), number_text(spec.full), number_text(spec.rate),
      number_text(spec.dead_band), spec.wait, join(entries));
}

std::string to_flow(const ControllerSpec& spec, const ProfileName& profile) {
  std::vector<std::string> entries, protect;
  for (const auto& e : spec.profiles) {
    entries.push_back(fmt::format("{}: {{\"floor\": {}, \"ceiling\": {}}}", quoted(profile(e.profile)),
                                  quoted(profile(e.floor)), quoted(profile(e.ceiling))));
  }
  for (const std::string& p : spec.protect) protect.push_back(quoted(p));
  return fmt::format(
      "{{\"mode\": \"{}\", \"by\": \"{}\", \"protect\": [{}], \"tolerance\": {}, \"window\": {}, \"correlation\": {}, "
      "\"rate\": {}, \"profiles\": {{{}}}}}",
      name(spec.mode), spec.review ? "review" : "rule", join(protect), number_text(spec.tolerance), spec.window,
      number_text(spec.correlation), number_text(spec.rate), join(entries));
}

void check_sections(const std::optional<AdaptationSpec>& adaptation, const std::optional<ControllerSpec>& controller,
                    const ProfileName& profile, Diagnostics& diagnostics) {
  if (!adaptation || !controller) return;
  for (const auto& c : controller->profiles) {
    for (const auto& a : adaptation->profiles) {
      if (a.profile != c.profile || c.profile == 0) continue;
      diagnostics.error(
          c.at, fmt::format("the profile {} is under 'adaptation' and 'controller'", in_quotes(profile(c.profile))),
          "one of them may change it");
    }
  }
}

namespace {

// The first block in which |low| <= |high| with one sign does not hold.
std::optional<size_t> out_of_order(const std::vector<float>& low, const std::vector<float>& high) {
  for (size_t b = 0; b < low.size() && b < high.size(); ++b) {
    if (low[b] * high[b] < 0 || std::abs(low[b]) > std::abs(high[b])) return b;
  }
  return std::nullopt;
}

}  // namespace

void check_bounds(const AdaptationSpec& spec, const std::vector<std::string>& blocks, const ProfileName& profile,
                  const ProfileWeights& weights, Diagnostics& diagnostics) {
  for (const auto& e : spec.profiles) {
    if (const auto b = out_of_order(weights(e.profile), weights(e.broad))) {
      diagnostics.error(e.at,
                        fmt::format("adaptation of {} from {}: the broad end gives {} the weight {}, the narrow "
                                    "end {}",
                                    in_quotes(profile(e.profile)), in_quotes(profile(e.broad)), blocks[*b],
                                    weights(e.broad)[*b], weights(e.profile)[*b]),
                        "the broad end must admit at least as much in every block");
    }
  }
}

void check_bounds(const ControllerSpec& spec, const std::vector<std::string>& blocks, const ProfileName& profile,
                  const ProfileWeights& weights, Diagnostics& diagnostics) {
  for (const auto& e : spec.profiles) {
    const auto check = [&](int low, int high, const char* bound) {
      if (const auto b = out_of_order(weights(low), weights(high))) {
        diagnostics.error(
            e.at,
            fmt::format("controller of {}: its {} {} does not bound it in {}", in_quotes(profile(e.profile)), bound,
                        in_quotes(profile(bound == std::string("floor") ? low : high)), blocks[*b]),
            "a floor must be at most the profile's own weight, a ceiling at least, block by block");
      }
    };
    check(e.floor, e.profile, "floor");
    check(e.profile, e.ceiling, "ceiling");
  }
}

}  // namespace govtrain
