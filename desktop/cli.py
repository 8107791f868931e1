"""The command line: the group, its subcommands, and what an error makes of the exit status."""

import io
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import click

from signalbox import client
from signalbox.desktop import stdio
from signalbox.desktop.commands import (
    CANNOT_OPEN,
    NO_SUCH_KEY,
    REJECTED,
    complain,
    lists,
    migrate,
    not_empty,
    past,
    replay,
    restore,
    run,
    store,
    transfer,
    undo,
    values,
    watch,
)
from signalbox.desktop.engine_options import problem, wish
from signalbox.server.usage import TEXT, in_our_words

MAX_DIGITS: Final = 300_000
"""Of an integer: more than a value can have. Python would refuse from 4,300."""
INTERRUPTED: Final = 130


class _Group(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            stdio.forget_output()  # whoever read us has enough
            return 0


def command() -> click.Group:
    """`signalbox` with every subcommand."""
    group = _Group(
        "signalbox",
        help="Live, shared, remembered state. Without a subcommand the window opens.",
        params=[
            click.Option(
                ["--data-dir"],
                metavar="D",
                type=click.UNPROCESSED,
                callback=not_empty,
                help="Folder of the store.",
            ),
            click.Option(["--engine"], metavar="URL", type=TEXT, help="Where the event log lives."),
            click.Option(
                ["--require-durable"], is_flag=True, help="Refuse an engine that may lose it."
            ),
        ],
        callback=_remember,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    modules = (values, lists, watch, past, undo, restore, transfer, replay, migrate, run, store)
    for module in modules:
        for subcommand in module.SUBCOMMANDS:
            group.add_command(_of_text(subcommand))
    return click.version_option(package_name="signalbox-app", prog_name="signalbox")(group)


def _of_text(subcommand: click.Command) -> click.Command:
    """The same, taking UTF-8 alone for what is not said to be of another type, as a path is."""
    for parameter in subcommand.params:
        if parameter.type is click.STRING:
            parameter.type = TEXT
    return subcommand


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    stdio.open_closed()
    sys.set_int_max_str_digits(MAX_DIGITS)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale may lack a value's letters
    try:
        status = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        stdio.forget_output()
        return 0
    except OSError as error:
        if (why := stdio.why_lost(error)) is None:
            complain(_unusable(error))
            return CANNOT_OPEN
        stdio.forget_output()
        complain(why)
        return REJECTED
    return status


def _unusable(error: OSError) -> str:
    from signalbox.server.runtime.error_messages import reason  # noqa: PLC0415 - for this alone

    return f"{error.filename or 'Something on this computer'} cannot be used: {reason(error)}."


def _run(arguments: list[str]) -> int:
    try:
        return int(command().main(arguments, "signalbox", standalone_mode=False) or 0)
    except click.ClickException as error:
        with suppress(OSError):  # stderr may be full
            in_our_words(error).show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except client.Rejected as error:
        complain(error.message)
        return NO_SUCH_KEY if error.code == "not_found" else REJECTED
    except client.NotRunning as error:
        complain(str(error))
        return CANNOT_OPEN


def _remember(data_dir: str | None, engine: str | None, require_durable: bool) -> None:
    click.get_current_context().obj = data_dir
    wish(engine, require_durable)
    if engine and (wrong := problem()):
        raise click.UsageError(wrong)
