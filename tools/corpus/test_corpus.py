#!/usr/bin/env python3
"""Tests of the corpus script that need neither packages nor a network: python3 tools/corpus/test_corpus.py"""

import gzip
import importlib.machinery
import importlib.util
import pathlib
import struct
import sys
import unittest
import zlib

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import dep5  # noqa: E402
import extract  # noqa: E402


def load_build():
    loader = importlib.machinery.SourceFileLoader("corpus_build", str(HERE / "build"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("corpus_build", loader))
    loader.exec_module(module)
    return module


build = load_build()

DEP5 = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Source: https://example.org/
 src

Files: *
Copyright: someone
License: GPL-2+

Files: man2/accept.2 man2/*at.2
       man7/futex.7
License: Expat
 text

Files:
 debian/*
License: BSD-4-clause and Linux-man-pages-copyleft

License: GPL-2+
 This is not a stanza of files.
"""


class Licences(unittest.TestCase):
    def test_names(self):
        for debian, spdx in {
            "GPL-2+": "GPL-2.0-or-later",
            "GPL-2": "GPL-2.0-only",
            "GPL-2.0+": "GPL-2.0-or-later",
            "LGPL-2.1": "LGPL-2.1-only",
            "GFDL-1.3+": "GFDL-1.3-or-later",
            "Expat": "MIT",
            "public-domain": "LicenseRef-public-domain",
            "Odd (licence)": "LicenseRef-Odd-licence-",
            "GPL-2.0+ or CC-BY-SA-3.0": "GPL-2.0-or-later OR CC-BY-SA-3.0",
            "GPL-2+ and Linux-man-pages-copyleft": "GPL-2.0-or-later AND Linux-man-pages-copyleft",
        }.items():
            self.assertEqual(dep5.spdx_expression(debian), spdx)

    def test_last_matching_stanza_wins(self):
        parsed = dep5.Copyright(DEP5)
        self.assertTrue(parsed.machine_readable)
        self.assertEqual(parsed.source, "https://example.org/ src")
        self.assertEqual(parsed.license_of("man3/puts.3"), ("GPL-2.0-or-later", "dep5: Files: *"))
        self.assertEqual(parsed.license_of("man2/accept.2"), ("MIT", "dep5: Files: man2/accept.2"))
        self.assertEqual(parsed.license_of("man2/openat.2")[0], "MIT")
        self.assertEqual(parsed.license_of("man7/futex.7")[0], "MIT")
        self.assertEqual(parsed.license_of("debian/rules")[0], "BSD-4-Clause AND Linux-man-pages-copyleft")

    def test_free_form_declares_nothing(self):
        parsed = dep5.Copyright("This is free software.\nLicense: GPL-2\n")
        self.assertFalse(parsed.machine_readable)
        self.assertIsNone(parsed.license_of("x"))
        self.assertEqual(build.license_of({}, parsed, "x")[0], "NOASSERTION")
        self.assertEqual(build.license_of({"notice": ("free software", "X")}, parsed, "x")[0], "X")
        self.assertEqual(build.license_of({"notice": ("other phrase", "X")}, parsed, "x")[0], "NOASSERTION")


class Formats(unittest.TestCase):
    def test_man_page(self):
        page = (
            '.\\" comment\n.TH open 2 2023\n.SH NAME\nopen, creat \\- open a file\n.SH DESCRIPTION\nThe\n.BR open ()\n'
            'system call opens\n.I "a file"\n.if n \\{\\\n.hidden\n.\\}\n.PP\n.nf\n.B int open(const char *\\fIpath\\fP);\n'
            "    indented\n.fi\n.TP\n.B O_CREAT\nCreates it \\(em if need be.\n.TS\nl l.\na\tb\n.TE\n"
        )
        self.assertEqual(
            extract.man_page(page),
            "NAME\nopen, creat - open a file\n\nDESCRIPTION\nThe open() system call opens a file\n\n"
            "int open(const char *path);\n    indented\n\nO_CREAT\nCreates it -- if need be.\n\na  b\n",
        )
        self.assertIsNone(extract.man_page(".so man2/open.2\n"))

    def test_html(self):
        page = (
            "<html><head><title>no</title></head><body><div class='menu'>no<div>no</div></div><h1>Title</h1>"
            "<p>One &amp; two<br>three</p><script>no()</script><ul><li>item</li></ul><pre>a\n  b</pre>tail</body></html>"
        )
        self.assertEqual(
            extract.html_page(page, ("menu",)), "Title\n\nOne & two\n\nthree\n\n* item\n\na\n  b\n\ntail\n"
        )

    def test_r_data(self):
        def string(text):
            data = text.encode()
            return struct.pack(">ii", 0x00040009, len(data)) + data

        def head():
            return b"X\n" + struct.pack(">iii", 3, 0x040203, 0x030500) + struct.pack(">i", 5) + b"UTF-8"

        lines = head() + struct.pack(">ii", 16, 2) + string("CHAPTER I") + string("It is a truth")
        packed = struct.pack(">i", len(lines)) + zlib.compress(lines)

        def names(values):
            symbol = struct.pack(">i", 1) + string("names")
            return struct.pack(">i", 0x402) + symbol + struct.pack(">ii", 16, len(values)) + b"".join(
                string(v) for v in values
            ) + struct.pack(">i", 254)  # fmt: skip

        where = struct.pack(">iiii", 13, 2, 0, len(packed))
        variables = struct.pack(">ii", 0x213, 1) + where + names(["emma"])
        # The second list of names refers to the symbol of the first.
        index = head() + struct.pack(">ii", 0x213, 1) + variables + struct.pack(">iii", 0x402, 0x1FF, 16)
        index += struct.pack(">i", 1) + string("variables") + struct.pack(">i", 254)
        self.assertEqual(
            extract.r_lazy_data(gzip.compress(index), packed), {"emma": ["CHAPTER I", "It is a truth"]}
        )

    def test_dictd(self):
        data = b"head\nONE first\n\nTWO second\n"
        index = "00databaseinfo\tA\tF\none\tF\tL\ntwo\tQ\tK\nzwei\tQ\tK\n"
        self.assertEqual(extract.dictd_entries(index, data), ["ONE first", "TWO second"])

    def test_fortunes(self):
        self.assertEqual(extract.fortunes("a\nb\n%\nc\n%\n"), ["a\nb", "c"])


class Parts(unittest.TestCase):
    def test_nothing_is_lost_and_sizes_hold(self):
        chapters = [f"CHAPTER {n}\n\n" + f"Paragraph {n}.\n\n" * (200 * n) for n in range(1, 12)]
        cut = build.parts("".join(chapters), r"^CHAPTER \d+")
        self.assertGreater(len(cut), 10)
        self.assertTrue(all(len(c) <= 2 * build.PART + 100 for c in cut))
        self.assertEqual("".join("".join(cut).split()), "".join("".join(chapters).split()))
        self.assertEqual(cut, build.parts("".join(chapters), r"^CHAPTER \d+"))

    def test_clean(self):
        self.assertEqual(build.clean("\ufeffa\u00a0b \r\n\x07\n\n\n\nc\n\n"), "a b\n\nc\n")


if __name__ == "__main__":
    unittest.main()
