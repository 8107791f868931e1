"""Options that several subcommands share: `--data-dir`, `--json`, `--at`, and moments in time."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from signalbox import client
from signalbox.desktop import engine_options, paths
from signalbox.desktop.click_types import Checked
from signalbox.server.model.numbers import is_whole
from signalbox.server.store.file_names import MARKER_SUFFIX, STORE_FILE

STORE_FILE_SUFFIXES: Final = ("", "-wal", MARKER_SUFFIX)
"""Endings of the files of which a store has at least one."""
NOW: Final = "now"

Function = TypeVar("Function", bound=Callable[..., Any])


class LeadingOptions(NamedTuple):
    """The options that stood before the subcommand and may stand after it as well."""

    data_dir: str | None = None
    as_json: bool = False


# Moments.


def _parse_moment(text: str) -> str:
    """The moment that the option `--at` names; without a zone it is local time."""
    if text == NOW or is_whole(text):
        return text
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except OverflowError:
        raise ValueError from None


MOMENT: Final = Checked(
    "moment",
    _parse_moment,
    "allowed are a revision, now, and a time in ISO 8601 such as 2026-11-23T12:39",
)


def at_option(function: Function) -> Function:
    """`--at`: answer as of an earlier moment; None stands for now."""
    return click.option(
        "--at",
        metavar="MOMENT",
        type=MOMENT,
        callback=lambda _, __, moment: None if moment == NOW else moment,
        help="As it was then: a revision, a time in ISO 8601 or now.",
    )(function)


# Output.


def json_option(function: Function) -> Function:
    """The option `--json`, for programs. It may be before the subcommand or after it."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        callback=lambda context, _, is_set: is_set or _leading_options(context).as_json,
        help="Print JSON.",
    )(function)


def _leading_options(context: click.Context) -> LeadingOptions:
    """The options before the subcommand of this context."""
    return context.obj or LeadingOptions()


# The data directory. The option may be before the subcommand or after it.


def data_dir_option(function: Function) -> Function:
    """`--data-dir`, for what writes: the folder is created where there is none."""
    return _data_dir_option(_created_data_dir)(function)


def read_dir_option(function: Function) -> Function:
    """`--data-dir`, for what reads: a folder that is named, also by variable, must have a store."""
    return _data_dir_option(_readable_data_dir)(function)


def store_dir_option(function: Function) -> Function:
    """`--data-dir`, for what opens the file itself: there must be a store."""
    return _data_dir_option(_data_dir_with_store)(function)


def unchecked_dir_option(function: Function) -> Function:
    """`--data-dir`, whether the folder is there or not."""
    return _data_dir_option(_chosen_data_dir)(function)


def require_value(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Refuses `--data-dir ''`, which a script with an unset variable says."""
    if value == "":
        raise click.UsageError("--data-dir is empty; it is the folder of the store.")
    return value


def require_store(data_dir: Path) -> None:
    """Raises `NotRunning` where there is no store; one in memory has no file, but a server.

    Where only a part of one is left, opening it says so.
    """
    names = [f"{STORE_FILE}{suffix}" for suffix in STORE_FILE_SUFFIXES]
    try:
        has_file = any((data_dir / name).exists() for name in names)
    except OSError as error:
        raise client.NotRunning(paths.data_dir_error(error)) from error
    paths.check_folder(data_dir)
    if not has_file and client.find(data_dir) is None:
        paths.check_links(data_dir)
        raise client.NotRunning(f"There is no store in {data_dir}.")


def complete_folder(_: click.Context, __: click.Parameter, word: str) -> list[Any]:
    """Have the shell complete the name of a folder."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - only shells ask for it

    return [CompletionItem(word, type="dir")]


def complete_file(_: click.Context, __: click.Parameter, word: str) -> list[Any]:
    """Have the shell complete the name of a file."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - as above

    return [CompletionItem(word, type="file")]


def create_data_dir(value: str | None) -> Path:
    """The data directory, created where there is none. Raises `NotRunning`."""
    try:
        return paths.make_data_dir(value)
    except OSError as error:
        raise client.NotRunning(paths.data_dir_error(error)) from error


def _data_dir_option(callback: Callable[..., Path]) -> Callable[[Function], Function]:
    """The option `--data-dir`, whose folder `callback` checks."""

    def check(
        context: click.Context, option: click.Parameter, value: str | None
    ) -> Path | str | None:
        # Nothing is created or refused where only another word is completed.
        return value if context.resilient_parsing else callback(context, option, value)

    return click.option(
        "--data-dir",
        metavar="D",
        type=click.UNPROCESSED,
        callback=check,
        shell_complete=complete_folder,
        help="Folder of the store.",
    )


def _chosen_data_dir(context: click.Context, option: click.Parameter, value: str | None) -> Path:
    """The folder of `--data-dir`, or the default; it may not exist."""
    return paths.chosen_data_dir(_given_data_dir(context, option, value))


def _data_dir_with_store(
    context: click.Context, option: click.Parameter, value: str | None
) -> Path:
    """The folder of `--data-dir`, which must have a store."""
    data_dir = _chosen_data_dir(context, option, value)
    require_store(data_dir)
    return data_dir


def _readable_data_dir(context: click.Context, option: click.Parameter, value: str | None) -> Path:
    """The folder to read from: one that was named must have a store."""
    is_named = value or _leading_options(context).data_dir or os.environ.get("SIGNALBOX_DATA_DIR")
    if is_named and not engine_options.is_engine_chosen():  # a shared log may be read by a new node
        return _data_dir_with_store(context, option, value)
    return _created_data_dir(context, option, value)


def _created_data_dir(context: click.Context, option: click.Parameter, value: str | None) -> Path:
    """The folder of `--data-dir`, or the default; created where it is missing."""
    return create_data_dir(_given_data_dir(context, option, value))


def _given_data_dir(
    context: click.Context, option: click.Parameter, value: str | None
) -> str | None:
    """The folder that an option names, after the subcommand or before it; None for the default."""
    return require_value(context, option, value) or _leading_options(context).data_dir
