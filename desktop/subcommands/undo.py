"""`undo` and `redo`: one's own last command or a named one, and what stands in the way."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

import signalbox
from desktop.subcommands import (
    REJECTED,
    attempt,
    complain,
    connect,
    data_dir_option,
    json_option,
    print_ack,
    print_json,
    say,
    shown,
    visible,
)
from desktop.subcommands.tables import pages

SHOWN: Final = 20
"""So many keys, or commands, are named one by one."""
DELETED: Final = "(deleted)"

Record = dict[str, Any]


@click.command("undo")
@click.option("--of", metavar="ID", help="This command or import instead of the last one.")
@click.option("--keep", metavar="KEY", multiple=True, help="Leave this key as it is now.")
@click.option(
    "--replace",
    metavar="KEY=REV",
    multiple=True,
    help="Undo this key although it has changed since, if it is still at this revision.",
)
@click.option(
    "--actor", default="cli", metavar="NAME", help="Whose last command; cli if not given."
)
@json_option
@data_dir_option
def undo(
    of: str | None,
    keep: tuple[str, ...],
    replace: tuple[str, ...],
    actor: str,
    as_json: bool,
    data_dir: Path,
) -> int:
    """Undo what this command line did last."""
    revisions = dict(_replaced(text) for text in replace)
    with connect(data_dir, actor=actor) as box:
        try:
            ack = box.undo(of, keep=keep, replace=revisions)
        except signalbox.Rejected as error:
            if error.code == "conflict" and error.keys:
                return _tell_conflict(box, error, of, as_json)
            if error.code != "too_large" or of is None:
                raise
            return _undo_batches(box, of, keep, revisions, as_json)
        _tell(box, "undone", ack, as_json)
    return 0


@click.command("redo")
@click.option("--of", metavar="ID", help="This undo instead of the last one.")
@click.option("--actor", default="cli", metavar="NAME", help="Whose last undo; cli if not given.")
@json_option
@data_dir_option
def redo(of: str | None, actor: str, as_json: bool, data_dir: Path) -> int:
    """Take back what this command line undid last."""
    with connect(data_dir, actor=actor) as box:
        try:
            ack = box.redo(of)
        except signalbox.Rejected as error:
            if error.code != "conflict" or not error.keys:
                raise
            return _tell_conflict(box, error, of, as_json)
        _tell(box, "done again", ack, as_json)
    return 0


def _replaced(text: str) -> tuple[str, int]:
    key, _, revision = text.rpartition("=")
    if not (key and revision.isascii() and revision.isdigit()):
        raise click.UsageError(f"--replace is {text!r}; needed is KEY=REV, a key's revision now.")
    return key, int(revision)


def _tell(box: signalbox.Box, word: str, ack: Record, as_json: bool) -> None:
    """What has been undone, then the acknowledgement."""
    if not as_json:
        told = _named(box, ack["id"], None)
        for record in told[:SHOWN]:
            key = record.get("key") or "several keys"
            say(visible(f"{word}: {record['type']} {key} by {record['actor']}, {record['at']}"))
        if len(told) > SHOWN:
            say(f"… and {len(told) - SHOWN:,} more")
    print_ack(ack, as_json)


def _named(box: signalbox.Box, identity: str | None, of: str | None) -> list[Record]:
    """The commands that an undo or redo is about, by what is kept of it."""
    about = attempt(box, identity) if identity else None
    names = (about or {}).get("of") or ([of] if of else [])
    return [record for name in names if (record := attempt(box, name)) is not None]


def _undo_batches(
    box: signalbox.Box,
    of: str,
    keep: Sequence[str],
    replace: dict[str, int],
    as_json: bool,
) -> int:
    """Undo an import that no one transaction can hold: its own transactions, from the last."""
    changes = revision = 0
    for batch in reversed(list(_batches(box, of))):
        try:
            ack = box.undo(batch, keep=keep, replace=replace)
        except signalbox.Rejected as error:
            if error.code == "nothing_to_undo":  # an earlier try came as far as this
                continue
            if error.code != "conflict" or not error.keys:
                raise
            return _tell_conflict(box, error, batch, as_json)
        changes, revision = changes + ack["changes"], ack["revision"]
        if not as_json:
            say(f"undone: {batch}, {ack['changes']:,} changes")
    if not revision:
        raise signalbox.Rejected(
            409, {"code": "nothing_to_undo", "message": f"The import {of} is undone already."}
        )
    ack = {"id": of, "status": "accepted", "revision": revision, "changes": changes}
    print_ack(ack | {"changed": changes > 0}, as_json)
    return 0


def _batches(box: signalbox.Box, of: str) -> Iterator[str]:
    """The ids of an import's batches that have changed something."""
    number = 1
    while (record := attempt(box, f"{of}-{number}")) is not None:
        if record.get("changed"):
            yield f"{of}-{number}"
        number += 1


def _tell_conflict(
    box: signalbox.Box, error: signalbox.Rejected, of: str | None, as_json: bool
) -> int:
    """Each key with who changed it, what it is now, and what undoing would make of it."""
    undone = _named(box, error.id, of)
    conflicts = [_conflict(box, key, undone) for key in error.keys[:SHOWN]]
    if as_json:
        fields = {"code": error.code, "message": error.message, "keys": error.keys}
        print_json({"id": error.id, "status": "rejected", **fields, "conflicts": conflicts})
        return REJECTED
    complain(error.message)
    for one in conflicts:
        now, back = (_side(one, name) for name in ("now", "back"))
        say(visible(f"{one['key']}: {one['actor']} made it {now} in revision {one['revision']}"))
        say(visible(f"  undone it would be {back}"))
    if len(error.keys) > SHOWN:
        say(f"… and {len(error.keys) - SHOWN:,} more")
    say("To leave a key as it is: --keep KEY. To undo it all the same: --replace KEY=REVISION.")
    return REJECTED


def _conflict(box: signalbox.Box, key: str, undone: list[Record]) -> Record:
    """`now` and `back` are left out where the key is, or would be, missing."""
    history = "history/" + quote(key, safe="")
    now = box.query(history, limit=1)["items"][0]
    found = {"key": key, "actor": now["actor"], "revision": now["revision"], "at": now["at"]}
    if "value" in now:
        found["now"] = now["value"]
    before = _before(box, history, undone)
    return found | ({"back": before["value"]} if "value" in before else {})


def _before(box: signalbox.Box, history: str, undone: list[Record]) -> Record:
    """The version of a key that the commands which are to be undone found."""
    if not undone:
        return {}
    names, revisions = {one["id"] for one in undone}, [one["revision"] for one in undone]
    is_behind = False
    for page in pages(box, history, position="before", first=max(revisions) + 1, limit=100):
        for version in page["items"]:
            if is_behind and version["id"] not in names:
                return dict(version)
            is_behind = version["revision"] <= min(revisions) or version["id"] in names
    return {}


def _side(one: Record, name: str) -> str:
    return shown(one[name]) if name in one else DELETED


SUBCOMMANDS: Final = (undo, redo)
