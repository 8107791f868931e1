"""`undo` and `redo`: one's own last command or a named one, and what stands in the way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from signalbox import client
from signalbox.desktop.commands import (
    REJECTED,
    Function,
    attempt,
    complain,
    connect,
    json_option,
    print_ack,
    print_json,
    read_dir_option,
    say,
    shown,
    visible,
)
from signalbox.desktop.commands.past import DELETED

SHOWN: Final = 20
"""So many keys or commands are told."""
WORDS: Final = {"undo": "undone", "redo": "done again"}

Record = dict[str, Any]


def _options(function: Function) -> Function:
    """What both take."""
    for option in (
        click.option("--of", metavar="ID", help="This command or import instead of the last one."),
        click.option("--keep", metavar="KEY", multiple=True, help="Leave this key as it is now."),
        click.option(
            "--replace",
            metavar="KEY=REV",
            multiple=True,
            callback=lambda _, __, given: dict(map(_replaced, given)),
            help="This key as well, which has changed since, if it is still at that revision.",
        ),
        click.option("--actor", metavar="NAME", help="Whose last; this command line's otherwise."),
        json_option,
        read_dir_option,
    ):
        function = option(function)
    return function


@click.command("undo")
@_options
def undo(**given: Any) -> int:
    """Undo what this command line did last."""
    return _reverse("undo", **given)


@click.command("redo")
@_options
def redo(**given: Any) -> int:
    """Take back what this command line undid last."""
    return _reverse("redo", **given)


def _replaced(text: str) -> tuple[str, int]:
    key, _, revision = text.rpartition("=")
    if not (key and revision.isascii() and revision.isdigit()):
        raise click.UsageError(
            f"--replace is {text[:80]!r}; needed is KEY=REV, a key's revision now."
        )
    return key, int(revision)


def _reverse(
    type: str,
    of: str | None,
    keep: tuple[str, ...],
    replace: dict[str, int],
    actor: str | None,
    as_json: bool,
    data_dir: Path,
) -> int:
    with connect(data_dir, actor=actor) as box:
        try:
            acks = _send(box, type, of, keep, replace)
        except client.Rejected as error:
            if error.code != "conflict" or not error.keys:
                raise
            _tell_conflict(type, error, as_json)
            return REJECTED
        if not as_json:
            _tell(box, type, [ack["id"] for ack in acks])
    changes = sum(ack["changes"] for ack in acks)
    print_ack(acks[-1] | {"changes": changes, "changed": changes > 0}, as_json)
    return 0


def _send(
    box: client.Box, type: str, of: str | None, keep: tuple[str, ...], replace: dict[str, int]
) -> list[Record]:
    """As one transaction; an import that none can hold by its own ones, undone from the last."""
    command = box.undo if type == "undo" else box.redo
    try:
        return [command(of, keep=keep, replace=replace)]
    except client.Rejected as error:
        batches = list(_batches(box, of)) if error.code == "too_large" and of else []
        if not batches:
            raise
    if type == "undo":
        batches.reverse()
    acks = list[Record]()
    for batch in batches:
        kept = [key for key in keep if _touched(box, batch, key)]
        replaced = {key: at for key, at in replace.items() if _touched(box, batch, key)}
        try:
            acks.append(command(batch["id"], keep=kept, replace=replaced))
        except client.Rejected as error:
            if error.code != "nothing_to_undo":  # an earlier try came as far as this
                raise
    return acks or [command(of, keep=keep, replace=replace)]


def _batches(box: client.Box, of: str) -> Iterator[Record]:
    """Those of an import that have changed something, in order."""
    number = 1
    while (record := attempt(box, f"{of}-{number}")) is not None:
        if record.get("changed"):
            yield record
        number += 1


def _touched(box: client.Box, batch: Record, key: str) -> bool:
    history = "history/" + quote(key, safe="")
    items = box.query(history, before=batch["revision"] + 1, limit=1)["items"]
    return bool(items) and bool(items[0]["revision"] == batch["revision"])


def _tell(box: client.Box, type: str, identities: list[str]) -> None:
    """The commands that are undone or done again, by what is kept of them."""
    names = _reversed(box, identities)
    if type == "redo":  # what it reversed are undos, and nobody asked for those
        names = _reversed(box, names)
    for name in names[:SHOWN]:
        record = attempt(box, name) or {"type": name, "actor": "", "at": ""}
        key = record.get("key") or "several keys"
        say(visible(f"{WORDS[type]}: {record['type']} {key} by {record['actor']}, {record['at']}"))
    if len(names) > SHOWN:
        say(f"… and {len(names) - SHOWN:,} more")


def _reversed(box: client.Box, identities: list[str]) -> list[str]:
    records = [attempt(box, identity) or {} for identity in identities]
    return [name for record in records for name in record.get("of", [])]


def _tell_conflict(type: str, error: client.Rejected, as_json: bool) -> None:
    """Each key with who changed it, what it is now, and what the command would make of it."""
    if as_json:
        fields = {"code": error.code, "message": error.message, "keys": error.keys}
        print_json({"id": error.id, "status": "rejected", **fields, "conflicts": error.effects})
        return
    complain(error.message)
    for one in error.effects[:SHOWN]:
        now = shown(one["now"]) if "now" in one else DELETED
        back = shown(one["back"]) if "back" in one else DELETED
        say(visible(f"{one['key']}: now {now}, by {one['actor']}, revision {one['revision']}"))
        say(visible(f"  {type} would make it {back}"))
    if len(error.keys) > SHOWN:
        say(f"… and {len(error.keys) - SHOWN:,} more")


SUBCOMMANDS: Final = (undo, redo)
