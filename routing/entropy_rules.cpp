#include "routing/entropy_rules.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "core/config/scalar.h"

namespace govtrain {
namespace {

using nlohmann::json;

class EntropyReader {
 public:
  EntropyReader(const ProfileLookup& profile_index, Diagnostics& diagnostics)
      : profile_index_(profile_index), diagnostics_(diagnostics) {}

  std::optional<EntropyRules> read(const YamlNode& node) {
    const int errors = diagnostics_.errors();
    EntropyRules out;
    out.at = node.at;
    MapReader top(node, "'entropy'", diagnostics_);
    if (!top.ok()) return {};
    if (const YamlNode* reference = top.optional("reference")) source(*reference, out);
    const YamlNode* slopes = top.optional("slope");
    if (slopes != nullptr) slope(*slopes, out.slope.emplace());
    const YamlNode* table = top.required("profiles", "one profile for each band, from low to high surprisal");
    const int rows =
        table == nullptr || table->kind != YamlNode::Kind::list ? 0 : static_cast<int>(table->items.size());
    banding(top, "'entropy'", node.at, rows, slopes == nullptr ? 2 : 1, out.banding);
    top.finish();
    if (table != nullptr) profiles(*table, out);
    if (diagnostics_.errors() > errors) return {};
    return out;
  }

 private:
  void source(const YamlNode& node, EntropyRules& out) {
    if (node.kind == YamlNode::Kind::scalar && (node.text == "model" || node.text == "frozen")) {
      out.source = node.text == "model" ? SurprisalSource::model : SurprisalSource::frozen;
      return;
    }
    const YamlNode* decay = node.kind == YamlNode::Kind::map && node.entries.size() == 1 ? node.find("ema") : nullptr;
    if (decay == nullptr) {
      diagnostics_.error(node.at, fmt::format("'reference' of 'entropy' is {}", describe(node)),
                         "expected model, frozen, or {ema: 0.999}");
      return;
    }
    out.source = SurprisalSource::average;
    out.decay = number(*decay, "'ema'", 0, 1, "more than 0 and less than 1, for example 0.999");
  }

  // In (low, high); reports otherwise and gives 0.
  double number(const YamlNode& node, const std::string& what, double low, double high, const std::string& hint) {
    double value = 0;
    if (node.kind != YamlNode::Kind::scalar) {
      diagnostics_.error(node.at, fmt::format("{} of 'entropy' must be a number, found {}", what, describe(node)),
                         hint);
    } else if (const auto problem = parse_number({node.text, node.quoted}, "", value)) {
      diagnostics_.error(node.at, fmt::format("{} of 'entropy': {}", what, problem->message), problem->hint);
    } else if (!(value > low && value < high)) {
      diagnostics_.error(node.at, fmt::format("{} of 'entropy' is {}", what, node.text), "expected " + hint);
    }
    return value;
  }

  void whole(MapReader& reader, const char* key, int64_t low, int64_t& out) {
    const YamlNode* node = reader.optional(key);
    if (node == nullptr) return;
    const std::string hint = fmt::format("expected a whole number from {} on", low);
    if (node->kind != YamlNode::Kind::scalar) {
      diagnostics_.error(node->at, fmt::format("'{}' of 'entropy' must be a number, found {}", key, describe(*node)),
                         hint);
    } else if (const auto problem = parse_integer({node->text, node->quoted}, "", out)) {
      diagnostics_.error(node->at, fmt::format("'{}' of 'entropy': {}", key, problem->message), problem->hint);
    } else if (out < low) {
      diagnostics_.error(node->at, fmt::format("'{}' of 'entropy' is {}", key, node->text), hint);
    }
  }

  void list(const YamlNode& node, const std::string& what, double low, double high, const std::string& hint,
            std::vector<double>& out) {
    if (node.kind != YamlNode::Kind::list || node.items.empty()) {
      diagnostics_.error(node.at, fmt::format("{} of 'entropy' must be a list of numbers, found {}", what,
                                              node.kind == YamlNode::Kind::list ? "an empty one" : describe(node)));
      return;
    }
    for (const YamlNode& item : node.items) {
      const double value = number(item, what, low, high, hint);
      if (!out.empty() && !(value > out.back())) {
        diagnostics_.error(item.at,
                           fmt::format("{} of 'entropy' must ascend, found {} after {}", what, item.text, out.back()),
                           "each band begins where the one below ends");
      }
      out.push_back(value);
    }
  }

  // `rows` is the number of profiles, 0: not known. Equal shares when nothing is said.
  void banding(MapReader& reader, const std::string& what, const Position& at, int rows, int least, Banding& out) {
    const YamlNode* edges = reader.optional("edges");
    const YamlNode* quantiles = reader.optional("quantiles");
    if (edges != nullptr && quantiles != nullptr) {
      diagnostics_.error(edges->at, fmt::format("{} has both 'edges' and 'quantiles'", what), "remove one");
    }
    if (edges != nullptr) {
      list(*edges, "'edges'", -HUGE_VAL, HUGE_VAL, "a finite number", out.edges);
    } else if (quantiles != nullptr) {
      list(*quantiles, "'quantiles'", 0, 1, "more than 0 and less than 1", out.quantiles);
    } else {
      for (int k = 1; k < rows; ++k) out.quantiles.push_back(static_cast<double>(k) / rows);
    }
    const bool measured = edges == nullptr && (quantiles != nullptr || rows > 1);
    for (const char* key : {"error", "warmup", "update_every", "window"}) {
      const YamlNode* node = reader.optional(key);
      if (node != nullptr && !measured) {
        diagnostics_.error(node->at, fmt::format("{}: '{}' belongs to 'quantiles'", what, key),
                           "edges that are given do not move");
      }
    }
    if (const YamlNode* node = reader.optional("error"); node != nullptr && measured) {
      out.error = number(*node, "'error'", 0, 0.25, "more than 0 and less than 0.25, for example 0.01");
    }
    if (measured) {
      whole(reader, "warmup", 1, out.warmup);
      whole(reader, "update_every", 1, out.update_every);
      whole(reader, "window", 0, out.window);
    }
    const bool stated = edges != nullptr || quantiles != nullptr;
    const int bands = stated ? out.bands() : rows;
    if (!stated && rows == 0) {  // without profiles, which is said elsewhere, or slope bands, which no profile counts
      if (what != "'entropy'") {
        diagnostics_.error(at, what + " needs 'edges' or 'quantiles'",
                           "for example 'edges: [-0.01, 0]', in nats per step");
      }
    } else if (bands < least) {
      diagnostics_.error(at, fmt::format("{} needs at least {} bands, found {}", what, least, bands),
                         "list a profile for each band, from low to high");
    }
  }

  void slope(const YamlNode& node, SlopeRules& out) {
    MapReader reader(node, "'slope' of 'entropy'", diagnostics_);
    if (!reader.ok()) return;
    if (const auto by = reader.optional_text("by")) out.by = *by;
    if (const YamlNode* over = reader.optional("over")) {
      out.over_epochs = over->text == "epochs";
      if (over->kind != YamlNode::Kind::scalar || (over->text != "epochs" && over->text != "steps")) {
        diagnostics_.error(over->at, fmt::format("'over' of 'slope' is {}", describe(*over)),
                           "expected steps or epochs");
      }
    }
    whole(reader, "min_points", 2, out.min_points);
    whole(reader, "max_keys", 1, out.max_keys);
    banding(reader, "'slope' of 'entropy'", node.at, 0, 2, out.banding);
    reader.finish();
  }

  void profiles(const YamlNode& node, EntropyRules& out) {
    if (node.kind != YamlNode::Kind::list) {
      diagnostics_.error(node.at, fmt::format("'profiles' of 'entropy' must be a list, found {}", describe(node)),
                         "one profile for each band, from low to high surprisal");
      return;
    }
    const int columns = out.columns();
    if (static_cast<int>(node.items.size()) != out.banding.bands()) {
      diagnostics_.error(
          node.at, fmt::format("'profiles' of 'entropy' has {} for {} bands", node.items.size(), out.banding.bands()),
          "one profile for each band, from low to high surprisal");
    }
    for (size_t band = 0; band < node.items.size(); ++band) {
      const YamlNode& row = node.items[band];
      const std::string what = fmt::format("entropy band {}", band);
      std::vector<int>& cells = out.profiles.emplace_back();
      if (row.kind != YamlNode::Kind::list) {
        cells.assign(static_cast<size_t>(columns), profile_index_(row, what));
        continue;
      }
      if (static_cast<int>(row.items.size()) != columns) {
        diagnostics_.error(row.at,
                           fmt::format("{} has {} profiles for {} slope bands", what, row.items.size(), columns),
                           out.slope ? "one for each, from low to high slope" : "a list needs the key 'slope'");
      }
      for (const YamlNode& cell : row.items) cells.push_back(profile_index_(cell, what));
    }
  }

  const ProfileLookup& profile_index_;
  Diagnostics& diagnostics_;
};

void add(json& out, const Banding& b) {
  if (b.bands() == 1) return;
  if (b.fixed()) {
    out["edges"] = b.edges;
    return;
  }
  out["quantiles"] = b.quantiles;
  out["error"] = b.error;
  out["warmup"] = b.warmup;
  out["update_every"] = b.update_every;
  out["window"] = b.window;
}

}  // namespace

int EntropyRules::profile(int cell) const {
  return profiles.at(static_cast<size_t>(cell / columns())).at(static_cast<size_t>(cell % columns()));
}

std::string EntropyRules::cell_name(int cell) const {
  const std::string band = fmt::format("entropy band {}", cell / columns());
  return slope ? fmt::format("{} slope {}", band, cell % columns()) : band;
}

std::string EntropyRules::canonical(const std::vector<std::string>& names) const {
  json out = json::object();
  out["reference"] = source == SurprisalSource::model    ? json("model")
                     : source == SurprisalSource::frozen ? json("frozen")
                                                         : json{{"ema", decay}};
  add(out, banding);
  if (slope) {
    json s = {{"by", slope->by},
              {"over", slope->over_epochs ? "epochs" : "steps"},
              {"min_points", slope->min_points},
              {"max_keys", slope->max_keys}};
    add(s, slope->banding);
    out["slope"] = s;
  }
  out["profiles"] = json::array();
  for (const std::vector<int>& row : profiles) {
    json cells = json::array();
    for (const int p : row) cells.push_back(names.at(static_cast<size_t>(p)));
    out["profiles"].push_back(slope ? cells : cells.at(0));
  }
  return out.dump();
}

std::optional<EntropyRules> read_entropy(const YamlNode& node, const ProfileLookup& profile_index,
                                         Diagnostics& diagnostics) {
  return EntropyReader(profile_index, diagnostics).read(node);
}

}  // namespace govtrain
