"""Keys and patterns: the grammar, ranges in key order, and what a pattern matches."""

import re
from typing import Final, NamedTuple

from server.errors import Invalid, quoted

MAX_LENGTH: Final = 256
RESERVED: Final = "_signalbox."
RESERVED_END: Final = "_signalbox/"
"""The first key after every key that begins with `RESERVED` ('/' follows '.')."""
LAST: Final = "\x7f"
"""Sorts after every key."""

_KEY: Final = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_/:@=-]*(?:\.[A-Za-z0-9_/:@=-]+)*")
_PATTERN: Final = re.compile(r"[A-Za-z0-9_./:@=*-]{1,512}")
_ALLOWED: Final = (
    "1 to 256 of A-Z a-z 0-9 _ . / : @ = -, beginning with a letter, a digit, _ or /, "
    "without a leading, trailing or doubled dot and without '.' between slashes"
)


def is_key(key: str) -> bool:
    return len(key) <= MAX_LENGTH and _KEY.fullmatch(key) is not None and "/./" not in key


def check_key(key: str, field: str = "key") -> None:
    """Raises `Invalid` where `key` does not follow the grammar."""
    if not is_key(key):
        raise Invalid(f"The field {field} is {quoted(key)}; a key has {_ALLOWED}.")


def check_prefix(prefix: str, field: str = "prefix") -> None:
    """Raises `Invalid` where `prefix` is not a key followed by a dot."""
    if not prefix.endswith(".") or not is_key(prefix[:-1]):
        raise Invalid(
            f"The field {field} is {quoted(prefix)}; "
            "a prefix is whole segments with a dot at the end, such as build."
        )


def after_prefix(prefix: str) -> str:
    """The first string after every string that begins with `prefix`."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else LAST


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
    def is_range(self) -> bool:
        return self.glob is None

    def matches(self, key: str) -> bool:
        if not self.shows_reserved and key.startswith(RESERVED):
            return False
        return self.regex.fullmatch(key) is not None


def compile_pattern(text: str) -> Pattern:
    """`*` matches within a segment, `**` across segments, the rest literally.

    Raises `Invalid` for characters that no key can have.
    """
    if not _PATTERN.fullmatch(text):
        raise Invalid(
            f"The field match is {quoted(text)}; "
            "a pattern has 1 to 512 of the characters of a key, * and **."
        )
    parts = re.split(r"(\*\*+|\*)", text)
    head = parts[0]
    is_range = len(parts) == 1 or (parts[1] != "*" and parts[2:] == [""])
    return Pattern(
        text=text,
        low=head,
        high=head + "\0" if len(parts) == 1 else after_prefix(head),
        glob=None if is_range else re.sub(r"\*+", "*", text),
        dots=None if "**" in text else text.count("."),
        regex=re.compile(_as_regex(text)),
        shows_reserved=text.startswith(RESERVED),
    )


def _as_regex(text: str) -> str:
    """Without backtracking among stars, so that no pattern takes long: what stands behind a star is
    taken where it first occurs (an atomic group), which leaves most for the stars behind it.
    """
    first, *others = re.split(r"\*\*+", text)
    if not others:
        return _within_segments(first, at_end=True)
    between = "".join(f"(?>.*?{_within_segments(part, at_end=False)})" for part in others[:-1])
    last = _within_segments(others[-1], at_end=True)
    return f"{_within_segments(first, at_end=False)}{between}.*?{last}"


def _within_segments(part: str, at_end: bool) -> str:
    """A part without `**`; one that stands at the pattern's end must reach the key's end."""
    head, *rest = map(re.escape, part.split("*"))
    last = f"[^.]*{rest.pop()}" if at_end and rest else ""
    return head + "".join(f"(?>[^.]*?{literal})" for literal in rest) + last
