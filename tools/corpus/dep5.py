"""Licences from Debian copyright files (DEP-5, https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/).

Gives the SPDX expression that the package declares for one source path. Reads short names only: it never tries to
recognise a licence from its text.
"""

import fnmatch
import re

SPDX = {
    "Expat": "MIT",
    "MIT": "MIT",
    "BSD-2-clause": "BSD-2-Clause",
    "BSD-3-clause": "BSD-3-Clause",
    "BSD-4-clause": "BSD-4-Clause",
    "public-domain": "LicenseRef-public-domain",
    "Linux-man-pages-copyleft": "Linux-man-pages-copyleft",
    "CC-BY-SA-3.0": "CC-BY-SA-3.0",
}


def spdx_name(name):
    """'GPL-2+' -> 'GPL-2.0-or-later'. A name without an SPDX identifier becomes a LicenseRef."""
    if name in SPDX:
        return SPDX[name]
    match = re.fullmatch(r"((?:L|A)?GPL|GFDL)-(\d+)(\.\d+)?(\+?)", name)
    if match:
        family, major, minor, plus = match.groups()
        return f"{family}-{major}{minor or '.0'}-{'or-later' if plus else 'only'}"
    return "LicenseRef-" + re.sub(r"[^A-Za-z0-9.-]+", "-", name)


def spdx_expression(text):
    """'GPL-2+ or CC-BY-SA-3.0' -> 'GPL-2.0-or-later OR CC-BY-SA-3.0'."""
    words = re.split(r"\s+(and|or)\s+", text.strip(), flags=re.IGNORECASE)
    return " ".join(w.upper() if w.lower() in ("and", "or") else spdx_name(w) for w in words)


class Copyright:
    """A parsed copyright file. `machine_readable` is false for files in free form: they declare nothing here."""

    def __init__(self, text):
        self.text = text
        self.source = ""
        self.stanzas = []  # (patterns, license), in file order
        self.machine_readable = bool(re.match(r"\s*Format:\s*\S*copyright-format/1\.0", text))
        if not self.machine_readable:
            return
        for paragraph in re.split(r"\n[ \t]*\n+", text):
            fields = _fields(paragraph)
            self.source = self.source or " ".join(fields.get("source", "").split())
            if "files" in fields and fields.get("license"):
                self.stanzas.append((fields["files"].split(), fields["license"].split("\n")[0].strip()))

    def license_of(self, path):
        """(SPDX expression, 'dep5: Files: <pattern>') of a source path: the last matching stanza wins. None: no match."""
        found = None
        for patterns, name in self.stanzas:
            for pattern in patterns:
                if fnmatch.fnmatchcase(path, pattern):
                    found = (spdx_expression(name), f"dep5: Files: {pattern}")
        return found


def _fields(paragraph):
    fields, key = {}, None
    for line in paragraph.splitlines():
        match = re.match(r"([A-Za-z][A-Za-z-]*):\s*(.*)", line)
        if match:
            key = match.group(1).lower()
            fields[key] = match.group(2)
        elif key and line[:1] in (" ", "\t"):
            fields[key] += "\n" + line.strip()
    return fields
