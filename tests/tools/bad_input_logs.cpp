// Rows: the log, its keys and its proofs; and the machine: disks, folders, environment variables.
#include "tests/tools/bad_input.h"

namespace govtrain_test {
namespace {

const std::string log = "run/lineage/";
const std::string verify = "govtrain lineage verify run";
const std::string resume = "govtrain run config.yaml --resume run/ckpt/step-000002";

void nothing(const Damage&) {}

// The newest partial bundle and the newest partial tile.
std::string entries(const Damage& d) { return log + "tile/entries/000.p/" + d.log_size(); }
std::string tile(const Damage& d) { return log + "tile/0/000.p/" + d.log_size(); }

void resize(const Damage& d, const std::string& note, const std::string& size) {
  const std::string text = d.read(note);
  const size_t at = text.find('\n') + 1;
  d.write(note, text.substr(0, at) + size + text.substr(text.find('\n', at)));
}

// Puts the first of `letters` that is not there into the middle of the signature, after the key's id.
void forge(const Damage& d, const std::string& note, const std::string& letters) {
  const size_t at = d.read(note).size() - 44;
  d.poke(note, at, std::string(1, letters[d.read(note)[at] == letters[0] ? 1 : 0]));
}

constexpr const char* other_key = "govtrain.local/other+305f0280+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

std::vector<BadInput> damaged() {
  return {
      {"log-entry", "one bit of an entry flipped",
       [](const Damage& d) { d.flip(entries(d), d.read(entries(d)).find("elements")); }, verify, 4,
       "problem: tile/0/000.p/24: differs from what the entries give\ngovtrain: error: lineage verify FAILED: 6 "
       "problems"},
      {"log-entries-cut", "a bundle of entries that is cut off", [](const Damage& d) { d.cut(entries(d), 500); },
       verify, 4,
       "problem: tile/entries/000.p/24: expected exactly 24 entries\ngovtrain: error: lineage verify FAILED: 5 "
       "problems"},
      {"log-entries-size", "an entry that says it is longer than its bundle",
       [](const Damage& d) { d.poke(entries(d), 0, "\xff\xff"); }, verify, 4,
       "problem: tile/entries/000.p/24: expected exactly 24 entries\ngovtrain: error: lineage verify FAILED: 5 "
       "problems"},
      {"log-entries-missing", "a bundle of entries removed", [](const Damage& d) { d.remove(entries(d)); }, verify, 4,
       "problem: open run/lineage/tile/entries/000: No such file or directory\ngovtrain: error: lineage verify FAILED: "
       "5 problems"},
      {"log-tile", "one bit of a tile flipped", [](const Damage& d) { d.flip(tile(d), 40); }, verify, 4,
       "problem: tile/0/000.p/24: differs from what the entries give\ngovtrain: error: lineage verify FAILED: 5 "
       "problems"},
      {"log-tile-cut", "a tile that is cut off", [](const Damage& d) { d.cut(tile(d), 40); }, verify, 4,
       "problem: tile/0/000.p/24: differs from what the entries give\ngovtrain: error: lineage verify FAILED: 5 "
       "problems"},
      {"log-tile-missing", "a tile removed", [](const Damage& d) { d.remove(tile(d)); }, verify, 4,
       "problem: open run/lineage/tile/0/000: No such file or directory\ngovtrain: error: lineage verify FAILED: 5 "
       "problems"},
      {"log-signature", "a signature with one letter changed",
       [](const Damage& d) { forge(d, log + "checkpoint", "AB"); }, verify, 4,
       "problem: checkpoint: signed note: the signature of govtrain.local/tiny-<id> does not verify\ngovtrain: error: "
       "lineage verify FAILED: 1 problem"},
      {"log-signature-letter", "a signature with a letter that is not one of base64",
       [](const Damage& d) { forge(d, log + "checkpoint", "*"); }, verify, 4,
       "problem: checkpoint: signed note: a signature line is malformed\ngovtrain: error: lineage verify FAILED: 1 "
       "problem"},
      {"log-root", "another root under the signature", [](const Damage& d) { resize(d, log + "checkpoint", "7"); },
       verify, 4,
       "problem: checkpoint: signed note: the signature of govtrain.local/tiny-<id> does not verify\ngovtrain: error: "
       "lineage verify FAILED: 1 problem"},
      {"log-size", "a checkpoint of 2^64 entries",
       [](const Damage& d) { resize(d, log + "checkpoint", "18446744073709551616"); }, verify, 4,
       "problem: checkpoint: signed note: the signature of govtrain.local/tiny-<id> does not verify\ngovtrain: error: "
       "lineage verify FAILED: 1 problem"},
      {"log-checkpoint-empty", "an empty checkpoint", [](const Damage& d) { d.write(log + "checkpoint", ""); }, verify,
       4,
       "problem: checkpoint: signed note: no empty line before the signatures\ngovtrain: error: lineage verify FAILED: "
       "1 problem"},
      {"log-checkpoint-binary", "weights in place of the checkpoint",
       [](const Damage& d) { d.copy("run/ckpt/step-000003/model.safetensors", log + "checkpoint"); }, verify, 4,
       "problem: checkpoint: signed note: not UTF-8\ngovtrain: error: lineage verify FAILED: 1 problem"},
      {"log-provenance", "a provenance that was changed", [](const Damage& d) { d.flip(d.provenance(), 5); }, verify, 4,
       "problem: prov/<digest>.json: the content has another SHA-256 than its name\ngovtrain: error: lineage verify "
       "FAILED: 3 problems"},
      {"log-foreign", "a file that belongs to no log", [](const Damage& d) { d.write(log + "notes.txt", "hello"); },
       verify, 4, "problem: notes.txt: is not part of a log\ngovtrain: error: lineage verify FAILED: 1 problem"},
      {"log-key-missing", "no verifier key in the log", [](const Damage& d) { d.remove(log + "log.vkey"); }, verify, 3,
       "govtrain: error: open run/lineage/log.vkey: No such file or directory"},
      {"log-key-broken", "a verifier key that is none",
       [](const Damage& d) { d.write(log + "log.vkey", "trust me\n"); }, verify, 4,
       "govtrain: error: run/lineage/log.vkey: a key must read name+<8 hex digits>+<base64 of 33 bytes>, algorithm "
       "Ed25519"},
      {"log-key-other", "the verifier key of another log", nothing, verify + " --key " + other_key, 4,
       "problem: checkpoint: signed note: no signature by a known key\ngovtrain: error: lineage verify FAILED: 1 "
       "problem"},
      {"log-key-option", "a verifier key that is none, given by hand", nothing, verify + " --key nonsense", 2,
       "govtrain: error: --key: nonsense is neither a file nor a verifier key (a key must read name+<8 hex "
       "digits>+<base64 of 33 bytes>, algorithm Ed25519)"},
      {"log-none", "a folder without a log", nothing, "govtrain lineage verify cache", 3,
       "govtrain: error: there is no log in cache; expected a run folder or the folder of a log"},
      {"log-kind", "a kind of record that there is none of", nothing, "govtrain lineage show run --kind foo", 2,
       "govtrain: error: --kind: no record is of kind 'foo'; expected one of ex, adapt, admit, bands, blocks, ckpt, "
       "classes, "
       "clip, device, end, eval, expire, infer, policy, profile, proposal, review, revoke, rewind, run, step, unlearn"},
      {"log-index", "an entry that the log does not have", nothing, "govtrain lineage show run 1000", 2,
       "govtrain: error: there is no entry 1000; the log has 24 (0 to 23)"},
      {"log-proof", "a proof that is none",
       [](const Damage& d) { d.write("proof", "proof\n"), d.write("entry", "{}"); },
       "govtrain lineage prove run --check proof --entry entry", 4,
       "govtrain: error: proof: the first line is not c2sp.org/tlog-proof@v1"},
      {"log-extends", "an older checkpoint that is none", [](const Damage& d) { d.write("old", "old\n"); },
       "govtrain lineage prove run --extends old", 4,
       "govtrain: error: signed note: no empty line before the signatures"},
  };
}

std::vector<BadInput> under_weights() {
  return {
      {"log-gone", "weights whose log is gone", [](const Damage& d) { d.remove("run/lineage"); }, resume, 4,
       "govtrain: error: run/lineage has no log, but run/ckpt/step-000002 has weights"},
      {"log-rolled-back", "a log that was rolled back behind its weights",
       [](const Damage& d) { d.copy("run/ckpt/step-000001/lineage.checkpoint", log + "checkpoint"); }, resume, 4,
       "govtrain: error: the log in run/lineage does not cover the weights in run/ckpt/step-000002: the note covers 18 "
       "entries, the log has only 12"},
      {"log-entry-resume", "one bit of an entry flipped under a run that goes on",
       [](const Damage& d) { d.flip(tile(d), 40); }, resume, 4,
       "govtrain: error: run/lineage: the tiles do not give the root of the 24 entries that were committed"},
      {"log-note-missing", "a checkpoint without its note from the log, resealed",
       [](const Damage& d) {
         d.remove("run/ckpt/step-000002/lineage.checkpoint"), d.seal_checkpoint("run/ckpt/step-000002");
       },
       resume, 3, "govtrain: error: open run/ckpt/step-000002/lineage.checkpoint: No such file or directory"},
      {"log-note-forged", "a note that no key of the log signed, resealed",
       [](const Damage& d) {
         resize(d, "run/ckpt/step-000002/lineage.checkpoint", "7");
         d.seal_checkpoint("run/ckpt/step-000002");
       },
       resume, 4,
       "govtrain: error: the log in run/lineage does not cover the weights in run/ckpt/step-000002: signed note: the "
       "signature of govtrain.local/tiny-<id> does not verify"},
      {"log-secret-missing", "no signing key", [](const Damage& d) { d.remove("tiny.key"); }, resume, 3,
       "govtrain: error: open tiny.key: No such file or directory"},
      {"log-secret-broken", "a signing key that is none", [](const Damage& d) { d.write("tiny.key", "secret\n"); },
       resume, 3, "govtrain: error: tiny.key: a private key must begin with PRIVATE+KEY+"},
      {"log-version", "a log of a later version",
       [](const Damage& d) { d.write(log + ".state/version", "govtrain-lineage 9\n"); }, resume, 4,
       "govtrain: error: run/lineage: .state/version is not \"govtrain-lineage 1\""},
      {"log-state", "a writer's state that is not JSON",
       [](const Damage& d) { d.write(log + ".state/treeState", "{"); }, resume, 4,
       "govtrain: error: run/lineage: .state/treeState is not {\"root\":...,\"run\":...,\"size\":...}"},
      {"log-locked", "a log that another process writes", nothing, "flock run/lineage/.state/lock " + resume, 1,
       "govtrain: error: run/lineage/.state/lock is held by process <pid>"},
  };
}

}  // namespace

BadInputs bad_logs() {
  BadInputs out{"Logs",
                "`lineage verify` prints every problem and then the verdict; the table shows the first problem. A run "
                "does not go\n"
                "on from weights that the log does not cover.",
                {}};
  for (const auto& rows : {damaged(), under_weights()}) out.rows.insert(out.rows.end(), rows.begin(), rows.end());
  return out;
}

BadInputs bad_environments() {
  return {
      "The machine",
      "Disks that are full (a file system of some KiB), folders that may not be written (a read-only mount), and what "
      "the\n"
      "environment says. A full disk leaves a complete older state behind, never half a file under a good name.",
      {
          {"disk-full-run", "a disk too small for the run", [](const Damage& d) { d.write("small/.keep", ""); },
           "govtrain run config.yaml run.out=small/run", 5,
           "govtrain: error: small has 65536 bytes free, the run needs about <bytes>; free some, or lower "
           "save.keep_last or train.steps",
           false, "mount -t tmpfs -o size=64k none small"},
          {"disk-full-cache", "a disk too small for the prepared data",
           [](const Damage& d) { d.write("small/.keep", ""); },
           "govtrain data prepare config.yaml data.cache=small/cache", 5,
           "govtrain: error: write small/cache/.tmp-<digest>/tokens.bin: No space left on device", false,
           "mount -t tmpfs -o size=8k none small && head -c 4096 corpus.jsonl > small/other"},
          {"disk-full-output", "a full disk behind standard output", nothing, "govtrain config docs > /dev/full", 1,
           "govtrain: error: cannot write to file: No space left on device"},
          {"disk-full-proof", "a full disk for a proof", nothing, "govtrain lineage prove run 3 --out /dev/full", 5,
           "govtrain: error: write /dev/full: No space left on device"},
          {"read-only-run", "a run folder that may not be written", nothing, resume, 1,
           "govtrain: error: open run/lineage/.state/lock: Read-only file system", false,
           "mount --bind run run && mount -o remount,bind,ro run"},
          {"read-only-out", "a new run folder where nothing may be written",
           [](const Damage& d) { d.write("fixed/.keep", ""); }, "govtrain run config.yaml run.out=fixed/new", 1,
           "govtrain: error: fixed/tiny.key cannot be made: open fixed/.tiny.key.lock: Read-only file system", false,
           "mount --bind fixed fixed && mount -o remount,bind,ro fixed"},
          {"read-only-cache", "a data cache that may not be written",
           [](const Damage& d) { d.write("fixed/.keep", ""); }, "govtrain data prepare config.yaml data.cache=fixed", 1,
           "govtrain: error: open fixed/.lock: Read-only file system", false,
           "mount --bind fixed fixed && mount -o remount,bind,ro fixed"},
          {"isa-unknown", "an instruction set that does not exist", nothing,
           "GOVTRAIN_ISA=nonsense govtrain sample run --tokens 3", 1,
           "govtrain: error: [cpu] no usable instruction set; expected 'nonsense', this CPU has: <sets>"},
          {"key-busy", "another run of the same name that is just starting", nothing,
           "flock .tiny.key.lock govtrain run config.yaml run.out=new", 1,
           "govtrain: error: tiny.key is being made for another run of this name: .tiny.key.lock is held by process "
           "<pid>; start this one again, or give it a run.name or a lineage.key of its own"},
          {"key-aside", "no place to move the key of an earlier run to",
           [](const Damage& d) { d.write("tiny.key", "secret\n"), d.write("tiny.key.unreadable", "older\n"); },
           "govtrain run config.yaml run.out=new", 1,
           "govtrain: error: both tiny.key and tiny.key.unreadable exist; remove one"},
          {"cache-locked", "a data cache that another process fills", nothing,
           "flock cache/.lock govtrain data prepare config.yaml data.min_chars=2", 1,
           "govtrain: error: cache/.lock is held by process <pid>"},
          {"temporary-out", "a file where a folder is expected",
           [](const Damage& d) { d.remove("run/ckpt"), d.write("run/ckpt", ""); },
           "govtrain run config.yaml --resume auto", 1, "govtrain: error: opendir run/ckpt: Not a directory"},
      }};
}

}  // namespace govtrain_test
