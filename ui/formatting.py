"""Formats values, numbers, times and actors for the page, and escapes invisible characters."""

import re
import sys
import time
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NamedTuple

import msgspec
from markupsafe import Markup, escape

from signalbox.ui import invisible_characters

ZONE_SECONDS: Final = 60
"""After so long the system's time zone is read again."""
MAX_CHARACTERS: Final = 240
"""Characters of a value in a row; the editor shows all of it."""

_TYPE_NAMES: Final = dict(
    zip('ntf"[{', "null boolean boolean text list object".split(), strict=True)
)
_LOOKS_LIKE_JSON: Final = re.compile(
    r"\s*(?:-?\d[\d.eE+-]*|true|false|null|[\[{\"].*)\s*", re.DOTALL
)
_TOKENS: Final = re.compile(r'("(?:\\.|[^"\\])*"?)|([,:])')
_FIRST_WORD: Final = re.compile(r"[a-z]+")
_TONES: Final = {
    "good": "ok okay green pass passed success succeeded healthy up online ready running done",
    "bad": "fail failed failure error red down offline broken critical fatal crashed unhealthy",
    "warn": "warn warning yellow amber degraded pending waiting stale",
}
_TONE_OF: Final = {word: tone for tone, words in _TONES.items() for word in words.split()}
_STATUS: Final = 80
"""A text that begins with one of these words is a status up to so many characters."""

# str.splitlines() breaks at some control characters, and Datastar events consist of lines. They
# have no HTML reference either (&#133; is an ellipsis): the page shows a sign instead, as for all
# invisible characters.
_CONTROLS: Final = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")]
_LINES: Final = (0x0A, 0x0D, 0x85, 0x2028, 0x2029)
_VISIBLE_SIGNS: Final = dict.fromkeys(
    invisible_characters.CODES - {ord("\t")}, "\ufffd"
) | dict.fromkeys(_LINES, "\u21b5")
_LINE_BREAKS: Final = {
    code: _VISIBLE_SIGNS[code] for code in (*_CONTROLS, *_LINES) if code != ord("\n")
}
_JSON_BREAKS: Final = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


class ValueSummary(NamedTuple):
    """A value in a row. `tone` is the colour of the dot beside a status word, else empty."""

    kind: str
    text: str
    tone: str = ""


def type_name(raw: str) -> str:
    """The name of a JSON text's type for people, by which the list is coloured."""
    return _TYPE_NAMES.get(raw[0], "number")


def value_summary(raw: str) -> ValueSummary:
    """The text in a row for a value given as compact JSON."""
    kind_of = type_name(raw)
    if kind_of != "text":
        return ValueSummary(kind_of, mark_invisible(truncate(_spaced(raw[: MAX_CHARACTERS + 1]))))
    text = string_start(raw)
    if _LOOKS_LIKE_JSON.fullmatch(text) or not text.strip():
        # The text "37" must differ from the number 37.
        return ValueSummary(kind_of, mark_invisible(truncate(f'"{text}"')))
    word = _FIRST_WORD.match(text.lower()) if len(text) <= _STATUS else None
    return ValueSummary(
        kind_of, mark_invisible(truncate(text)), _TONE_OF.get(word[0], "") if word else ""
    )


def _spaced(raw: str) -> str:
    """JSON with a space behind commas and colons, as people write it."""
    return _TOKENS.sub(lambda token: token[1] or f"{token[2]} ", raw)


def string_start(raw: str) -> str:
    """The beginning of the text in a JSON string, without decoding all of a long one."""
    if len(raw) <= 2 * MAX_CHARACTERS:
        return str(msgspec.json.decode(raw))
    part = raw[: 2 * MAX_CHARACTERS]
    # An escape cut in two would not decode: leave it out.
    part = re.sub(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$", r"\1", part)
    part = re.sub(r"\\u[dD][89abAB][0-9a-fA-F]{2}$", "", part)
    return str(msgspec.json.decode(part + '"'))


def truncate(text: str, longest: int = MAX_CHARACTERS) -> str:
    """A text that is no longer than fits, with an ellipsis where it was cut."""
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def mark_invisible(text: str) -> str:
    """`text` with a visible sign for each character that is invisible or changes the layout."""
    if text.isascii() and text.isprintable():
        return text  # as nearly all are
    return text.translate(_VISIBLE_SIGNS)


def escape_line_breaks(html: str) -> str:
    """`html` in which `str.splitlines` breaks at line feeds alone."""
    return html.translate(_LINE_BREAKS)


def escape_controls(raw: str) -> str:
    """A JSON text with control characters and line separators escaped."""
    return raw.translate(_JSON_BREAKS)


def number(count: float) -> str:
    """A count as the page shows it, with commas between thousands."""
    return f"{count:,.0f}"


def short_number(number: float) -> str:
    """A number with about four digits and a unit prefix: `17.18 G`."""
    size = abs(number)
    for name, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if unit <= size < unit * 1000:
            return f"{number / unit:.4g} {name}"
    return f"{number:,.0f}" if 1_000 <= size < 1e6 else f"{number:.4g}"


def level_name(raw: str) -> str:
    """A JSON text as the label of a level in a chart: booleans as on and off."""
    return {"true": "on", "false": "off"}.get(raw) or value_summary(raw).text


def counted(count: int, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 key`, `1,204 keys`."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"


def rate_text(per_second: float) -> str:
    """Changes per second, one decimal below ten."""
    return f"{per_second:.1f}" if 0 < per_second < 9.95 else number(per_second)


def ago(at: int, now: int) -> str:
    """How long ago `at` was, both in ms: `now`, `4 s`, `5 min`, `6 h`, `3 d`."""
    seconds = max(0, now - at) // 1000
    if seconds < 1:
        return "now"
    for size, name in ((60, "s"), (60, "min"), (24, "h")):
        if seconds < size:
            return f"{seconds} {name}"
        seconds //= size
    return f"{seconds} d"


def time_since(at: int, now: int) -> str:
    """How long ago something was, within a sentence; as `ago`."""
    passed = ago(at, now)
    return "just now" if passed == "now" else f"{passed} ago"


def local_time(at: int) -> str:
    """A time in ms as local date and time with its zone.

    A change of the system's zone is seen within a minute, where the C library tells of it.
    """
    return _local_time(at // 1000, _read_zone(int(time.monotonic() // ZONE_SECONDS)))


@lru_cache(maxsize=1)
def _read_zone(period: int) -> int:
    """Have the C library read the system's time zone, which it else keeps; once a period."""
    if sys.platform != "win32":  # it has no such function
        time.tzset()
    return period


@lru_cache(maxsize=4_000)
def _local_time(seconds: int, _zone: int) -> str:
    """The same of a time in seconds; remembered until the zone is read again."""
    local = datetime.fromtimestamp(seconds, UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S %z")


def time_of_day(at: str) -> str:
    """A time in ISO 8601 as local time of the day."""
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")


def actor_name(actor: str, own: str) -> str:
    """The actor for people; every window is an actor `window.<id>`."""
    if actor == own:
        return "this window"
    return "another window" if actor.startswith("window.") else actor


def command_name(kind: str) -> str:
    """A command's type as Activity shows it, with its keys beside it."""
    return "delete" if kind == "delete_prefix" else kind


def actor_column(actor: str, own: str) -> str:
    """The actor of a change in a column of a list; as `actor_name`."""
    return actor_name(actor, own).removeprefix("another ")


def split_key(key: str, search: str = "") -> tuple[Markup, Markup]:
    """The prefix of a key with its dot, and its last segment.

    Matches of `search` are highlighted, also across the two.
    """
    key = mark_invisible(key)
    middle = key.rfind(".") + 1
    search = unicodedata.normalize("NFC", search)
    return highlight(key, search, 0, middle), highlight(key, search, middle, len(key))


def _places(text: str, folded: str) -> Iterator[tuple[int, int]]:
    """Where a case-folded search is in a text: all characters that fold to some of it."""
    parts = [char.casefold() for char in text]
    begins = list(accumulate(map(len, parts), initial=0))
    whole, after = "".join(parts), 0
    while (at := whole.find(folded, after)) >= 0:
        after = at + len(folded)
        yield bisect_right(begins, at) - 1, bisect_left(begins, after)


def highlight(text: str, search: str, start: int = 0, end: int | None = None) -> Markup:
    """`text` from `start` to `end` with every `search` in it, whatever its case, in `<mark>`.

    Case is folded as a search does: "strasse" marks "Straße".
    """
    end = len(text) if end is None else end
    if not search:
        return escape(text[start:end])
    pieces, done = Markup(""), start
    for first, after_last in _places(text, search.casefold()):
        low, high = max(done, first), min(end, after_last)
        if low < high:
            pieces += Markup("{}<mark>{}</mark>").format(text[done:low], text[low:high])
            done = high
    return pieces + text[done:end]


def filters() -> dict[str, Any]:
    """The functions as Jinja filters."""
    return {
        "ago": ago,
        "actor_column": actor_column,
        "time_of_day": time_of_day,
        "counted": counted,
        "command_name": command_name,
        "highlight": highlight,
        "local_time": local_time,
        "number": number,
        "escape_controls": escape_controls,
        "rate_text": rate_text,
        "value_summary": value_summary,
        "time_since": time_since,
        "split_key": split_key,
        "mark_invisible": mark_invisible,
        "actor_name": actor_name,
    }
