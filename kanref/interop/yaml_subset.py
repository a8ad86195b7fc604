"""The YAML that configuration files are written in, read without executing anything.

    parse("width: [[2, 0], [1, 0]]\\nk: 3")      {"width": [[2, 0], [1, 0]], "k": 3}

What PyYAML's dump writes, and what people add by hand: block and flow collections, plain, quoted and block scalars, anchors,
aliases and tags. A tag that is not YAML's own makes a `Tagged`, inert: "!!python/object/apply:os.system" is a name and a
list. Aliases share what they refer to, and a document that would be longer than MAX_CHARACTERS values without them is
refused, as whoever goes through it meets them all. Not read: complex keys ("? "), merge keys, several documents; these, and
whatever else is not understood, raise ValueError with the number of the line.
"""

import base64
import binascii
import re
from dataclasses import dataclass

MAX_CHARACTERS = 2**21
MAX_DEPTH = 40
WORDS = {"null": None, "~": None, "": None, "true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}
INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
NUMBER = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?")  # YAML 1.1: 1e5 is a text, 1.0e+5 a number
SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": -float("inf"), ".nan": float("nan")}
QUOTED = r""""(?:[^"\\]|\\[\s\S])*"|'(?:[^']|'')*'"""
KEY = re.compile(rf"""({QUOTED}|[^\s"'\[\]{{}}#&*!|>%@`,-](?:[^\s#:]|:(?=\S)|[ \t]+(?![\s:#]))*)\s*:(?:\s+|$)""")
ESCAPES = dict(zip("0abtnvfre", "\0\a\b\t\n\v\f\r\x1b")) | {c: c for c in '\\"/ '}
ESCAPES |= {"N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029", "\n": ""}


@dataclass(frozen=True, eq=False)
class Tagged:
    """A value with a tag that YAML itself does not know, as "python/object/apply:numpy.dtype"."""

    tag: str
    value: object


def parse(text):
    """The value of a document: dictionaries with texts as keys, lists, texts, bytes, numbers, booleans, None, `Tagged`."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the text has more than {MAX_CHARACTERS} characters")
    value = _Reader(text).document()
    if _count(value, {}) > MAX_CHARACTERS:
        raise ValueError(f"its aliases stand for more than {MAX_CHARACTERS} values")
    return value


def _count(value, known):
    """How many values a value has in it, those behind aliases each time; known: of collections that have been counted."""
    if isinstance(value, Tagged):
        return 1 + _count(value.value, known)
    if not isinstance(value, list | dict):
        return 1
    if id(value) not in known:
        known[id(value)] = 1 + sum(_count(own, known) for own in (value.values() if isinstance(value, dict) else value))
    return known[id(value)]


def scalar(text):
    """A plain scalar: null, boolean, integer, number or text."""
    if text.lower() in WORDS and text in (text.lower(), text.capitalize(), text.upper()):
        return WORDS[text.lower()]
    if INTEGER.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text):
        return float(text)
    return SPECIAL.get(text.lower(), text)


class _Reader:
    """Lines as pairs [indentation, text], read from `place` on; "- - a" is read by moving its rest to a line of its own."""

    def __init__(self, text):
        self.raw = text.replace("\r\n", "\n").split("\n")
        self.lines = [[len(line) - len(line.lstrip(" ")), line.strip(" ")] for line in self.raw]
        self.place, self.depth, self.anchors = 0, 0, {}

    def fail(self, what):
        raise ValueError(f"line {min(self.place, len(self.raw) - 1) + 1}: {what}")

    def skip(self):
        """On to the next line with something on it; its indentation and text, or (-1, "") at the end."""
        while self.place < len(self.lines):
            indent, text = self.lines[self.place]
            if text and not text.startswith("#"):
                return indent, text
            self.place += 1
        return -1, ""

    def document(self):
        indent, text = self.skip()
        while text.startswith("%") or (indent == 0 and text == "---"):
            self.place += 1
            indent, text = self.skip()
        if indent < 0:
            return None
        value = self.block(indent)
        indent, text = self.skip()
        if indent == 0 and text == "...":
            self.place += 1
            indent, text = self.skip()
        if indent >= 0:
            self.fail(f"{text!r:.60} does not continue what stands before")
        return value

    def block(self, indent):
        """The collection or scalar that starts on the present line."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} levels")
        _, text = self.skip()
        if text == "-" or text.startswith("- "):
            value = self.sequence(indent)
        elif KEY.match(text):
            value = self.mapping(indent)
        else:
            self.place += 1
            value = self.value(text, indent - 1)
        self.depth -= 1
        return value

    def sequence(self, indent):
        found = []
        while True:
            at, text = self.skip()
            if at != indent or not (text == "-" or text.startswith("- ")):
                return found
            rest = text[1:].lstrip(" ")
            if rest == "-" or rest.startswith("- ") or KEY.match(rest):
                deeper = indent + len(text) - len(rest)
                self.lines[self.place] = [deeper, rest]
                found.append(self.block(deeper))
            else:
                self.place += 1
                found.append(self.value(rest, indent))

    def mapping(self, indent):
        found = {}
        while True:
            at, text = self.skip()
            key = KEY.match(text) if at == indent else None
            if not key:
                if at == indent and text not in ("...", "---"):
                    self.fail(f"{text!r:.60} is no entry of a mapping")
                return found
            name = key[1][1:-1] if key[1][0] in "\"'" else key[1]
            if name in found:
                self.fail(f"the key {name!r:.60} comes twice")
            self.place += 1
            found[name] = self.value(text[key.end() :], indent, sequence_here=True)

    def value(self, text, indent, sequence_here=False):
        """What follows "- " or "key: ": properties, then a scalar, a flow collection, or a block that is indented deeper than
        `indent`; below a key a sequence may also start at the key's own column."""
        tag = anchor = None
        while text[:1] in ("!", "&"):
            part, _, text = text.partition(" ")
            text = text.lstrip(" ")
            if (tag if part[0] == "!" else anchor) is not None:
                self.fail(f"{part!r:.60} is the second of its kind before one value")
            tag, anchor = (part, anchor) if part[0] == "!" else (tag, part[1:])
        if text.startswith("*"):
            return self.alias(text[1:].split(" ")[0])
        value = self.tagged(tag, self.content(text, indent, sequence_here))
        if anchor:
            self.anchors[anchor] = value
        return value

    def alias(self, name):
        if name not in self.anchors:
            self.fail(f"the alias {name!r:.60} refers to nothing before it")
        return self.anchors[name]

    def content(self, text, indent, sequence_here):
        if not text or text.startswith("#"):
            at, following = self.skip()
            here = sequence_here and at == indent and (following == "-" or following.startswith("- "))
            return self.block(at) if at > indent or here else None
        if text[0] in "|>":
            return self.literal(text, indent)
        if text[0] in "[{":
            return self.flow(text, indent)
        if text[0] in "\"'":
            return self.quoted(text, indent)
        if text[0] in "%@`?" and (text[0] != "?" or text[1:2] in ("", " ")):
            self.fail(f"{text!r:.60} is not read")
        parts = [re.sub(r"\s#.*", "", text).rstrip()]
        while self.skip()[0] > indent:  # a plain scalar goes on on lines that are indented deeper
            if KEY.match(self.lines[self.place][1]):
                self.fail(f"{self.lines[self.place][1]!r:.60} is indented too deep")
            parts.append(self.lines[self.place][1])
            self.place += 1
        text = " ".join(parts)
        return _Plain(text)

    def literal(self, head, indent):
        lines = []
        while self.place < len(self.lines) and (self.lines[self.place][0] > indent or not self.lines[self.place][1]):
            lines.append(self.raw[self.place])
            self.place += 1
        margin = min((len(line) - len(line.lstrip(" ")) for line in lines if line.strip(" ")), default=0)
        lines = [line[margin:] for line in lines]
        return (("\n" if head[0] == "|" else " ").join(lines)).rstrip("\n ") + ("" if "-" in head else "\n")

    def joined(self, text, indent, end):
        """What begins with text, up to end(...), with as many of the lines after it as that needs."""
        lines, first = [text], self.place
        while self.place < len(self.lines) and (self.lines[self.place][0] > indent or not self.lines[self.place][1]):
            lines.append(self.lines[self.place][1])
            self.place += 1
        whole = "\n".join(lines)
        if (stop := end(whole)) is None:
            self.place = first
            self.fail("a quotation or bracket is not closed")
        if rest := whole[stop:].split("#")[0].strip():
            self.fail(f"{rest!r:.60} stands after a closed quotation or bracket")
        return whole[:stop]

    def quoted(self, text, indent):
        return self.unquoted(self.joined(text, indent, lambda t: (m := re.match(QUOTED, t)) and m.end()))

    def unquoted(self, text):
        """A quoted scalar's text: one line's end is a space, n + 1 of them are n."""

        def fold(match):
            return " " if len(match[0]) == 1 else match[0][1:]

        if text[0] == "'":
            return re.sub(r"\n+", fold, text[1:-1].replace("''", "'"))

        def escape(match):
            name = match[1]
            if name is None:
                return fold(match)
            if name[0] in "xuU":
                return chr(int(name[1:], 16))
            if name not in ESCAPES:
                self.fail(f"the escape \\{name} is not read")
            return ESCAPES[name]

        return re.sub(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|[\s\S])|\n+", escape, text[1:-1])

    def flow(self, text, indent):
        plain = r"(?:[^\s\[\]{},:]|:(?=[^\s\[\]{},]))"
        plain = rf"{plain}(?:{plain}|[ \n]+(?=[^\s\[\]{{}},:#]))*"
        tokens = re.compile(rf"{QUOTED}|[\[\]{{}},:]|{plain}|\s+")

        def end(t):
            depth = 0
            for match in tokens.finditer(t):
                depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
                if depth == 0:
                    return match.end()
            return None

        found = [m[0] for m in tokens.finditer(self.joined(text, indent, end)) if not m[0].isspace()]
        value, rest = self.flow_value(found, 0, self.depth)
        if rest != len(found):
            self.fail("a flow collection is not closed")
        return value

    def flow_value(self, tokens, i, depth):
        """The value that starts at token i, and the number of the token after it."""
        if depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} levels")
        if tokens[i] == "[":
            found, i = [], i + 1
            while tokens[i] != "]":
                value, i = self.flow_value(tokens, i, depth + 1)
                found.append(value)
                i = self.comma(tokens, i, "]")
            return found, i + 1
        if tokens[i] == "{":
            found, i = {}, i + 1
            while tokens[i] != "}":
                key, i = self.flow_value(tokens, i, depth + 1)
                if tokens[i] != ":" or isinstance(key, list | dict):
                    self.fail("a flow mapping needs plain keys and a colon after each")
                found[str(key)], i = self.flow_value(tokens, i + 1, depth + 1)
                i = self.comma(tokens, i, "}")
            return found, i + 1
        if tokens[i][0] == "*":
            return self.alias(tokens[i][1:]), i + 1
        if tokens[i][0] in "&!":
            mark, (value, i) = tokens[i], self.flow_value(tokens, i + 1, depth + 1)
            if mark[0] == "!":
                return self.tagged(mark, value), i
            self.anchors[mark[1:]] = value
            return value, i
        if tokens[i] in ("]", "}", ",", ":"):
            self.fail(f"{tokens[i]!r:.60} stands where a value belongs")
        if tokens[i][0] in "\"'":
            return self.unquoted(tokens[i]), i + 1
        if tokens[i][0] == "#":
            self.fail("a remark inside brackets is not read")
        return scalar(re.sub(r" *\n+ *", " ", tokens[i])), i + 1

    def comma(self, tokens, i, close):
        if tokens[i] not in (",", close):
            self.fail(f"{tokens[i]!r:.60} stands where a comma or {close!r} belongs")
        return i + (tokens[i] == ",")

    def tagged(self, tag, value):
        plain = isinstance(value, _Plain)
        name = None if tag is None else tag.removeprefix("!<tag:yaml.org,2002:").rstrip(">").removeprefix("!!")
        if name in (None, "seq", "map", "python/tuple", "python/list", "python/dict"):
            return scalar(value.text) if plain else value
        if plain:
            value = value.text
        if name in ("str", "python/str", "python/unicode"):
            return value
        if name in ("int", "float", "bool", "null"):
            return scalar(value) if isinstance(value, str) else value
        if name == "binary" and isinstance(value, str):
            try:
                return base64.b64decode("".join(value.split()), validate=True)
            except binascii.Error:
                self.fail("binary data that is no base64")
        return Tagged(name, value)


@dataclass(frozen=True)
class _Plain:
    """A plain scalar whose type its tag may decide."""

    text: str
