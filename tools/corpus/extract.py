"""Plain text from the file formats of documentation packages: roff man pages, HTML, R data, dictd, fortunes.

Structure matters more than looks: headings, paragraphs and examples stay apart, navigation and markup go. Output is
Unicode text; nothing here knows about packages or licences.
"""

import gzip
import html.parser
import re
import struct
import textwrap
import zlib

WIDTH = 78

# ---------------------------------------------------------------------------------------------------- man pages

ROFF_CHARS = {
    "aq": "'", "dq": '"', "lq": '"', "rq": '"', "oq": "'", "cq": "'", "bu": "*", "em": "--", "en": "-", "hy": "-",
    "rs": "\\", "ti": "~", "ha": "^", "ga": "`", "co": "(C)", "rg": "(R)", "tm": "(TM)", "mu": "x", "+-": "+/-",
    ">=": ">=", "<=": "<=", "!=": "!=", "==": "==", "->": "->", "<-": "<-", "at": "@", "sh": "#", "Do": "$", "la": "<",
    "ra": ">", "lB": "[", "rB": "]", "lC": "{", "rC": "}", "ba": "|", "br": "|", "sl": "/", "mc": "u", "*m": "u",
    "if": "infinity", "pl": "+", "mi": "-", "eq": "=", "di": "/", "fm": "'", "de": " degrees", "12": "1/2", "14": "1/4",
    "aa": "'", "pc": ".", "**": "*", "no": "not", "an": "-", "ul": "_", "bv": "|", "tno": "not", "mo": "in", "sr": "sqrt",
    ":a": "ä", ":o": "ö", ":u": "ü", ":A": "Ä", ":O": "Ö", ":U": "Ü", "'e": "é", "'a": "á", "'i": "í", "'o": "ó",
    "'u": "ú", "`e": "è", "`a": "à", "ss": "ß", "Po": "£", "Eu": "EUR", "sc": "§", "ps": "¶", "*p": "pi", "*a": "alpha",
    "*b": "beta", "r!": "¡", "r?": "¿", "Fo": "«", "Fc": "»", "ae": "æ", "AE": "Æ", "/o": "ø", "/O": "Ø", "oa": "å",
    "oA": "Å", ",c": "ç", "~n": "ñ", "^e": "ê", "^a": "â", "-D": "Ð", "Tp": "þ", "TP": "Þ", "ct": "c", "Ye": "Y",
}  # fmt: skip
ROFF_ESCAPE = re.compile(
    r"\\(?:\"(?P<comment>.*)|f(?:\[[^\]]*\]|\(..|.)|s(?:\[[^\]]*\]|[-+]?\d)|\*(?:\[(?P<s1>[^\]]*)\]|\((?P<s2>..)|(?P<s3>.))"
    r"|\((?P<c2>..)|\[(?P<c1>[^\]]*)\]|[hvw]'[^']*'|(?P<ch>.))"
)


def _unescape(text):
    def sub(m):
        name = m.group("c1") or m.group("c2")
        if name:
            if re.fullmatch(r"u[0-9A-F]{4,5}", name):
                return chr(int(name[1:], 16))
            return ROFF_CHARS.get(name, "")
        string = m.group("s1") or m.group("s2") or m.group("s3")
        if string:
            return {"lq": '"', "rq": '"', "R": "(R)", "Tm": "(TM)"}.get(string, "")
        ch = m.group("ch")
        return {"-": "-", "e": "\\", " ": " ", "~": " ", "0": " ", "'": "'", "`": "`", ".": ".", "\\": "\\", "t": "\t"}.get(
            ch or "", ""
        )

    return ROFF_ESCAPE.sub(sub, text)


def _arguments(rest):
    """Macro arguments: blank-separated, "quoted" ones may hold blanks, a doubled quote inside is one quote."""
    out = []
    for quoted, plain in re.findall(r'"((?:[^"]|"")*)"?|((?:\\.|[^\s"\\])(?:\\ |\S)*)', rest):
        out.append(plain if plain else quoted.replace('""', '"'))
    return out


class _ManPage:
    def __init__(self):
        self.out, self.words, self.fill, self.tag = [], [], True, False

    def flush(self):
        if self.words:
            text = " ".join(" ".join(self.words).split())
            self.out.append(textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False))
            self.words = []

    def block(self):
        self.flush()
        if self.out and self.out[-1] != "":
            self.out.append("")

    def text(self, line):
        if self.fill:
            if line[:1] in (" ", "\t"):
                self.flush()
            if line.strip():
                self.words.append(line)
            else:
                self.block()
        else:
            self.out.append(line.rstrip())
        if self.tag:
            self.tag = False
            self.flush()


def man_page(source):
    """Text of a man(7) page, or None for an alias (.so) or a page in another macro package."""
    page, skip, table, conditional = _ManPage(), False, None, False
    source = re.sub(r"\\\n", "", source)
    if re.search(r"^\.so ", source, re.MULTILINE) or not re.search(r"^\.TH ", source, re.MULTILINE):
        return None
    for line in source.split("\n"):
        if skip:
            skip = not line.startswith("..")
            continue
        if conditional:
            conditional = "\\}" not in line
            continue
        if not line.startswith((".", "'")):
            if table is not None:
                table.append(line)
            else:
                page.text(_unescape(line))
            continue
        match = re.match(r"[.']\s*([A-Za-z]+|\\\")?\s*(.*)", line)
        macro, rest = match.group(1) or "", match.group(2)
        rest = re.sub(r"\s*\\\".*", "", rest)
        if macro == "TS":
            page.block()
            table = []
        elif macro == "TE" and table is not None:
            page.out += _table(table)
            page.out.append("")
            table = None
        elif macro in ("de", "ig", "am"):
            skip = True
        elif macro in ("ie", "el", "if", "while"):
            conditional = "\\{" in rest and "\\}" not in rest
        elif macro in ("SH", "SS"):
            page.block()
            page.fill = True
            page.out.append(_unescape(" ".join(_arguments(rest))))
        elif macro in ("PP", "P", "LP", "sp", "HP", "RE"):
            page.block() if page.fill or macro == "sp" else page.out.append("")
        elif macro in ("TP", "TQ"):
            page.block() if macro == "TP" else page.flush()
            page.tag = True
        elif macro == "IP":
            page.block()
            tag = _arguments(rest)[:1]
            if tag and _unescape(tag[0]).strip():
                page.words.append(_unescape(tag[0]))
                if len(_unescape(tag[0])) > 3:
                    page.flush()
        elif macro in ("nf", "EX"):
            page.flush()
            page.fill = False
        elif macro in ("fi", "EE"):
            page.fill = True
        elif macro == "br":
            page.flush()
        elif macro in ("B", "I", "SM", "SB"):
            page.text(_unescape(" ".join(_arguments(rest)))) if rest else None
        elif macro in ("BR", "RB", "IR", "RI", "BI", "IB"):
            page.text(_unescape("".join(_arguments(rest)))) if rest else None
        elif macro in ("UR", "MT"):
            page.words.append("<" + _unescape(rest) + ">")
    page.flush()
    return "\n".join(page.out)


def _table(lines):
    rows, body, block = [], False, None
    for line in lines:
        if not body:
            body = line.rstrip().endswith(".")  # the format section ends with a full stop
            continue
        if block is None and line.rstrip().endswith("T{"):
            block = line.rstrip()[:-2]
        elif block is not None and line.startswith("T}"):
            line, block = block + line[2:], None
            rows.append(line)
        elif block is not None:
            block += " " + line
        elif line not in ("_", "="):
            rows.append(line)
    return ["  ".join(_unescape(c).strip() for c in row.split("\t")).rstrip() for row in rows]


# --------------------------------------------------------------------------------------------------------- HTML

BLOCK = {"p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "dt", "dd", "li", "table", "tr", "blockquote",
         "center", "hr", "pre", "section", "body"}  # fmt: skip
SKIP = {"script", "style", "svg", "head", "nav", "noscript", "button", "form"}
VOID = {"br", "hr", "img", "input", "meta", "link", "area", "col", "wbr"}


class _Html(html.parser.HTMLParser):
    def __init__(self, skip_classes):
        super().__init__(convert_charrefs=True)
        self.skip_classes, self.skipping, self.depth, self.pre = skip_classes, "", 0, 0
        self.out, self.line = [], ""

    def end_block(self):
        text = " ".join(self.line.split())
        if text and text != "*":
            self.out += [textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False), ""]
        self.line = ""

    def handle_starttag(self, tag, attributes):
        if self.skipping:
            self.depth += tag == self.skipping
            return
        classes = set((dict(attributes).get("class") or "").split())
        if tag in SKIP or (classes & self.skip_classes and tag not in VOID):
            self.skipping, self.depth = tag, 1
        elif tag in BLOCK or tag == "br":
            self.end_block()
            self.pre += tag == "pre"
            self.line = "* " if tag == "li" else ""
        elif tag in ("td", "th"):
            self.line += "  "

    def handle_endtag(self, tag):
        if self.skipping:
            self.depth -= tag == self.skipping
            self.skipping = self.skipping if self.depth else ""
        elif tag in BLOCK:
            if tag == "pre" and self.pre:
                self.pre -= 1
                self.out += [self.line.strip("\n"), ""]
                self.line = ""
            else:
                self.end_block()

    def handle_data(self, data):
        if not self.skipping:
            self.line += data if self.pre else data.replace("\n", " ")


def html_page(source, skip_classes=()):
    parser = _Html(set(skip_classes))
    parser.feed(source)
    parser.close()
    parser.end_block()
    return "\n".join(parser.out)


# ------------------------------------------------------------------------------------------------------- R data


class _RReader:
    """The part of R's XDR serialisation that character data sets use (R Internals, "Serialization Formats")."""

    def __init__(self, data):
        self.data, self.at, self.refs = data, 0, []
        if data[:2] != b"X\n":
            raise ValueError("not an XDR serialisation")
        self.at = 2
        version = self.integer()
        self.at += 8
        if version == 3:
            length = self.integer()
            self.at += length

    def integer(self):
        self.at += 4
        return struct.unpack_from(">i", self.data, self.at - 4)[0]

    def item(self):
        flags = self.integer()
        kind = flags & 0xFF
        if kind in (254, 253, 242):  # NULL, global and empty environments
            return None
        if kind == 255:
            return self.refs[(flags >> 8) - 1]
        if kind == 1:
            self.refs.append(self.item())
            return self.refs[-1]
        if kind == 9:
            length = self.integer()
            if length < 0:
                return None
            self.at += length
            return self.data[self.at - length : self.at].decode("utf-8", "replace")
        if kind == 2:
            pairs = {}
            while kind == 2:
                if flags & 0x200:
                    self.item()
                tag = self.item() if flags & 0x400 else None
                pairs[tag] = self.item()
                flags = self.integer()
                kind = flags & 0xFF
            return pairs
        length = self.integer()
        if kind in (10, 13):
            value = [self.integer() for _ in range(length)]
        elif kind == 14:
            value = list(struct.unpack_from(f">{length}d", self.data, self.at))
            self.at += 8 * length
        elif kind in (16, 19):
            value = [self.item() for _ in range(length)]
        else:
            raise ValueError(f"R type {kind} is not supported")
        attributes = self.item() if flags & 0x200 else None
        if attributes and "names" in attributes:
            return dict(zip(attributes["names"], value))
        return value


def r_lazy_data(index, data):
    """Character data sets of a lazy-load data base: {name: [line, ...]}, from the bytes of Rdata.rdx and Rdata.rdb."""
    try:
        index = gzip.decompress(index)
    except OSError:
        index = zlib.decompress(index)
    sets = {}
    for name, (offset, length) in sorted(_RReader(index).item()["variables"].items()):
        sets[name] = _RReader(zlib.decompress(data[offset + 4 : offset + length])).item()
    return sets


# ------------------------------------------------------------------------------------------- dictd and fortunes


def dictd_entries(index, data):
    """The entries of a dictd data base, in the order of the text, without its 00-database headers."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    def number(text):
        value = 0
        for ch in text:
            value = value * 64 + digits.index(ch)
        return value

    ranges = set()
    for line in index.splitlines():
        word, offset, length = line.split("\t")[:3]
        if not word.startswith(("00database", "00-database")):
            ranges.add((number(offset), number(length)))
    return [data[o : o + n].decode("utf-8", "replace").strip("\n") for o, n in sorted(ranges)]


def fortunes(source):
    return [r.strip("\n") for r in re.split(r"^%\s*$", source, flags=re.MULTILINE) if r.strip()]
