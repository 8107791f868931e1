"""SQL for a text anywhere in a key or value, whatever its case: the one place that says what it is.

Case is folded as Unicode does, for which SQL calls Python. That takes longer than all else, so it
is called only for rows that SQLite's own LIKE and GLOB cannot decide.
"""

import re
import unicodedata
from functools import cache
from typing import Any, Final

MAX_GLOB: Final = 40
"""Characters of the searched text that a GLOB looks for: SQLite limits its length."""
_FOLDING: Final = 0x20000
"""Characters from here on have no case."""
_BLOCK: Final = 64
"""Characters looked at together: most have no case."""
_NOT_AS_THEY_ARE: Final = re.compile(r'["\\\x00-\x1f]')
"""What stands in JSON's strings only escaped (RFC 8259, section 7); all else is as it is."""


def folded_forms(text: str) -> tuple[str, str]:
    """What is looked for in folded keys, which are in NFC, and in folded texts of values."""
    return unicodedata.normalize("NFC", text).casefold(), text.casefold()


def condition(text: str, may_be_beyond_ascii: str) -> tuple[str, dict[str, Any]]:
    """A condition that `s.key` or `s.value` contains `text`, and its parameters.

    `may_be_beyond_ascii` is SQL for whether a row can have characters beyond ASCII.
    """
    key, folded = folded_forms(text)
    bound = {
        "in_value": folded,
        "in_value_like": _like(folded),
        "in_value_glob": _glob(folded),
        "in_key": key,
        "in_key_like": _like(key),
        "in_key_glob": _glob(key),
    }
    parts = []
    if key.isascii() and key.isprintable():  # as every key in ASCII is
        parts.append(_KEY_IS_LIKE)
    if folded.isascii():
        parts.append(_in_value(folded))
    sides = ((key, _KEY_BEYOND_ASCII), (folded, _VALUE_BEYOND_ASCII))
    if slow := [found for wanted, found in sides if not wanted.isascii() or _sources(wanted)]:
        parts.append(f"{may_be_beyond_ascii} AND ({' OR '.join(slow)})")
    return f"({' OR '.join(parts)})", bound


def _in_value(folded: str) -> str:
    """The condition that a folded text in ASCII is in `s.value`, of which LIKE folds the ASCII."""
    if _NOT_AS_THEY_ARE.search(folded):
        return f"({_VALUE_IS_LIKE} OR {_HAS_ESCAPE}) AND {_VALUE_CONTAINS}"
    # The n of an escaped line end is no n.
    return f"{_VALUE_IS_LIKE} AND (NOT {_HAS_ESCAPE} OR {_VALUE_CONTAINS})"


def _like(folded: str) -> str:
    """The pattern of LIKE for anything with the text in it, which escapes by `!`."""
    escaped = folded.replace("!", "!!").replace("%", "!%").replace("_", "!_")
    return f"%{escaped}%"


def _glob(folded: str) -> str:
    """A pattern of GLOB that every text matches which LIKE does not find and `folded` is in.

    Of a text in ASCII: that has another character which folds to some of it. Else: that has the
    beginning of `folded` in any case.
    """
    if folded.isascii():
        return f"*[{_sources(folded)}]*"
    return "*" + "".join(map(_class, folded[:MAX_GLOB])) + "*"


def _class(char: str) -> str:
    """A part of a GLOB for whatever folds to a character; `*` where that is not one character.

    Also where it may be escaped in JSON.
    """
    others = _folded_from().get(char, "")
    if _NOT_AS_THEY_ARE.match(char) or any(len(other.casefold()) > 1 for other in others):
        return "*"
    return f"[{char}{others}]" if char != "^" else "?"


def _sources(folded: str) -> str:
    """The characters beyond ASCII that fold to something with a character of a text in ASCII."""
    found = {other for char in folded for other in _folded_from().get(char, "")}
    return "".join(sorted(other for other in found if not other.isascii()))


@cache
def _folded_from() -> dict[str, str]:
    """All characters that fold to others, by each character that these have: ß and S by s."""
    found: dict[str, str] = {}
    for start in range(0, _FOLDING, _BLOCK):
        block = "".join(map(chr, range(start, start + _BLOCK)))
        if block.casefold() != block:
            for char in block:
                for part in set(char.casefold()) - {char}:
                    found[part] = found.get(part, "") + char
    return found


_HAS_ESCAPE: Final = r"instr(s.value, '\')"
_KEY_IS_LIKE: Final = "s.key LIKE :in_key_like ESCAPE '!'"
_VALUE_IS_LIKE: Final = "s.value LIKE :in_value_like ESCAPE '!'"
_VALUE_CONTAINS: Final = "value_contains(:in_value, s.value)"
_KEY_BEYOND_ASCII: Final = (
    "octet_length(s.key) <> length(s.key) "
    "AND s.key GLOB :in_key_glob AND key_contains(:in_key, s.key)"
)
_VALUE_BEYOND_ASCII: Final = (
    "octet_length(s.value) <> length(s.value) "
    f"AND s.value GLOB :in_value_glob AND {_VALUE_CONTAINS}"
)
