"""The query of a window: the parameters of its page stream, validated."""

import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from signalbox.server.model.errors import quoted
from signalbox.server.model.keys import is_pattern
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.state_query import Filter

MAX_ATTEMPTS: Final = 1_000
MAX_VERSIONS: Final = 500
"""Of a key's history in one list; older versions are on the next page."""
MAX_REVISION: Final = 10**12
MAX_DIFFERENCES: Final = 1_000

Prefix = Annotated[str, Meta(pattern=r"^([^*]{1,256}\.)?$")]
OpenBranch = tuple[Prefix, Annotated[int, Meta(ge=1, le=5_000)]]

RegionContent = tuple[str, dict[str, Any], bool]
"""A region's HTML, its signals, and whether it is complete."""
RegionRenderer = Callable[[int], RegionContent]
"""Renders one region; the argument is the current time in ms since 1970 UTC."""


class WindowQuery(msgspec.Struct, frozen=True, rename={"start": "from"}):
    """The parameters of a window's stream: the page's signals of the same names.

    `at` and `until` -1, `moment` (ms since 1970) and `before` 0 mean now. The revision shown is
    `at`, the last one not later than `moment`, or where the page is held the revision `pinned`.
    """

    actor: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")] = "window"
    view: Literal["keys", "activity", "sources", "diff"] = "keys"
    prefix: Prefix = ""
    text: Annotated[str, Meta(max_length=500)] = ""
    type: Literal["", "null", "boolean", "number", "string", "array", "object"] = ""
    sort: Literal["key", "changed"] = "key"
    start: Annotated[int, Meta(ge=0, le=MAX_REVISION)] = 0
    rows: Annotated[int, Meta(ge=1, le=500)] = 60
    open: Annotated[list[OpenBranch], Meta(max_length=200)] = []
    key: Annotated[str, Meta(max_length=256)] = ""
    find: Annotated[str, Meta(max_length=256)] = ""
    hold: bool = False
    held: int = -1
    pinned: Annotated[int, Meta(ge=-1, le=MAX_REVISION)] = -1
    only: Literal["", "rejected"] = ""
    by: Annotated[str, Meta(pattern=r"^([A-Za-z0-9_.@-]{1,64}|\*)?$")] = ""
    attempts: Annotated[int, Meta(ge=1, le=MAX_ATTEMPTS)] = 100
    versions: Annotated[int, Meta(ge=1, le=MAX_VERSIONS)] = 20
    before: Annotated[int, Meta(ge=0, le=MAX_REVISION)] = 0
    span: Literal["15m", "1h", "1d", "all"] = "1h"
    since: Annotated[int, Meta(ge=0, le=MAX_REVISION)] = 0
    until: Annotated[int, Meta(ge=-1, le=MAX_REVISION)] = -1
    scope: Literal["key", "prefix", "all"] = "all"
    differences: Annotated[int, Meta(ge=1, le=MAX_DIFFERENCES)] = 200
    behind: Annotated[str, Meta(max_length=256)] = ""
    at: Annotated[int, Meta(ge=-1, le=MAX_REVISION)] | None = None
    moment: Annotated[int, Meta(ge=0, le=MAX_REVISION * 10)] = 0
    stretch: Literal["15m", "1h", "1d", "all"] = "1h"
    again: int = 0
    have: dict[str, str] = {}

    @property
    def is_past(self) -> bool:
        """Whether an earlier moment was requested: then nothing can be changed."""
        is_pinned = self.hold and self.at == self.pinned
        return self.moment > 0 or (self.at is not None and self.at >= 0 and not is_pinned)

    def with_shown_revision(self, readmodel: ReadModel) -> "WindowQuery":
        """The window's query with the revision to show in `at`, None for the current one."""
        newest, at, pinned = readmodel.revision, self.at, -1
        if self.moment:
            at = readmodel.log.revision_at(self.moment)
        elif not self.is_past:
            if self.hold:
                pinned = self.pinned if 0 <= self.pinned <= newest else newest
            at = pinned if self.hold else None
        return replace(self, at=None if at is None else min(at, newest), pinned=pinned)

    def filter(self) -> Filter:
        """The filter of the list: a text with `*` and else only characters of keys is a pattern;
        any other text is searched for, also one with a star between spaces, as in a sum.
        """
        text, kind = self.text.strip(), self.type or None
        pattern = unicodedata.normalize("NFC", text)  # in whichever form it was typed
        if "*" in text and " * " not in text and is_pattern(pattern):
            return Filter(pattern, kind)
        return Filter(f"{self.prefix}**", kind, text or None)


def invalid_field_message(signals: dict[str, Any]) -> str:
    """Which parameter of a window is invalid, with the JSON Schema of what is allowed."""
    for field in msgspec.structs.fields(WindowQuery):
        name = field.encode_name
        try:
            if name in signals:
                msgspec.convert(signals[name], field.type)
        except msgspec.ValidationError:
            allowed = msgspec.json.encode(msgspec.json.schema(field.type)).decode()
            return (
                f"The field {name} of the parameter datastar is {quoted(signals[name])}; allowed "
                f"is {allowed}."
            )
    return "The parameter datastar is none that a window sends."
