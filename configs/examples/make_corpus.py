#!/usr/bin/env python3
"""Writes corpus.jsonl, the corpus of the examples: about 60 KB of invented text, the same bytes every time.

Not meant to teach a language. It has what governance is about: several licences, packages, classes, marks of privacy,
a few texts that are there twice, documents of several examples' length, and texts that are easy (formulas), ordinary
(sentences) and hard (tables of digits) to predict.
"""
import json
import os
import random

SUBJECTS = ["the keeper", "a surveyor", "the harbour master", "our neighbour", "the clockmaker", "a ferryman",
            "the gardener", "an archivist", "the miller", "a lamplighter", "the glassblower", "the postwoman"]
VERBS = ["measured", "repaired", "described", "painted", "counted", "forgot", "carried", "opened", "sketched",
         "weighed", "borrowed", "returned"]
OBJECTS = ["the north gate", "seven brass hinges", "a map of the tides", "the oldest ledger", "a crate of lenses",
           "the weather flag", "an unsigned letter", "the spare rudder", "a jar of seeds", "the bell rope",
           "a row of copper pipes", "the winter curtains"]
PLACES = ["by the canal", "under the stairs", "at the mill", "on the long pier", "behind the orchard", "in the tower",
          "near the weir", "across the yard"]
TIMES = ["before dawn", "at noon", "after the rain", "in the second week of March", "late that evening", "on Sunday",
         "while the tide was low", "when the lamps were lit"]
LINKS = ["Then", "Later", "Nobody knew that", "It is written that", "For this reason", "Still,", "Once more"]


def sentence(rng):
    text = f"{rng.choice(SUBJECTS)} {rng.choice(VERBS)} {rng.choice(OBJECTS)} {rng.choice(PLACES)}"
    if rng.random() < 0.5:
        text += f" {rng.choice(TIMES)}"
    if rng.random() < 0.4:
        return f"{rng.choice(LINKS)} {text}."
    return text[0].upper() + text[1:] + "."


def prose(rng, sentences):
    return " ".join(sentence(rng) for _ in range(sentences))


def formula(rng, number, lines):
    part = rng.choice(["valve", "hinge", "pump", "lens", "gate", "rope"])
    steps = [f"Step {i}. Check the {part}. If the {part} is worn, replace the {part}." for i in range(1, lines + 1)]
    return "\n".join([f"Machine {number}."] + steps)


def numbers(rng, rows):
    return "\n".join(" ".join(f"{rng.randrange(10**6):06d}" for _ in range(5)) for _ in range(rows))


def letter(rng, number):
    name = rng.choice(["Ada", "Bram", "Cleo", "Dorte", "Emil", "Fenna"])
    return (f"Dear {name}, my new number is 0{rng.randrange(10**3):03d}-{rng.randrange(10**5):05d}. "
            f"{prose(rng, 4)} Yours, K. ({number})")


# package, licence, class, privacy, how many, text
KINDS = [
    ("handbook", "MIT", "manual", "public", 22, lambda r, i: formula(r, i + 1, 4 + i % 5)),
    ("fieldnotes", "CC-BY-SA-4.0", "notes", "public", 20, lambda r, i: prose(r, 5 + i % 6)),
    ("chronicle", "CC0-1.0", "book", "public", 5, lambda r, i: prose(r, 36 + 6 * i)),
    ("toolguide", "GPL-2.0-or-later", "manual", "public", 18,
     lambda r, i: formula(r, 30 + i, 2) + "\n" + prose(r, 3 + i % 4)),
    ("wire", "LicenseRef-Wire", "news", "public", 14, lambda r, i: f"Wire {i + 1}. " + prose(r, 4 + i % 3)),
    ("letters", "MIT", "letter", "personal", 12, letter),
    ("soundings", "CC0-1.0", "table", "public", 14, lambda r, i: numbers(r, 6 + i % 5)),
    ("forum", "NOASSERTION", "post", "public", 12, lambda r, i: prose(r, 2 + i % 3)),
]


def main():
    rng = random.Random(20260322)
    records = []
    for package, licence, cls, privacy, count, text in KINDS:
        for i in range(count):
            meta = {"id": f"{package}-{i + 1}", "package": package, "source": f"{package}:{i + 1}", "license": licence,
                    "class": cls, "privacy": privacy}
            records.append({"text": text(rng, i), "meta": meta})
    # Copies: what the forum quotes is in the field notes too.
    quoted = next(r for r in records if r["meta"]["package"] == "fieldnotes")
    records.append({"text": quoted["text"], "meta": {**quoted["meta"], "id": "mirror-1", "package": "mirror",
                                                     "source": "mirror:1", "license": "GPL-2.0-or-later"}})
    rng.shuffle(records)
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus.jsonl")
    with open(path, "w", encoding="utf-8", newline="\n") as out:
        for record in records:
            out.write(json.dumps(record, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
