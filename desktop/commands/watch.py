"""`signalbox watch`: print the current values, then every change."""

import os
import select
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click

from signalbox import client
from signalbox.desktop import child_env
from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.background_thread import start_background_thread
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import PATTERN, Checked, whole
from signalbox.desktop.exit_status import REJECTED, TIMED_OUT
from signalbox.desktop.json_text import encode_json, parse_json_or_text
from signalbox.desktop.options import json_option, read_dir_option
from signalbox.desktop.refusals import future_revision_text
from signalbox.desktop.terminal_output import (
    DELETED,
    format_value,
    print_error,
    print_json,
    print_line,
)
from signalbox.server.model.numbers import decimal

SECONDS: Final = Checked("number", decimal, "allowed are 0 and numbers above it")


@click.command("watch", cls=LiteralCommand)
@click.argument("match", default="**", type=PATTERN)
@click.option("--after", metavar="REV", help="Only what came after this revision.")
@click.option("--until", metavar="JSON", help="End when a value equals this.")
@click.option("--count", type=whole(1), help="End after so many lines.")
@click.option(
    "--timeout", type=SECONDS, metavar="SECONDS", help="End after so long; see the exit status."
)
@click.option(
    "--exec",
    "program",
    metavar="CMD",
    type=click.UNPROCESSED,
    help="Run CMD with each change on its stdin.",
)
@json_option
@read_dir_option
def watch(
    match: str,
    after: str | None,
    until: str | None,
    count: int | None,
    timeout: float | None,
    program: str | None,
    as_json: bool,
    data_dir: Path,
) -> int:
    """Print the values that match, then every change."""
    last_value = None if until is None else _comparable(parse_json_or_text(until))
    is_late = threading.Event()
    with ExitStack() as stack:
        box = stack.enter_context(connect(data_dir))
        if after is not None and (future := future_revision_text(box, after)):
            print_error(future)
            return REJECTED
        changes = stack.enter_context(box.watch(match, after=after))
        if timeout is not None:
            _start_timer(timeout, changes, is_late)
        if program is None:
            start_background_thread(_close_when_unread, changes)
        for number, change in enumerate(changes, start=1):
            if program is not None:
                _run_program(program, change)
            else:
                _print_change(change, as_json)
            if number == count or (last_value is not None and _is_value(change, last_value)):
                return 0
    return TIMED_OUT if is_late.is_set() and (until, count) != (None, None) else 0


def _start_timer(seconds: float, changes: client.Watch, is_late: threading.Event) -> None:
    """Close `changes` after so long, and set `is_late` before."""

    def close() -> None:
        is_late.set()
        changes.close()

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), close)
    timer.daemon = True
    timer.start()


def _close_when_unread(changes: client.Watch) -> None:
    """Close `changes` once nobody reads what is printed any more, where that is a pipe or socket.

    Else that would be noticed by printing the next change, which may be long in coming.
    """
    number = sys.stdout.fileno()
    mode = os.fstat(number).st_mode
    if hasattr(select, "poll") and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        reader = select.poll()
        reader.register(number, 0)  # an error or end is always reported (poll(2))
        reader.poll()
        changes.close()


def _print_change(change: client.Change, as_json: bool) -> None:
    """Print one line for a change."""
    if as_json:
        print_json(_fields(change))
    else:
        value = DELETED if change.deleted else format_value(change.value)
        print_line(f"{change.key}\t{value}")


def _is_value(change: client.Change, last_value: Any) -> bool:
    """Whether a change is to a value equal to that of `--until`."""
    return not change.deleted and _comparable(change.value) == last_value


def _comparable(value: Any) -> Any:
    """Equal for equal JSON values alone: true is not 1, but 1 is 1.0."""
    if isinstance(value, bool) or value is None:
        return ("literal", value)
    if isinstance(value, dict):
        return {name: _comparable(member) for name, member in value.items()}
    return [_comparable(member) for member in value] if isinstance(value, list) else value


def _run_program(program: str, change: client.Change) -> None:
    """Run the program of `--exec` with a change on its stdin."""
    # The user's own shell line; of the change nothing is spliced into it.
    subprocess.run(  # noqa: S602
        program,
        shell=True,
        env=child_env.environment(),
        input=f"{encode_json(_fields(change))}\n".encode(),
        check=False,
    )


def _fields(change: client.Change) -> dict[str, Any]:
    """The fields that a change has, with its value, which may be null, unless it is a deletion."""
    fields = {name: value for name, value in change._asdict().items() if value is not None}
    fields = {"key": change.key, "value": change.value} | fields
    if change.deleted:
        del fields["value"]
    return fields
