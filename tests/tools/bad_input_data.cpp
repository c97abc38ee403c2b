// Rows: input documents, and the prepared data in the cache.
#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

std::function<void(const Damage&)> line(const std::string& text) {
  return [=](const Damage& d) { d.last_line(text); };
}

std::function<void(const Damage&)> whole(const std::string& text) {
  return [=](const Damage& d) { d.write("corpus.jsonl", text); };
}

// A change of one file of the prepared data, as it lies on the disk.
std::function<void(const Damage&)> raw(const std::string& name,
                                       const std::function<void(const Damage&, std::string)>& change) {
  return [=](const Damage& d) { change(d, d.data(name)); };
}

// The same, and then the manifest is made to agree with it: the checksums do not catch it.
std::function<void(const Damage&)> sealed(const std::string& name,
                                          const std::function<void(const Damage&, std::string)>& change) {
  return [=](const Damage& d) {
    change(d, d.data(name));
    d.seal_data();
  };
}

std::string number(uint64_t value, size_t bytes) {
  std::string out;
  for (size_t i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 255);
  return out;
}

const std::string prepare = "govtrain data prepare config.yaml";
const std::string meta = "\"meta\": {\"license\": \"MIT\"}";

}  // namespace

BadInputs bad_documents() {
  const auto gzip = [](const Damage& d) {
    d.write("corpus.jsonl.gz", std::string("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b", 11));
  };
  const auto zstd = [](const Damage& d) { d.write("corpus.jsonl.zst", std::string("\x28\xb5\x2f\xfd\x24\x05", 6)); };
  return {
      "Documents",
      "All inputs are read before anything is written; up to 20 problems are reported at once.",
      {
          {"jsonl-empty", "an empty file", whole(""), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl: the file is empty"},
          {"jsonl-not-json", "a line that is not JSON", line("hello\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9:1: not valid JSON: "
           "syntax error while parsing value - invalid literal"},
          {"jsonl-cut", "a last line that is cut off",
           [](const Damage& d) { d.cut("corpus.jsonl", d.read("corpus.jsonl").size() - 30); }, prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:8:86: not valid JSON: "
           "syntax error while parsing object key - invalid string: missing closing quote"},
          {"jsonl-blank", "a blank line", line("\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: the line is empty"},
          {"jsonl-array", "a list instead of an object", line("[1, 2]\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: a JSON array; "
           "expected an object with \"text\" and \"meta\""},
          {"jsonl-no-text", "no text", line("{" + meta + "}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: \"text\" is "
           "missing"},
          {"jsonl-text-type", "a number as text", line("{\"text\": 7, " + meta + "}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: \"text\" is a "
           "number; expected a string"},
          {"jsonl-text-empty", "a text of blanks", line("{\"text\": \"  \\n\", " + meta + "}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: \"text\" is empty"},
          {"jsonl-meta-type", "a text as metadata", line("{\"text\": \"a\", \"meta\": \"MIT\"}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: \"meta\" is a "
           "string; expected an object"},
          {"jsonl-unknown", "an unknown key", line("{\"text\": \"a\", \"license\": \"MIT\"}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: unknown key "
           "'license'; expected \"text\" and \"meta\"; other facts about the document belong into \"meta\""},
          {"jsonl-duplicate", "a key given twice", line("{\"text\": \"a\", \"text\": \"b\"}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: the key 'text' "
           "occurs twice in one object"},
          {"jsonl-utf8", "bytes that are not UTF-8", line("{\"text\": \"caf\xe9\"}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9:14: not valid "
           "UTF-8"},
          {"jsonl-surrogate", "half a surrogate pair", line("{\"text\": \"\\ud800\"}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9:17: not valid JSON: "
           "syntax error while parsing value - invalid string: surrogate U+D800..U+DBFF must be followed by "
           "U+DC00..U+DFFF"},
          {"jsonl-nul", "a NUL character", line("{\"text\": \"a\\u0000b\"}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: \"text\" contains "
           "a NUL character at byte 1"},
          {"jsonl-overflow", "a number beyond the range of doubles",
           line("{\"text\": \"a\", \"meta\": {\"year\": 1e999}}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: not valid JSON: "
           "[json.exception.out_of_range.406] number overflow parsing '1e999'"},
          {"jsonl-nan", "NaN", line("{\"text\": \"a\", \"meta\": {\"year\": NaN}}\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9:32: not valid JSON: "
           "syntax error while parsing value - invalid literal"},
          {"jsonl-deep", "10000 brackets deep",
           line("{\"text\": \"a\", \"meta\": {\"x\": " + std::string(10000, '[') + "\n"), prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl:9: nested deeper than "
           "32 levels"},
          {"jsonl-gzip", "a gzip file that is cut off", gzip, prepare + " 'data.inputs=[corpus.jsonl.gz]'", 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl.gz:1: the gzip data "
           "ends too early: the file is truncated"},
          {"jsonl-zstd", "a zstd file that is cut off", zstd, prepare + " 'data.inputs=[corpus.jsonl.zst]'", 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl.zst:1: the zstd data "
           "ends too early: the file is truncated"},
          {"jsonl-binary", "weights in place of documents",
           [](const Damage& d) { d.copy("run/ckpt/step-000003/model.safetensors", "corpus.jsonl"); }, prepare, 3,
           "govtrain: error: [data] 20 problems in the inputs; nothing was written\n  corpus.jsonl:1:1: not valid "
           "UTF-8"},
          {"jsonl-folder", "an empty folder in place of documents",
           [](const Damage& d) { d.remove("corpus.jsonl"), d.write("corpus.jsonl/.keep", ""); }, prepare, 3,
           "govtrain: error: [data] 1 problem in the inputs; nothing was written\n  corpus.jsonl: the folder has no "
           "files in it"},
          {"jsonl-excluded", "every document excluded by the policy",
           [](const Damage& d) { d.edit("policy.yaml", "MIT", "XYZ"), d.edit("policy.yaml", "GPL-*", "XYZ-2"); },
           prepare, 3,
           "govtrain: error: [data] no document is left of 8 records: 8 are excluded by the policy and 0 are too "
           "short"},
          {"jsonl-short", "every document too short", [](const Damage&) {}, prepare + " data.min_chars=100000", 3,
           "govtrain: error: [data] no document is left of 8 records: 1 are excluded by the policy and 7 are too "
           "short"},
      }};
}

BadInputs bad_data() {
  const std::string tokens = "tokens.bin", documents = "documents.jsonl", manifest = "manifest.json";
  return {
      "Prepared data",
      "The cache may be deleted at any time; what is damaged is never used, and never repaired behind anybody's back.\n"
      "Rows that say 'resealed' change the manifest too, so that its checksums agree with the damage.",
      {
          {"data-no-manifest", "no manifest", raw(manifest, [](const Damage& d, const std::string& f) { d.remove(f); }),
           prepare, 3,
           "govtrain: error: cache/<digest>: not a prepared corpus: manifest.json is missing. Make one with 'govtrain "
           "data prepare'"},
          {"data-manifest", "a manifest that is not JSON",
           raw(manifest, [](const Damage& d, const std::string& f) { d.cut(f, 50); }), prepare, 3,
           "govtrain: error: cache/<digest>/manifest.json: not a JSON object. Delete the folder and run 'govtrain data "
           "prepare' again"},
          {"data-format", "a manifest of another program",
           raw(manifest, [](const Damage& d, const std::string& f) { d.edit(f, "govtrain-data", "other-data"); }),
           prepare, 3,
           "govtrain: error: cache/<digest>/manifest.json: 'format' is not govtrain-data. Delete the folder and run "
           "'govtrain data prepare' again"},
          {"data-version", "a manifest of a later version",
           raw(manifest, [](const Damage& d, const std::string& f) { d.edit(f, "\"version\": 1", "\"version\": 2"); }),
           prepare, 3,
           "govtrain: error: cache/<digest>/manifest.json: prepared corpus of version 2, made by govtrain 0.1.0; this "
           "program reads version 1. Delete the folder and run 'govtrain data prepare' again"},
          {"data-cut", "a token file that is cut off",
           raw(tokens, [](const Damage& d, const std::string& f) { d.cut(f, 100); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: the header says 434 tokens, but the file has room for 18: it "
           "is truncated or changed. Delete the folder and run 'govtrain data prepare' again"},
          {"data-no-tokens", "no token file", raw(tokens, [](const Damage& d, const std::string& f) { d.remove(f); }),
           prepare, 3,
           "govtrain: error: open cache/<digest>/tokens.bin: No such file or directory. Delete the folder and run "
           "'govtrain data prepare' again"},
          {"data-flip", "one bit of a token flipped",
           raw(tokens, [](const Damage& d, const std::string& f) { d.flip(f, 200); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: its SHA-256 is <digest>; the manifest says <digest>: it was "
           "changed. Delete the folder and run 'govtrain data prepare' again"},
          {"data-short", "a token file of 10 bytes, resealed",
           sealed(tokens, [](const Damage& d, const std::string& f) { d.cut(f, 10); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: 10 bytes; a header has 64: it is truncated. Delete the folder "
           "and run 'govtrain data prepare' again"},
          {"data-magic", "a token file that is none, resealed",
           sealed(tokens, [](const Damage& d, const std::string& f) { d.poke(f, 0, "NUMPYARR"); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: not a govtrain token file: it does not start with GVTTOKNS. "
           "Delete the folder and run 'govtrain data prepare' again"},
          {"data-file-version", "a token file of version 9, resealed",
           sealed(tokens, [](const Damage& d, const std::string& f) { d.poke(f, 8, number(9, 4)); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: token file of version 9, made by govtrain 0.1.0; this program "
           "reads version 1. Delete the folder and run 'govtrain data prepare' again"},
          {"data-width", "tokens of 3 bytes, resealed",
           sealed(tokens, [](const Damage& d, const std::string& f) { d.poke(f, 12, number(3, 4)); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: 3 bytes per token; expected 2 or 4. Delete the folder and run "
           "'govtrain data prepare' again"},
          {"data-count", "2^63 tokens, resealed",
           sealed(tokens, [](const Damage& d, const std::string& f) { d.poke(f, 16, number(uint64_t{1} << 63, 8)); }),
           prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: the header says 9223372036854775808 tokens, but the file has "
           "room for 434: it is truncated or changed. Delete the folder and run 'govtrain data prepare' again"},
          {"data-documents", "2^64 - 1 documents, resealed",
           sealed(tokens, [](const Damage& d, const std::string& f) { d.poke(f, 24, number(UINT64_MAX, 8)); }), prepare,
           3,
           "govtrain: error: cache/<digest>/documents.jsonl: 7 documents with 434 tokens; the token file says "
           "18446744073709551615 with 434. Delete the folder and run 'govtrain data prepare' again"},
          {"data-vocabulary", "a token file of another vocabulary, resealed",
           sealed(tokens, [](const Damage& d, const std::string& f) { d.poke(f, 32, number(1000, 4)); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: made for a vocabulary of 1000; the tokenizer has 258. Delete "
           "the folder and run 'govtrain data prepare' again"},
          {"data-token", "a token outside the vocabulary, resealed",
           sealed(tokens, [](const Damage& d, const std::string& f) { d.poke(f, 64, number(60000, 2)); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokens.bin: token 0 is 60000, outside the vocabulary of 258. Delete the "
           "folder and run 'govtrain data prepare' again"},
          {"data-offset", "a document that begins beyond the tokens, resealed",
           sealed(documents,
                  [](const Damage& d, const std::string& f) { d.edit(f, "\"begin\":0", "\"begin\":4000000000"); }),
           prepare, 3,
           "govtrain: error: cache/<digest>/documents.jsonl:1: tokens 62 from 4000000000 on; expected at least one, "
           "from 0 on, of 434 in all. Delete the folder and run 'govtrain data prepare' again"},
          {"data-length", "a document longer than all tokens, resealed",
           sealed(documents, [](const Damage& d,
                                const std::string& f) { d.edit(f, "\"tokens\":", "\"tokens\":18446744073709551"); }),
           prepare, 3,
           "govtrain: error: cache/<digest>/documents.jsonl:1: tokens 1844674407370955162 from 0 on; expected at least "
           "one, from 0 on, of 434 in all. Delete the folder and run 'govtrain data prepare' again"},
          {"data-negative", "a document that begins at -1, resealed",
           sealed(documents, [](const Damage& d, const std::string& f) { d.edit(f, "\"begin\":0", "\"begin\":-1"); }),
           prepare, 3,
           "govtrain: error: cache/<digest>/documents.jsonl:1: 'begin' is not a whole number. Delete the folder and "
           "run 'govtrain data prepare' again"},
          {"data-documents-cut", "a document list that is cut off, resealed",
           sealed(documents, [](const Damage& d, const std::string& f) { d.cut(f, 300); }), prepare, 3,
           "govtrain: error: cache/<digest>/documents.jsonl:2: the line has no end: the file is truncated. Delete the "
           "folder and run 'govtrain data prepare' again"},
          {"data-split", "a split that is none, resealed",
           sealed(documents, [](const Damage& d, const std::string& f) { d.edit(f, "\"train\"", "\"test\""); }),
           prepare, 3,
           "govtrain: error: cache/<digest>/documents.jsonl:1: split 'test'; expected train or validation. Delete the "
           "folder and run 'govtrain data prepare' again"},
          {"data-tokenizer", "a tokenizer that was changed",
           raw("tokenizer.bytes", [](const Damage& d, const std::string& f) { d.flip(f, 3); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokenizer.bytes: its SHA-256 is <digest>; the manifest says <digest>: it "
           "was changed. Delete the folder and run 'govtrain data prepare' again"},
          {"data-tokenizer-sealed", "a tokenizer that is none, resealed",
           sealed("tokenizer.bytes", [](const Damage& d, const std::string& f) { d.write(f, "nothing"); }), prepare, 3,
           "govtrain: error: cache/<digest>/tokenizer.bytes: not a byte tokenizer of version 1. Delete the folder and "
           "run 'govtrain data prepare' again"},
          {"data-inspect", "a folder that holds no prepared data", [](const Damage&) {}, "govtrain inspect cache", 3,
           "govtrain: error: cache is no checkpoint, prepared data or run folder; expected model.safetensors, "
           "manifest.json or ckpt/ in it"},
      }};
}

}  // namespace govtrain_test
