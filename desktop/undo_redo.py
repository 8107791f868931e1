"""What `undo` and `redo` share: options, sending, printing what was reversed or a conflict."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from signalbox import client
from signalbox.desktop.cli_client import connect, find_attempt, import_batches
from signalbox.desktop.click_types import ACTOR, KEY
from signalbox.desktop.exit_status import REJECTED
from signalbox.desktop.options import Function, json_option, read_dir_option
from signalbox.desktop.terminal_output import (
    DELETED,
    escape_for_terminal,
    format_value,
    print_ack,
    print_error,
    print_json,
    print_line,
)
from signalbox.server.model.numbers import is_whole
from signalbox.ui.formatting import counted

MOST_PRINTED: Final = 20
"""So many keys or commands are listed."""
PARTICIPLES: Final = {"undo": "undone", "redo": "done again"}

Attempt = dict[str, Any]


def reversal_options(function: Function) -> Function:
    """The options that `undo` and `redo` share."""
    for option in (
        click.option("--of", metavar="ID", help="This command or import instead of the last one."),
        click.option(
            "--keep", type=KEY, metavar="KEY", multiple=True, help="Leave this key as it is now."
        ),
        click.option(
            "--replace",
            metavar="KEY=REV",
            multiple=True,
            callback=lambda _, __, words: dict(map(_parse_replace, words)),
            help="This key as well, which has changed since, if it is still at that revision.",
        ),
        click.option(
            "--actor", type=ACTOR, metavar="NAME", help="Whose last; this command line's otherwise."
        ),
        json_option,
        read_dir_option,
    ):
        function = option(function)
    return function


def reverse(
    type: str,
    of: str | None,
    keep: tuple[str, ...],
    replace: dict[str, int],
    actor: str | None,
    as_json: bool,
    data_dir: Path,
) -> int:
    """Send an `undo` or `redo` and print its outcome; the exit status."""
    with connect(data_dir, actor=actor) as box:
        try:
            acks = _send(box, type, of, keep, replace)
        except client.Rejected as error:
            if error.code != "conflict" or not error.keys:
                raise
            _print_conflict(type, error, replace, as_json)
            return REJECTED
        if not as_json:
            _print_reversed(box, type, [ack["id"] for ack in acks])
    changes = sum(ack["changes"] for ack in acks)
    print_ack(acks[-1] | {"changes": changes, "changed": changes > 0}, as_json)
    return 0


def _parse_replace(text: str) -> tuple[str, int]:
    """The key and the revision of an option `--replace KEY=REV`."""
    key, _, revision = text.rpartition("=")
    if not (key and is_whole(revision)):
        raise click.UsageError(
            f"--replace is {text[:80]!r}; needed is KEY=REV, a key's revision now."
        )
    return key, int(revision)


def _send(
    box: client.Box, type: str, of: str | None, keep: tuple[str, ...], replace: dict[str, int]
) -> list[Attempt]:
    """The acknowledgements: of one transaction, or where an import is too large for that, of one
    for each of its batches; an undo begins with the last batch.
    """
    command = box.undo if type == "undo" else box.redo
    try:
        return [command(of, keep=keep, replace=replace)]
    except client.Rejected as error:
        if error.code != "too_large" or of is None:
            raise
        batches = [batch for batch in import_batches(box, of) if batch.get("changed")]
        if not batches:
            raise
    if type == "undo":
        batches.reverse()
    acks = list[Attempt]()
    for batch in batches:
        kept = [key for key in keep if _batch_has_changed(box, batch, key)]
        replaced = {key: at for key, at in replace.items() if _batch_has_changed(box, batch, key)}
        try:
            acks.append(command(batch["id"], keep=kept, replace=replaced))
        except client.Rejected as error:
            if error.code != "nothing_to_undo":  # an earlier try has done this batch
                raise
    return acks or [command(of, keep=keep, replace=replace)]


def _batch_has_changed(box: client.Box, batch: Attempt, key: str) -> bool:
    """Whether a batch of an import, which `undo` or `redo` reverses, has changed a key."""
    history = "history/" + quote(key, safe="")
    items = box.query(history, before=batch["revision"] + 1, limit=1)["items"]
    return bool(items) and bool(items[0]["revision"] == batch["revision"])


def _print_reversed(box: client.Box, type: str, ids: list[str]) -> None:
    """The commands that were undone or done again, from what is kept of their attempts."""
    names = _reversed_by(box, ids)
    if type == "redo":  # it reverses undos; what those had undone is what was done again
        names = _reversed_by(box, names)
    for name in names[:MOST_PRINTED]:
        attempt = find_attempt(box, name) or {"type": name, "actor": "", "at": ""}
        command = f"{attempt['type']} {attempt.get('key') or 'several keys'}"
        line = f"{PARTICIPLES[type]}: {command} by {attempt['actor']}, {attempt['at']}"
        print_line(escape_for_terminal(line))
    _print_omitted(len(names))


def _reversed_by(box: client.Box, ids: list[str]) -> list[str]:
    """The ids of the commands that these undos or redos have reversed."""
    attempts = [find_attempt(box, identity) or {} for identity in ids]
    return [name for attempt in attempts for name in attempt.get("of", [])]


def _print_conflict(
    type: str, error: client.Rejected, replace: dict[str, int], as_json: bool
) -> None:
    """Each key with who changed it, what it is now, and what the command would make of it; then
    the options to go on with.
    """
    if as_json:
        fields = {"code": error.code, "message": error.message, "keys": error.keys}
        print_json({"id": error.id, "status": "rejected", **fields, "conflicts": error.effects})
        return
    if error.key in replace:
        print_error(f"{error.key} is at revision {error.revision}, not {replace[error.key]}.")
    else:
        have = counted(len(error.keys), "key has", "keys have")
        print_error(f"{have} been changed since; nothing was {PARTICIPLES[type]}.")
    for effect in error.effects[:MOST_PRINTED]:
        now = format_value(effect["now"]) if "now" in effect else DELETED
        back = format_value(effect["back"]) if "back" in effect else DELETED
        changed = f"by {effect['actor']}, revision {effect['revision']}"
        print_line(escape_for_terminal(f"{effect['key']}: now {now}, {changed}"))
        print_line(escape_for_terminal(f"  {type} would make it {back}"))
    _print_omitted(len(error.keys))
    _print_ways_on(type, error.effects[:MOST_PRINTED])


def _print_ways_on(type: str, effects: list[dict[str, Any]]) -> None:
    """The options for each key, as a shell takes them."""
    from signalbox.server.settings import shell_command  # noqa: PLC0415 - rarely needed

    keep = shell_command(*(word for effect in effects for word in ("--keep", effect["key"])))
    pairs = [f"{effect['key']}={effect['revision']}" for effect in effects]
    replace = shell_command(*(word for pair in pairs for word in ("--replace", pair)))
    which = "it" if len(effects) == 1 else "them"
    print_error(f"To leave {which} as now: {keep}")
    print_error(f"To {type} {which} all the same: {replace}")


def _print_omitted(count: int) -> None:
    """Print how many of the keys that were undone or redone are not listed."""
    if count > MOST_PRINTED:
        print_line(f"… and {count - MOST_PRINTED:,} more")
