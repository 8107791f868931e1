"""`migrate`: the store with its whole history from one engine to another."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from signalbox.desktop.commands import (
    CANNOT_OPEN,
    REJECTED,
    complain,
    json_option,
    print_json,
    say,
    where_option,
)
from signalbox.desktop.commands.progress import Bar

if TYPE_CHECKING:
    from signalbox.server.migration.moving import Moved

SQLITE: Final = "sqlite"


@click.command("migrate")
@click.option("--to", "target", required=True, metavar="URL", help="Where the store goes.")
@click.option("--from", "source", metavar="URL", help="Where it is; where this one has its log.")
@json_option
@where_option
def migrate(target: str, source: str | None, as_json: bool, data_dir: Path) -> int:
    """Copy the store with its whole history to another engine, and use it there from then on."""
    from signalbox.server.engines.address import AddressError  # noqa: PLC0415 - only what works on the logs
    from signalbox.server.model.errors import SignalboxError, StoreError, Unavailable  # noqa: PLC0415 - as above
    from signalbox.server.runtime.error_messages import DAMAGED  # noqa: PLC0415 - as above

    try:
        _check("--to", target, data_dir)
        if source is not None:
            _check("--from", source, data_dir)
        return _tell(_moved(data_dir, target, source), data_dir, as_json)
    except AddressError as error:
        raise click.UsageError(f"The store's engine: {error}.") from error
    except (StoreError, Unavailable) as error:
        complain(str(error))
        return CANNOT_OPEN
    except DAMAGED:
        complain("A store is damaged: `signalbox verify` says what is affected.")
        return CANNOT_OPEN
    except SignalboxError as error:
        complain(error.message)
        return REJECTED


def _check(option: str, given: str, data_dir: Path) -> None:
    from signalbox.server.engines.address import AddressError  # noqa: PLC0415 - as above
    from signalbox.server.migration.places import read_place  # noqa: PLC0415 - as above

    try:
        read_place(given, data_dir)
    except AddressError as error:
        raise click.UsageError(f"The option {option}: {error}.") from error


def _moved(data_dir: Path, target: str, source: str | None) -> "Moved":
    from signalbox.server.migration.moving import Migration  # noqa: PLC0415 - as above

    with Migration(data_dir, target, source) as migration:
        with Bar("Measuring") as bar:
            migration.measure(bar.show)
        with Bar("Copying") as bar:
            migration.copy(bar.show)
        with Bar("Reading back") as bar:
            migration.compare(bar.show)
        return migration.settle()


def _tell(moved: "Moved", data_dir: Path, as_json: bool) -> int:
    is_whole = not (moved.problems or moved.behind)
    if as_json:
        print_json(_fields(moved, is_whole))
    for problem in moved.problems:
        complain(problem)
    if moved.behind:
        complain(
            f"{moved.source} has got {_revisions(moved.behind)} meanwhile: end all that writes "
            "there, and start this again; it goes on where it is."
        )
    if is_whole and not as_json:
        for line in _lines(moved, data_dir):
            say(line)
    return 0 if is_whole else REJECTED


def _fields(moved: "Moved", is_whole: bool) -> dict[str, Any]:
    return {
        "from": moved.source,
        "to": moved.target,
        "store": moved.store,
        "revisions": moved.revisions,
        "copied": moved.copied,
        "verified": is_whole,
        "differences": moved.problems,
        "engine": moved.follows,
    }


def _lines(moved: "Moved", data_dir: Path) -> Iterator[str]:
    is_copied = moved.source != moved.target
    if is_copied:
        yield (
            f"{_revisions(moved.copied)} copied from {moved.source} to {moved.target}; all "
            f"{moved.revisions:,} of store {moved.store} are there and equal."
        )
    elif not moved.is_led:
        yield f"Nothing to do: the store {moved.store} is at {moved.target} already."
        return
    if moved.is_led and moved.follows == SQLITE:
        yield f"{data_dir} has its log in its own file from now on, apart from all other nodes."
    elif moved.is_led:
        yield f"{data_dir} has its log at {moved.follows} from now on."
    elif moved.follows and moved.is_ours:
        yield f"{data_dir} has its log at {moved.follows}, as before."
    if is_copied and not (moved.source == SQLITE and moved.follows == moved.target):
        yield f"{moved.source} is left as it was; what is written there does not come here."
    if is_copied and "://" in moved.target:
        yield from _followers(moved)


def _followers(moved: "Moved") -> Iterator[str]:
    """How those that the move has not led there come to follow the new log."""
    from signalbox.server.settings import command_line, typed  # noqa: PLC0415 - as above

    folder = moved.source.removeprefix(f"{SQLITE}:")
    if "://" in moved.source:
        option = typed("--engine", moved.target)
        yield f"Other nodes still follow that: start each of them once with {option}"
    elif folder != moved.source:
        go_on = command_line(Path(folder), "migrate", "--from", SQLITE, "--to", moved.target)
        yield f"To let the node in {folder} follow the new log: {go_on}"


def _revisions(count: int) -> str:
    return "1 revision" if count == 1 else f"{count:,} revisions"


SUBCOMMANDS: Final = (migrate,)
