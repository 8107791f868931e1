"""How values, numbers and times read on screen, and which characters never reach the page raw."""

import re
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import msgspec
from markupsafe import Markup

from signalbox.ui import invisible_characters

LONGEST: Final = 240
"""Characters of a value that a row shows; the editor has the rest."""

_KINDS: Final = dict(zip('ntf"[{', "null boolean boolean text list object".split(), strict=True))
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
"""Characters up to which a text that begins with one of these words is a status."""

# str.splitlines() breaks at some control characters, and Datastar events are made of lines. Those
# have no HTML reference either (&#133; is an ellipsis): on screen a sign stands in their place, as
# for all that is not seen.
_CONTROLS: Final = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if code != ord("\t")]
_LINES: Final = (0x0A, 0x0D, 0x85, 0x2028, 0x2029)
_SIGNS: Final = dict.fromkeys(invisible_characters.CODES - {ord("\t")}, "\ufffd") | dict.fromkeys(
    _LINES, "\u21b5"
)
_BREAKS: Final = {code: _SIGNS[code] for code in (*_CONTROLS, *_LINES) if code != ord("\n")}
_JSON_BREAKS: Final = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


class Shown(NamedTuple):
    """A value as a row shows it. `tone` colours the dot beside a status word, else empty."""

    kind: str
    text: str
    tone: str = ""


def kind(raw: str) -> str:
    """A JSON text's type as people call it: a key of the colours in the list."""
    return _KINDS.get(raw[0], "number")


def shown(raw: str) -> Shown:
    """The row's text for a value given as compact JSON text."""
    kind_of = kind(raw)
    if kind_of != "text":
        return Shown(kind_of, visible(cut(_spaced(raw[: LONGEST + 1]))))
    text = opening(raw)
    if _LOOKS_LIKE_JSON.fullmatch(text) or not text.strip():
        # Beside a number 37, the text "37" must be seen to be one.
        return Shown(kind_of, visible(cut(f'"{text}"')))
    word = _FIRST_WORD.match(text.lower()) if len(text) <= _STATUS else None
    return Shown(kind_of, visible(cut(text)), _TONE_OF.get(word[0], "") if word else "")


def _spaced(raw: str) -> str:
    return _TOKENS.sub(lambda token: token[1] or f"{token[2]} ", raw)


def opening(raw: str) -> str:
    """The first characters of the text in a JSON string, without decoding all of a long one."""
    if len(raw) <= 2 * LONGEST:
        return str(msgspec.json.decode(raw))
    part = raw[: 2 * LONGEST]
    # An escape cut in two would not decode: leave it out.
    part = re.sub(r"(?<!\\)((?:\\\\)*)\\(?:u[0-9a-fA-F]{0,3})?$", r"\1", part)
    part = re.sub(r"\\u[dD][89abAB][0-9a-fA-F]{2}$", "", part)
    return str(msgspec.json.decode(part + '"'))


def cut(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def visible(text: str) -> str:
    """`text` with every character that breaks, hides or turns text as a sign that can be seen."""
    return text.translate(_SIGNS)


def one_piece(html: str) -> str:
    """`html` with nothing but line feeds at which `str.splitlines` would break it."""
    return html.translate(_BREAKS)


def plain_json(raw: str) -> str:
    """The same JSON with control characters and line separators written as escapes."""
    return raw.translate(_JSON_BREAKS)


def number(count: float) -> str:
    return f"{count:,.0f}"


def figure(number: float) -> str:
    """A number as one reads it off a chart: about four figures, `17.18 G`."""
    size = abs(number)
    for name, unit in (("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if unit <= size < unit * 1000:
            return f"{number / unit:.4g} {name}"
    return f"{number:,.0f}" if 1_000 <= size < 1e6 else f"{number:.4g}"


def state(raw: str) -> str:
    """A JSON text as the name of a level: booleans as on and off."""
    return {"true": "on", "false": "off"}.get(raw) or shown(raw).text


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 key`, `1,204 keys`."""
    return f"{number(count)} {noun if count == 1 else plural or noun + 's'}"


def rate(per_second: float) -> str:
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


def since(at: int, now: int) -> str:
    """As `ago`, within a sentence."""
    passed = ago(at, now)
    return "just now" if passed == "now" else f"{passed} ago"


def moment(at: int) -> str:
    """A time in ms as local date and time with its zone."""
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S %z")


def clock(at: str) -> str:
    """A time in ISO 8601 as local time of the day."""
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")


def who(actor: str, own: str) -> str:
    """The actor as people call it; every window is its own actor `window.<id>`."""
    if actor == own:
        return "this window"
    return "another window" if actor.startswith("window.") else actor


def deed(kind: str) -> str:
    """A command's type as Activity names it; what it touches stands beside it."""
    return "delete" if kind == "delete_prefix" else kind


def by(actor: str, own: str) -> str:
    """As `who`, in a column."""
    return who(actor, own).removeprefix("another ")


def split(key: str, search: str = "") -> tuple[Markup, Markup]:
    """What a key's last segment stands below, with the dot, and that segment.

    Where `search` is found it is marked, across the two if need be.
    """
    key = visible(key)
    middle = key.rfind(".") + 1
    return marked(key, search, 0, middle), marked(key, search, middle, len(key))


def marked(text: str, search: str, start: int = 0, end: int | None = None) -> Markup:
    """`text` from `start` to `end` with every `search` in it, whatever its case, in `<mark>`."""
    end = len(text) if end is None else end
    pieces, done = Markup(""), start
    for found in re.finditer(re.escape(search), text, re.IGNORECASE) if search else ():
        low, high = max(done, found.start()), min(end, found.end())
        if low < high:
            pieces += Markup("{}<mark>{}</mark>").format(text[done:low], text[low:high])
            done = high
    return pieces + text[done:end]


def filters() -> dict[str, Any]:
    """The words as Jinja filters."""
    return {
        "ago": ago,
        "by": by,
        "clock": clock,
        "counted": counted,
        "deed": deed,
        "marked": marked,
        "moment": moment,
        "number": number,
        "plain_json": plain_json,
        "rate": rate,
        "shown": shown,
        "since": since,
        "split": split,
        "visible": visible,
        "who": who,
    }
