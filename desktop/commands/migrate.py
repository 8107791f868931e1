"""`signalbox migrate`: copy the store with its whole history to another engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from signalbox.desktop.exit_status import CANNOT_OPEN, REJECTED
from signalbox.desktop.options import json_option, unchecked_dir_option
from signalbox.desktop.progress_bar import ProgressBar
from signalbox.desktop.store_errors import report_store_errors
from signalbox.desktop.terminal_output import print_error, print_json, print_line
from signalbox.server.engines.address import AddressError
from signalbox.server.model.errors import SignalboxError, Unavailable
from signalbox.server.settings import command_line, shell_command
from signalbox.ui.formatting import counted

if TYPE_CHECKING:
    from signalbox.server.migration.moving import MigrationResult

SQLITE: Final = "sqlite"


@click.command("migrate")
@click.option("--to", "target", required=True, metavar="URL", help="Where the store goes.")
@click.option("--from", "source", metavar="URL", help="Where it is; where this one has its log.")
@json_option
@unchecked_dir_option
@report_store_errors
def migrate(target: str, source: str | None, as_json: bool, data_dir: Path) -> int:
    """Copy the store with its whole history to another engine, and use it there from then on."""
    from signalbox.server.runtime.error_messages import DAMAGED  # noqa: PLC0415 - loads all of the store, which the help needs none of

    try:
        _require_place("--to", target, data_dir)
        if source is not None:
            _require_place("--from", source, data_dir)
        return _print_outcome(_migrate(data_dir, target, source), data_dir, as_json)
    except AddressError as error:
        raise click.UsageError(f"The store's engine: {error}.") from error
    except Unavailable as error:
        print_error(error.message)
        return CANNOT_OPEN
    except DAMAGED:
        print_error("A store is damaged: `signalbox verify` says what is affected.")
        return CANNOT_OPEN
    except SignalboxError as error:
        print_error(error.message)
        return REJECTED


def _require_place(option: str, address: str, data_dir: Path) -> None:
    """Raises a usage error where `--from` or `--to` names no place of a log."""
    from signalbox.server.migration.locations import parse_location  # noqa: PLC0415 - as above

    try:
        parse_location(address, data_dir)
    except AddressError as error:
        raise click.UsageError(f"The option {option}: {error}.") from error


def _migrate(data_dir: Path, target: str, source: str | None) -> "MigrationResult":
    """Copy, compare and switch, with a progress bar for each step."""
    from signalbox.server.migration.moving import Migration  # noqa: PLC0415 - as above

    with Migration(data_dir, target, source) as migration:
        with ProgressBar("Measuring") as bar:
            migration.check_sizes(bar.update)
        with ProgressBar("Copying") as bar:
            migration.copy(bar.update)
        with ProgressBar("Reading back") as bar:
            migration.compare(bar.update)
        return migration.switch()


def _print_outcome(result: "MigrationResult", data_dir: Path, as_json: bool) -> int:
    """Print what the migration has done; the exit status."""
    is_complete = not (result.problems or result.new_revisions)
    if as_json:
        print_json(_as_json(result, is_complete))
    for problem in result.problems:
        print_error(problem)
    if result.new_revisions:
        print_error(
            f"{result.source} has got {counted(result.new_revisions, 'revision')} meanwhile: "
            "end all that writes there, and start this again; it goes on where it is."
        )
    if is_complete and not as_json:
        for sentence in _sentences(result, data_dir):
            print_line(sentence)
    return 0 if is_complete else REJECTED


def _as_json(result: "MigrationResult", is_complete: bool) -> dict[str, Any]:
    """The outcome of the migration for `--json`."""
    return {
        "from": result.source,
        "to": result.target,
        "store": result.store,
        "revisions": result.revisions,
        "copied": result.copied,
        "verified": is_complete,
        "differences": result.problems,
        "engine": result.log_location,
    }


def _sentences(result: "MigrationResult", data_dir: Path) -> Iterator[str]:
    """The outcome of the migration in sentences."""
    is_copied = result.source != result.target
    if is_copied:
        yield (
            f"{counted(result.copied, 'revision')} copied from {result.source} to {result.target}; "
            f"all {result.revisions:,} of store {result.store} are there and equal."
        )
    elif not result.is_log_moved:
        yield f"Nothing to do: the store {result.store} is at {result.target} already."
        return
    if result.is_log_moved and result.log_location == SQLITE:
        yield f"{data_dir} has its log in its own file from now on, apart from all other nodes."
    elif result.is_log_moved:
        yield f"{data_dir} has its log at {result.log_location} from now on."
    elif result.log_location and result.concerns_data_dir:
        yield f"{data_dir} has its log at {result.log_location}, as before."
    if is_copied and not (result.source == SQLITE and result.log_location == result.target):
        yield f"{result.source} is left as it was; what is written there does not come here."
    if is_copied and "://" in result.target:
        yield from _advice_for_other_nodes(result)


def _advice_for_other_nodes(result: "MigrationResult") -> Iterator[str]:
    """How to let the nodes that still follow the old log follow the new one."""
    folder = result.source.removeprefix(f"{SQLITE}:")
    if "://" in result.source:
        option = shell_command("--engine", result.target)
        yield f"Other nodes still follow that: start each of them once with {option}"
    elif folder != result.source:
        command = command_line(Path(folder), "migrate", "--from", SQLITE, "--to", result.target)
        yield f"To let the node in {folder} follow the new log: {command}"
