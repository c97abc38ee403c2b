// Rows: classifications, label files, classifiers, and the verbs that show and train them.
#include <filesystem>

#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

const std::string with = " policy.classification=classes.yaml";
const std::string prepare = "govtrain data prepare config.yaml run.out=new" + with;
const std::string validate = "govtrain validate config.yaml run.out=new" + with;
const std::string check = "govtrain policy check config.yaml run.out=new" + with;
const std::string train = "govtrain classify train config.yaml run.out=new" + with + " --out text.safetensors";

const std::string head = "classification: c\nversion: 1\nclasses: [a, b]\nsources:\n";
const std::string by_text = "  - rules: [{line: \"Document ?. *\", class: a}, {line: \"* 3 foxes *\", class: b}]\n";

std::function<void(const Damage&)> sources(const std::string& text) {
  return [=](const Damage& d) { d.write("classes.yaml", head + text); };
}

std::function<void(const Damage&)> labels(const std::string& text) {
  return [=](const Damage& d) {
    sources("  - labels: labels.jsonl\n")(d);
    d.write("labels.jsonl", "{\"id\": \"d0\", \"class\": \"a\"}\n" + text);
  };
}

std::function<void(const Damage&)> model(const std::string& file) {
  return [=](const Damage& d) {
    sources("  - model: text.safetensors\n")(d);
    d.copy(file, "text.safetensors");
  };
}

// The shipped classifier, which knows book, letter, manual, ...
void classifier(const Damage& d) {
  std::filesystem::copy_file(GOVTRAIN_SOURCE_DIR "/configs/classes/text.safetensors", d.path("text.safetensors"));
}

}  // namespace

BadInputs bad_classes() {
  return {
      "Classifications",
      "`classes.yaml`, which `policy.classification` names, its label file `labels.jsonl`, and its classifier "
      "`text.safetensors`.",
      {
          {"classes-missing", "a file that is not there", [](const Damage&) {}, prepare, 2,
           "classes.yaml: error: cannot read classes.yaml: No such file or directory"},
          {"validate-classes-missing", "the same, asked of `validate`", [](const Damage&) {}, validate, 2,
           "command line, argument 2: error: policy.classification: 'classes.yaml' does not exist"},
          {"check-classes-missing", "the same, asked of `policy check`", [](const Damage&) {}, check, 2,
           "command line, argument 2: error: policy.classification: 'classes.yaml' does not exist"},
          {"classes-no-policy", "no policy that could use it", sources(by_text),
           prepare + " policy.file= train.routing=false", 2,
           "command line, argument 2: error: policy.classification is given, but policy.file is not"},
          {"classes-policy", "a policy in its place", [](const Damage& d) { d.copy("policy.yaml", "classes.yaml"); },
           validate, 2, "classes.yaml:1:1: error: this is a policy; expected a classification"},
          {"classes-no-classes", "no list of classes",
           [](const Damage& d) {
             d.write("classes.yaml", "classification: c\nversion: 1\nsources: [{metadata: k}]\n");
           },
           prepare, 2, "classes.yaml:1:1: error: the classification needs the key 'classes'"},
          {"classes-kind", "a source of an unknown kind", sources("  - guess: class\n"), prepare, 2,
           "classes.yaml:5:5: error: source 1 must have one of metadata, labels, provenance, rules, model"},
          {"classes-unlisted", "a rule for a class that is not listed", sources("  - rules: [{line: x, class: c}]\n"),
           prepare, 2, "classes.yaml:5:30: error: source 1, rule 1: the class 'c' is not listed"},
          {"classes-nothing", "a rule that matches nothing", sources("  - rules: [{class: a}]\n"), prepare, 2,
           "classes.yaml:5:13: error: source 1, rule 1 matches nothing"},
          {"classes-threshold", "a threshold above 1", sources("  - {threshold: 2, model: m}\n"), prepare, 2,
           "classes.yaml:5:17: error: source 1: 'threshold' must be a number from 0 to 1, found '2'"},
          {"validate-classes-threshold", "a threshold of 7, found before anything is prepared",
           sources("  - {threshold: 7, model: m}\n"), validate, 2,
           "classes.yaml:5:17: error: source 1: 'threshold' must be a number from 0 to 1, found '7'"},
          {"check-classes-threshold", "a threshold of 7, found with the policy",
           sources("  - {threshold: 7, model: m}\n"), check, 2,
           "classes.yaml:5:17: error: source 1: 'threshold' must be a number from 0 to 1, found '7'"},
          {"validate-classes-unsure", "a class for what is unsure that is not listed",
           sources("  - {threshold: 0.7, unsure: c, labels: labels.jsonl}\n"), validate, 2,
           "classes.yaml:5:30: error: source 1: the class 'c' is not listed"},
          {"run-classes-threshold", "a threshold of 7, in a run", sources("  - {threshold: 7, model: m}\n"),
           "govtrain run config.yaml run.out=new" + with, 2,
           "classes.yaml:5:17: error: source 1: 'threshold' must be a number from 0 to 1, found '7'"},
          {"classes-metadata", "metadata of a class that is not listed", sources("  - metadata: license\n"), prepare, 3,
           "govtrain: error: [classification] the corpus has classes that c@0e74caa7 does not list: 'GPL-2', 'MIT', "
           "'NONE'; "
           "expected one of a, b"},
          {"labels-missing", "a label file that is not there", sources("  - labels: labels.jsonl\n"), prepare, 2,
           "classes.yaml:5:13: error: source 1: open labels.jsonl: No such file or directory"},
          {"validate-labels-missing", "the same, asked of `validate`", sources("  - labels: labels.jsonl\n"), validate,
           2, "classes.yaml:5:13: error: source 1: open labels.jsonl: No such file or directory"},
          {"labels-format", "a label file of another kind", sources("  - labels: policy.yaml\n"), prepare, 2,
           "policy.yaml: error: a label file ends in .jsonl or .csv"},
          {"labels-line", "a line that is not JSON", labels("nonsense\n"), prepare, 2,
           "labels.jsonl:2:1: error: the line is not a JSON object"},
          {"validate-labels-line", "the same, asked of `validate`", labels("nonsense\n"), validate, 2,
           "labels.jsonl:2:1: error: the line is not a JSON object"},
          {"labels-class", "a label of an unknown class", labels("{\"id\": \"d1\", \"class\": \"c\"}\n"), prepare, 2,
           "labels.jsonl:2:1: error: unknown class 'c'"},
          {"labels-disagree", "two labels that disagree", labels("{\"id\": \"d0\", \"class\": \"b\"}\n"), prepare, 2,
           "labels.jsonl:2:1: error: id:d0 is of class b here, and of class a in line 1"},
          {"labels-score", "a score above 1", labels("{\"id\": \"d1\", \"class\": \"a\", \"score\": 97}\n"), prepare, 2,
           "labels.jsonl:2:1: error: '97' is no score"},
          {"labels-digest", "a digest that is none", labels("{\"document\": \"d1\", \"class\": \"a\"}\n"), prepare, 2,
           "labels.jsonl:2:1: error: 'd1' is not a SHA-256 digest"},
          {"labels-pinned", "another label file than the one that was meant",
           [](const Damage& d) {
             labels("")(d);
             sources("  - {labels: labels.jsonl, sha256: " + std::string(64, '0') + "}\n")(d);
           },
           prepare, 2, "classes.yaml:5:36: error: source 1: labels.jsonl has the SHA-256 <digest>"},
          {"classifier-other", "weights of a language model as classifier",
           model("run/ckpt/step-000003/model.safetensors"), prepare, 2,
           "classes.yaml:5:12: error: text.safetensors: not a classifier; expected a file that 'govtrain classify "
           "train' "
           "made"},
          {"validate-classifier-other", "the same, asked of `validate`",
           model("run/ckpt/step-000003/model.safetensors"), validate, 2,
           "classes.yaml:5:12: error: text.safetensors: not a classifier; expected a file that 'govtrain classify "
           "train' "
           "made"},
          {"classifier-text", "a text as classifier", model("corpus.jsonl"), prepare, 2,
           "classes.yaml:5:12: error: text.safetensors: not a valid safetensors file: the header claims "
           "4189038663854989947 bytes, expected at most 100000000"},
          {"classifier-changed", "one bit of a classifier flipped",
           [](const Damage& d) {
             classifier(d);
             d.flip("text.safetensors", 5000);
             sources("  - model: text.safetensors\n")(d);
           },
           prepare, 2,
           "classes.yaml:5:12: error: text.safetensors: header and weights do not have the SHA-256 that the file "
           "names: "
           "it was changed; train it again"},
          {"classifier-classes", "a classifier of classes that are not listed",
           [](const Damage& d) {
             classifier(d);
             sources("  - model: text.safetensors\n")(d);
           },
           prepare, 2,
           "classes.yaml:5:12: error: source 1: text.safetensors knows the class 'book', which is not listed"},
          {"classes-resume", "a run that would go on under another classification", sources(by_text),
           "govtrain run config.yaml run.resume=auto train.steps=4" + with, 2,
           "govtrain: error: run/ckpt/step-000003 was made with no classification, found c@4f10b27c; resume with the "
           "same "
           "classification and the same files, or start another run",
           true},
          {"classify-train-exists", "a file that would be overwritten",
           [](const Damage& d) { sources(by_text)(d), d.write("text.safetensors", ""); }, train, 2,
           "govtrain: error: text.safetensors exists; name another file"},
          {"classify-train-none", "nothing that says which class a document has", [](const Damage&) {},
           "govtrain classify train config.yaml run.out=new --out text.safetensors", 2,
           "govtrain: error: policy.classification is empty: nothing says which class a document has"},
          {"classify-train-one", "documents of one class only", sources("  - rules: [{when: always, class: a}]\n"),
           train, 3,
           "govtrain: error: 5 documents of 1 classes are left to train on; expected two classes or more ('govtrain "
           "classify show' tells what each source claims)"},
          {"classify-train-ngrams", "n-grams that end before they begin", sources(by_text),
           train + " --shortest 4 --longest 2", 2, "govtrain: error: --shortest 4 is greater than --longest 2"},
          {"classify-explain", "a digest that no document has", sources(by_text),
           "govtrain classify explain config.yaml run.out=new" + with + " --document ffff0000", 2,
           "govtrain: error: no record's digest begins with 'ffff0000'"},
          {"classify-show-none", "nothing to show", [](const Damage&) {},
           "govtrain classify show config.yaml run.out=new", 2,
           "govtrain: error: policy.classification is empty: there is nothing to show"},
      }};
}

}  // namespace govtrain_test
