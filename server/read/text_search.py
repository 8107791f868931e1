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


def condition(text: str) -> tuple[str, dict[str, Any]]:
    """A condition that `s.key` or `s.value` contains `text`, and its parameters."""
    folded = text.casefold()
    key = unicodedata.normalize("NFC", text).casefold()  # whichever form was typed
    bound = {
        "folded": folded,
        "like": _like(folded),
        "glob": _glob(folded),
        "key": key,
        "key_like": _like(key),
        "key_glob": _glob(key),
    }
    return f"({_in_key(key)} OR {_in_value(folded)})", bound


def _in_key(folded: str) -> str:
    """The condition that `s.key` contains the folded text. LIKE folds the case of ASCII."""
    if not folded.isascii():
        return _KEY_BEYOND_ASCII
    if not folded.isprintable():
        return "FALSE"  # no key has a control character
    if not _sources(folded):
        return "s.key LIKE :key_like ESCAPE '!'"
    return f"s.key LIKE :key_like ESCAPE '!' OR {_KEY_BEYOND_ASCII}"


def _in_value(folded: str) -> str:
    """The condition that the text of `s.value` contains the folded text."""
    if not folded.isascii():
        return _VALUE_BEYOND_ASCII
    if _NOT_AS_THEY_ARE.search(folded):
        found = f"(s.value LIKE :like ESCAPE '!' OR {_HAS_ESCAPE}) AND {_VALUE_CONTAINS}"
    else:
        # The n of an escaped line end is no n.
        found = f"s.value LIKE :like ESCAPE '!' AND (NOT {_HAS_ESCAPE} OR {_VALUE_CONTAINS})"
    return f"{found} OR {_VALUE_BEYOND_ASCII}" if _sources(folded) else found


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
_VALUE_CONTAINS: Final = "value_contains(:folded, s.value)"
_KEY_BEYOND_ASCII: Final = (
    "octet_length(s.key) <> length(s.key) AND s.key GLOB :key_glob AND key_contains(:key, s.key)"
)
_VALUE_BEYOND_ASCII: Final = (
    f"octet_length(s.value) <> length(s.value) AND s.value GLOB :glob AND {_VALUE_CONTAINS}"
)
