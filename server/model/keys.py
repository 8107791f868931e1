"""Keys, prefixes and patterns: their grammar, ranges in key order, and matching.

Keys sort by their bytes in UTF-8, which is the order of their characters' numbers.
"""

import json
import re
import unicodedata
from functools import lru_cache
from typing import Any, Final, NamedTuple

from signalbox.server.model.errors import (
    JOINERS,
    MAX_QUOTED,
    Invalid,
    quoted,
)

MAX_LENGTH: Final = 256
"""Characters; as UTF-8 has at most four bytes for each, also at most 1,024 bytes."""
MAX_PATTERN: Final = 512
RESERVED: Final = "_signalbox."
RESERVED_END: Final = "_signalbox/"
"""The first key after every key that begins with `RESERVED` ('/' follows '.')."""
RULES: Final = RESERVED + "rules."
APPS: Final = RESERVED + "apps."
MADE_BY_PEOPLE: Final = (RULES, RESERVED + "boards.", APPS)
"""What people make of the app's own keys: they undo it as they undo other changes."""
AFTER_ALL_KEYS: Final = "\U0010ffff"
"""Sorts after every key: Unicode never assigns it."""

_SURROGATES: Final = 0xD800
_AFTER_SURROGATES: Final = 0xE000
_WITHOUT_JOINERS: Final = str.maketrans("", "", JOINERS)
_UNASSIGNED: Final = "Cn"
_NOT_IN_ENV_NAMES: Final = re.compile(r"[^A-Za-z0-9_]")
_FORBIDDEN: Final = {
    "*": "a *, which only patterns have",
    "..": "two dots in a row",
    "  ": "two spaces in a row",
    "/./": "a dot alone between slashes",
}
_EDGES: Final = {".": "a dot", " ": "a space"}

_PRINTABLE: Final = r"[^\x00-\x1f*\x7f-\xa0]"
_EDGE: Final = r"[^\x00-\x20*.\x7f-\xa0]"
_BEGIN: Final = rf"(?!.*(?:\.\.|  |/\./)){_EDGE}"
_KEY: Final = rf"{_BEGIN}(?:{_PRINTABLE}{{0,{MAX_LENGTH - 2}}}{_EDGE})?"
_PREFIX: Final = rf"{_BEGIN}{_PRINTABLE}{{0,{MAX_LENGTH - 2}}}\."
KEY_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": f"^{_KEY}$"}
PREFIX_SCHEMA: Final[dict[str, Any]] = {"type": "string", "pattern": f"^(?:{_PREFIX})?$"}
MATCH_SCHEMA: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": rf"^[^\x00-\x1f\x7f-\xa0]{{1,{MAX_PATTERN}}}$",
}
"""JSON Schema for the grammar as far as its common keywords can express it: every key, prefix and
pattern matches, but not all that matches is one."""


def is_key(key: str) -> bool:
    """Whether a log may contain such a key. It may have characters that this Unicode does not know
    yet: another node, with a newer Python, can have created it.
    """
    if not 0 < len(key) <= MAX_LENGTH or key[0] in _EDGES or key[-1] in _EDGES:
        return False
    for part in _FORBIDDEN:
        if part in key:
            return False
    return _has_valid_characters(key)


def check_key(key: str, where: str = "") -> None:
    """Raises `Invalid` where `key` does not follow the grammar.

    `where` is the path to the command within its batch, such as `commands[0].`.
    """
    if not is_key(key):
        raise _invalid("key", key, where, MAX_LENGTH)


def check_new_key(key: str, where: str = "") -> None:
    """As `check_key`, for a key to create: this Unicode must know all its characters."""
    check_key(key, where)
    if not key.isascii():
        _check_assigned("key", key, where)


def check_prefix(prefix: str, where: str = "") -> None:
    """Raises `Invalid` where `prefix` is not a key followed by a dot."""
    if not prefix.endswith("."):
        raise Invalid(
            f"{_subject('prefix', quoted(prefix), where)} does not end with a dot; "
            "a prefix is whole segments, such as build."
        )
    if not is_key(prefix + "_"):  # the shortest key below it
        raise _invalid("prefix", prefix, where, MAX_LENGTH - 1)


def check_new_prefix(prefix: str, where: str = "") -> None:
    """As `check_prefix`, for a prefix below which keys will be created."""
    check_prefix(prefix, where)
    _check_assigned("prefix", prefix, where)


def _check_assigned(kind: str, text: str, where: str) -> None:
    """Raises `Invalid` for a character that this version of Unicode does not know."""
    unknown = (char for char in text if unicodedata.category(char) == _UNASSIGNED)
    if first := next(unknown, None):
        raise Invalid(
            f"{_subject(kind, quoted(text), where)} has {_describe_character(first)}, "
            f"which is no character in Unicode {unicodedata.unidata_version}."
        )


def _has_valid_characters(text: str) -> bool:
    """Whether all characters are allowed in keys, `*` included, and in NFC."""
    if text.isascii():
        return text.isprintable()
    return _forbidden_character(text) is None and unicodedata.is_normalized("NFC", text)


def _forbidden_character(text: str) -> str | None:
    """The first character that no key can have: invisible, private, or a space other than ' '."""
    if (rest := text.translate(_WITHOUT_JOINERS)).isprintable():
        return None
    hidden = (char for char in rest if not char.isprintable())
    return next((char for char in hidden if unicodedata.category(char) != _UNASSIGNED), None)


def _invalid(kind: str, text: str, where: str, limit: int) -> Invalid:
    """The error of a key, prefix or pattern that does not follow the grammar."""
    composed = unicodedata.normalize("NFC", text)
    is_decomposed = composed != text and len(text) <= limit and _forbidden_character(text) is None
    if is_decomposed:
        # Both look alike, so the given one is escaped.
        shown = json.dumps(text)
        shown = shown if len(shown) <= MAX_QUOTED else shown[: MAX_QUOTED - 3] + "..."
        rule = f"is not in NFC; its NFC form is {quoted(composed)}"
    else:
        shown, rule = quoted(text), _broken_rule(kind, text, limit)
    return Invalid(f"{_subject(kind, shown, where)} {rule}.")


def _subject(kind: str, shown: str, where: str) -> str:
    """What is invalid, as the beginning of a message: a key, prefix or pattern of a field."""
    return f"The {kind} {shown}" + (f" of {where.rstrip('.')}" if where else "")


def _broken_rule(kind: str, text: str, limit: int) -> str:
    """The rule of the grammar that a text breaks, as the end of a sentence."""
    if not text:
        return f"is empty; a {kind} has 1 to {limit} characters"
    if len(text) > limit:
        return f"has {len(text)} characters; a {kind} has at most {limit}"
    if forbidden := _forbidden_character(text):
        return f"has {_describe_character(forbidden)}, which no key has"
    for part, rule in _FORBIDDEN.items():
        if part in text:
            return f"has {rule}"
    if text[0] in _EDGES:
        return f"begins with {_EDGES[text[0]]}"
    return f"ends with {_EDGES[text[-1]]}"


def _describe_character(char: str) -> str:
    """A character that no key may have, with its code point and its name."""
    nameless = "(a control character)" if unicodedata.category(char) == "Cc" else ""
    return f"U+{ord(char):04X} {unicodedata.name(char, nameless)}".rstrip()


def env_name(key: str) -> str:
    """A key's name as an environment variable: ASCII letters, digits and `_` alone, and no digit at
    its beginning.
    """
    name = _NOT_IN_ENV_NAMES.sub("_", key).upper()
    return "_" + name if name[0].isdigit() else name


def after_prefix(prefix: str) -> str:
    """The first string after every string that begins with `prefix`."""
    prefix = prefix.rstrip(AFTER_ALL_KEYS)
    if not prefix:
        return AFTER_ALL_KEYS
    following = ord(prefix[-1]) + 1
    # UTF-8 has no surrogates.
    return prefix[:-1] + chr(_AFTER_SURROGATES if following == _SURROGATES else following)


class Pattern(NamedTuple):
    """A compiled `match`: keys in [low, high), further filtered by `glob`, `dots` and `regex`.

    Where all three are None, every key of the range matches. `glob` is a SQLite GLOB that no match
    fails; with `dots` (the number of dots) it is exact, else `regex` decides.
    """

    text: str
    low: str
    high: str
    glob: str | None
    dots: int | None
    regex: re.Pattern[str]
    shows_reserved: bool

    @property
    def tail(self) -> str:
        """What stands behind the last wildcard; all of it where there is none."""
        return self.text.rpartition("*")[2]

    @property
    def is_key(self) -> bool:
        """Whether the pattern has no wildcard, and so is one key."""
        return "*" not in self.text

    @property
    def is_range(self) -> bool:
        """Whether the keys that match are those of one range, in key order."""
        return self.glob is None

    def matches(self, key: str) -> bool:
        """Whether a key matches; the app's own keys only where they are asked for."""
        if not self.shows_reserved and key.startswith(RESERVED):
            return False
        return self.regex.fullmatch(key) is not None


def is_pattern(text: str) -> bool:
    """Whether a text is a pattern of keys, which `compile_pattern` takes."""
    return 1 <= len(text) <= MAX_PATTERN and _has_valid_characters(text)


@lru_cache(maxsize=64)
def compile_pattern(text: str) -> Pattern:
    """`*` matches within a segment, `**` across segments, the rest literally.

    Raises `Invalid` for characters that no key can have.
    """
    if not is_pattern(text):
        raise _invalid("pattern", text, "match", MAX_PATTERN)
    parts = re.split(r"(\*\*+|\*)", text)
    head = parts[0]
    is_range = len(parts) == 1 or (parts[1] != "*" and parts[2:] == [""])
    return Pattern(
        text=text,
        low=head,
        high=head + "\0" if len(parts) == 1 else after_prefix(head),
        glob=None if is_range else _as_glob(text),
        dots=None if "**" in text else text.count("."),
        regex=re.compile(_as_regex(text)),
        shows_reserved=text.startswith(RESERVED),
    )


def _as_glob(text: str) -> str:
    """The pattern for SQLite's GLOB, whose other special characters are put in brackets."""
    return re.sub(r"[?\[]", r"[\g<0>]", re.sub(r"\*+", "*", text))


def capturing_regex(text: str) -> re.Pattern[str]:
    """The regular expression of a pattern, with a group for what each of its wildcards takes.

    The leftmost takes as little as lets the rest match, then the next one.
    """
    return re.compile(_as_regex(text, "({})"))


def _as_regex(text: str, wildcard: str = "{}") -> str:
    """The pattern as a regular expression without backtracking, so that none takes long: the text
    after a star matches where it first occurs (an atomic group), which leaves most for later stars.

    `wildcard` is how the expression of each wildcard is written.
    """
    across, within = wildcard.format(".*?"), wildcard.format("[^.]*?")
    first, *others = re.split(r"\*\*+", text)
    if not others:
        return _within_segments(first, within, at_end=True)
    between = "".join(
        f"(?>{across}{_within_segments(part, within, at_end=False)})" for part in others[:-1]
    )
    last = _within_segments(others[-1], within, at_end=True)
    return f"{_within_segments(first, within, at_end=False)}{between}{across}{last}"


def _within_segments(part: str, wildcard: str, at_end: bool) -> str:
    """A part without `**`; one that stands at the pattern's end must reach the key's end."""
    head, *literals = map(re.escape, part.split("*"))
    last = wildcard + literals.pop() if at_end and literals else ""
    return head + "".join(f"(?>{wildcard}{literal})" for literal in literals) + last
