#include "routing/classification.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/number.h"
#include "routing/exclusion.h"
#include "routing/glob.h"
#include "routing/resolve.h"

namespace govtrain {
namespace {

std::string text_of(const Meta& meta, const std::string& key) {
  const auto found = meta.find(key);
  return found == meta.end() ? "" : found->second;
}

// Lines that match, and lines that are not blank.
std::pair<int64_t, int64_t> count_lines(const std::vector<std::string>& patterns, std::string_view text) {
  int64_t matching = 0, lines = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ++lines;
    matching += std::any_of(patterns.begin(), patterns.end(), [&](const auto& p) { return glob_match(p, line); });
  }
  return {matching, lines};
}

bool holds(const ClassRule& rule, const Meta& meta, const std::string& digest, std::string_view text) {
  if (rule.when) {
    const DocumentFacts facts{digest, digest, {meta}};
    const std::vector<MetaView> views = views_of(facts);
    if (std::none_of(views.begin(), views.end(), [&](const MetaView& v) { return matches(*rule.when, v); }))
      return false;
  }
  if (rule.line.empty()) return true;
  const auto [matching, lines] = count_lines(rule.line, text);
  if (rule.percent) return matching > 0 && 100 * matching >= *rule.percent * lines;
  return matching >= rule.lines.value_or(1);
}

// A class with a score, against the source's threshold.
Finding scored(const ClassSource& source, const std::string& cls, float score, const std::string& more) {
  Finding out{source.name, fmt::format("class {}, score {}{}", cls, number_text(score), more), {}};
  if (static_cast<double>(score) >= source.threshold) {
    out.claim = Claim{source.name, cls, score};
    return out;
  }
  out.text += fmt::format(", below the threshold of {}", source.threshold);
  if (!source.unsure.empty()) out.claim = Claim{source.name, source.unsure, score};
  return out;
}

std::string runners_up(const LinearClassifier& model, const std::vector<float>& p, size_t best) {
  std::vector<size_t> order;
  for (size_t c = 0; c < p.size(); ++c) {
    if (c != best) order.push_back(c);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return p[a] > p[b]; });
  std::vector<std::string> parts;
  for (size_t i = 0; i < std::min<size_t>(2, order.size()); ++i)
    parts.push_back(fmt::format("{} {}", model.classes[order[i]], number_text(p[order[i]])));
  return " (then " + join(parts) + ")";
}

void find(const ClassSource& source, const Meta& meta, const std::string& digest, std::string_view text, bool all,
          std::vector<Finding>& out) {
  const auto nothing = [&](const std::string& why) {
    if (all) out.push_back({source.name, why, {}});
  };
  switch (source.kind) {
    case ClassSource::Kind::metadata: {
      const std::string cls = text_of(meta, source.key);
      if (cls.empty()) return nothing(fmt::format("the record has no {}", in_quotes(source.key)));
      out.push_back({source.name, "class " + cls, Claim{source.name, cls, 1}});
      return;
    }
    case ClassSource::Kind::labels: {
      const std::vector<const ClassLabel*> labels = Classification::labels_of(source, meta, digest);
      for (const ClassLabel* label : labels)
        out.push_back(scored(source, label->cls, label->score, fmt::format(", line {}", label->line)));
      if (labels.empty()) nothing("no label");
      return;
    }
    case ClassSource::Kind::provenance:
    case ClassSource::Kind::rules: {
      const size_t before = out.size();
      for (const ClassRule& rule : source.rules) {
        const std::string by = source.name + "/" + rule.name;
        if (holds(rule, meta, digest, text)) out.push_back({by, "class " + rule.cls, Claim{by, rule.cls, 1}});
      }
      if (out.size() == before) nothing("no rule matches");
      return;
    }
    case ClassSource::Kind::model: {
      const std::vector<float> p = source.model.probabilities(text);
      const size_t best = largest(p);
      out.push_back(scored(source, source.model.classes[best], p[best], all ? runners_up(source.model, p, best) : ""));
      return;
    }
  }
}

}  // namespace

std::vector<const ClassLabel*> Classification::labels_of(const ClassSource& source, const Meta& meta,
                                                         const std::string& digest) {
  std::vector<const ClassLabel*> out;
  for (const std::string& key : {"sha256:" + digest, "id:" + text_of(meta, "id")}) {
    if (const auto found = source.labels.find(key); found != source.labels.end()) out.push_back(&found->second);
  }
  return out;
}

std::vector<Finding> Classification::findings(const Meta& meta, const std::string& digest,
                                              std::string_view text) const {
  std::vector<Finding> out;
  for (const ClassSource& source : sources) find(source, meta, digest, text, true, out);
  return out;
}

std::vector<Claim> Classification::claims(const Meta& meta, const std::string& digest, std::string_view text) const {
  std::vector<Finding> found;
  for (const ClassSource& source : sources) find(source, meta, digest, text, false, found);
  std::vector<Claim> out;
  for (Finding& finding : found) {
    if (finding.claim) out.push_back(std::move(*finding.claim));
  }
  return out;
}

bool Classification::listed(const std::string& cls) const {
  return std::binary_search(classes.begin(), classes.end(), cls);
}

std::vector<std::string> claimed_classes(const std::vector<Claim>& claims) {
  std::vector<std::string> out;
  for (const Claim& claim : claims) out.push_back(claim.cls);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

std::vector<Meta> with_classes(const Meta& meta, const std::vector<Claim>& claims) {
  std::vector<Meta> out;
  Meta copy = meta;
  copy.erase("class");
  for (const std::string& cls : claimed_classes(claims)) {
    copy["class"] = cls;
    out.push_back(copy);
  }
  if (out.empty()) out.push_back(std::move(copy));
  return out;
}

}  // namespace govtrain
