"""What stands in the way of an undo or redo: key by key, whose it is now, and what it would be."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from signalbox import client
from signalbox.desktop.subcommands import attempt
from signalbox.desktop.subcommands.tables import pages

SHOWN: Final = 20
"""So many keys are looked at."""
SEARCHED: Final = 10_000
"""So many versions of a key at most, which may have gone on changing since."""
REVERSING: Final = ("undo", "redo")

Record = dict[str, Any]


class Wish(NamedTuple):
    """What was to be reversed: `type` undo or redo, `of` a command, an import or None: the last."""

    type: str
    of: str | None
    actor: str


def conflicts(box: client.Box, keys: list[str], wish: Wish) -> Iterator[Record]:
    """Each as `{"key", "actor", "revision", "at", "now"?, "is_known", "back"?}`: the latest change,
    and what the key would be again.

    A side without a value is left out. Where too much has happened since, `is_known` is false.
    """
    for key in keys[:SHOWN]:
        search = _Search(box, key, wish)
        latest, before = search.latest_and_before()
        about = {name: latest[name] for name in ("actor", "revision", "at")}
        now = {"now": latest["value"]} if "value" in latest else {}
        back = {"back": before["value"]} if before and "value" in before else {}
        yield {"key": key, "is_known": before is not None} | about | now | back


class _Search:
    """Goes back through what became of a key to what the wish is about, and one further."""

    def __init__(self, box: client.Box, key: str, wish: Wish) -> None:
        self._box = box
        self._history = "history/" + quote(key, safe="")
        self._wish = wish
        self._reversed = set[str]()
        self._first = self._first_revision()

    def latest_and_before(self) -> tuple[Record, Record | None]:
        latest: Record = {}
        is_found = False
        for version in self._versions():
            latest = latest or version
            if is_found and version["revision"] < self._first:
                return latest, version
            if self._is_meant(version):
                is_found, self._first = True, min(self._first, version["revision"])
        return latest, {} if is_found else None

    def _versions(self) -> Iterator[Record]:
        seen = 0
        for page in pages(self._box, self._history, position="before", limit=1_000):
            yield from page["items"]
            if (seen := seen + len(page["items"])) >= SEARCHED:
                return

    def _first_revision(self) -> int:
        """The first that is reversed, as far as the wish says; else that of the one found."""
        for name in (self._wish.of, f"{self._wish.of}-1"):
            record = attempt(self._box, name) if name else None
            if record and "revision" in record and self._wish.type == "undo":
                return int(record["revision"])
        return 1 << 62

    def _is_meant(self, version: Record) -> bool:
        of, identity, kind = self._wish.of, version["id"], version["type"]
        undone = self._undone(version) if kind in REVERSING else []
        if of is None:
            is_own = version["actor"] == self._wish.actor and identity not in self._reversed
            wanted = kind == "undo" if self._wish.type == "redo" else kind not in REVERSING
            return is_own and wanted
        if identity == of or (kind == "import" and identity.startswith(f"{of}-")):
            return self._wish.type == "undo" or kind in REVERSING
        return self._wish.type == "redo" and kind == "undo" and of in undone

    def _undone(self, version: Record) -> list[str]:
        """What an undo or redo reversed, which it did unless it has been reversed itself."""
        names: list[str] = (attempt(self._box, version["id"]) or {}).get("of", [])
        if version["id"] not in self._reversed:
            self._reversed.update(names)
        return names
