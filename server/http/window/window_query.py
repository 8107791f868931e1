"""What a window asks to see: the parameters of its stream; and how a region of it answers."""

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

MOST_ATTEMPTS: Final = 1_000
MOST_VERSIONS: Final = 500
"""Of a key's history that one list shows; older ones begin another."""
MOST_REVISION: Final = 10**12
MOST_DIFFERENCES: Final = 1_000

Prefix = Annotated[str, Meta(pattern=r"^([^*]{1,256}\.)?$")]
OpenBranch = tuple[Prefix, Annotated[int, Meta(ge=1, le=5_000)]]

RegionContent = tuple[str, dict[str, Any], bool]
"""A region's HTML, signals that belong to it, and whether it is complete."""
RegionRenderer = Callable[[int], RegionContent]
"""Looks at one region, at a moment in ms since 1970 UTC."""


class WindowQuery(msgspec.Struct, frozen=True, rename={"start": "from"}):
    """The parameters of a window's stream: the page's signals of the same names.

    `at` and `until` -1, `moment` (ms since 1970) and `before` 0 mean now. What is shown is `at`,
    the last revision not later than `moment`, or where the picture is held the revision `pinned`.
    """

    actor: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")] = "window"
    view: Literal["keys", "activity", "sources", "diff"] = "keys"
    prefix: Prefix = ""
    text: Annotated[str, Meta(max_length=500)] = ""
    type: Literal["", "null", "boolean", "number", "string", "array", "object"] = ""
    sort: Literal["key", "changed"] = "key"
    start: Annotated[int, Meta(ge=0, le=MOST_REVISION)] = 0
    rows: Annotated[int, Meta(ge=1, le=500)] = 60
    open: Annotated[list[OpenBranch], Meta(max_length=200)] = []
    key: Annotated[str, Meta(max_length=256)] = ""
    find: Annotated[str, Meta(max_length=256)] = ""
    hold: bool = False
    held: int = -1
    pinned: Annotated[int, Meta(ge=-1, le=MOST_REVISION)] = -1
    only: Literal["", "rejected"] = ""
    by: Annotated[str, Meta(pattern=r"^([A-Za-z0-9_.@-]{1,64}|\*)?$")] = ""
    attempts: Annotated[int, Meta(ge=1, le=MOST_ATTEMPTS)] = 100
    versions: Annotated[int, Meta(ge=1, le=MOST_VERSIONS)] = 20
    before: Annotated[int, Meta(ge=0, le=MOST_REVISION)] = 0
    span: Literal["15m", "1h", "1d", "all"] = "1h"
    since: Annotated[int, Meta(ge=0, le=MOST_REVISION)] = 0
    until: Annotated[int, Meta(ge=-1, le=MOST_REVISION)] = -1
    scope: Literal["key", "prefix", "all"] = "all"
    differences: Annotated[int, Meta(ge=1, le=MOST_DIFFERENCES)] = 200
    behind: Annotated[str, Meta(max_length=256)] = ""
    at: Annotated[int, Meta(ge=-1, le=MOST_REVISION)] | None = None
    moment: Annotated[int, Meta(ge=0, le=MOST_REVISION * 10)] = 0
    stretch: Literal["15m", "1h", "1d", "all"] = "1h"
    again: int = 0
    have: dict[str, str] = {}

    @property
    def is_past(self) -> bool:
        """Whether a moment was asked for: then nothing can be changed."""
        is_pinned = self.hold and self.at == self.pinned
        return self.moment > 0 or (self.at is not None and self.at >= 0 and not is_pinned)

    def settled(self, readmodel: ReadModel) -> "WindowQuery":
        """With the revision that is to be shown as `at`, None for now."""
        newest, at, pinned = readmodel.revision, self.at, -1
        if self.moment:
            at = readmodel.log.revision_at(self.moment)
        elif not self.is_past:
            if self.hold:
                pinned = self.pinned if 0 <= self.pinned <= newest else newest
            at = pinned if self.hold else None
        return replace(self, at=None if at is None else min(at, newest), pinned=pinned)

    def filter(self) -> Filter:
        """A text with `*` and else only what keys can have is a glob; any other is searched for.

        So is one with a star between spaces, as in a sum.
        """
        text, kind = self.text.strip(), self.type or None
        pattern = unicodedata.normalize("NFC", text)  # whichever form was typed
        if "*" in text and " * " not in text and is_pattern(pattern):
            return Filter(pattern, kind)
        return Filter(f"{self.prefix}**", kind, text or None)


def wrong(signals: dict[str, Any]) -> str:
    """Which of a window's parameters is not as it must be, with JSON Schema of what is allowed."""
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
