"""The command line: the group of all subcommands, and the exit status that an error becomes."""

import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

import click

from signalbox import client
from signalbox.desktop import stdio
from signalbox.desktop.click_types import TEXT
from signalbox.desktop.engine_options import choose_engine, settings_error
from signalbox.desktop.examples import EXAMPLES, PROGRAM, help_section
from signalbox.desktop.exit_status import CANNOT_OPEN, INTERRUPTED, NO_SUCH_KEY, REJECTED
from signalbox.desktop.options import LeadingOptions, complete_folder, require_value
from signalbox.desktop.refusals import refusal_text
from signalbox.desktop.terminal_output import LogOnTerminal, print_error
from signalbox.server.usage_errors import translate_usage_error

MAX_DIGITS: Final = 300_000
"""Of an integer: more than a value can have. Python would refuse from 4,300."""
COMPLETE: Final = "_SIGNALBOX_COMPLETE"
"""The variable by which a shell asks how a word may go on."""
SUBCOMMANDS: Final = (
    "add backup check compact completion describe diff export get history import log ls merge "
    "migrate mv path rebuild redo replay restore rm rule run serve set status toggle token tree "
    "undo verify watch"
).split()
"""Each is a function of its name in a file of its name in `desktop/commands/`."""


class SubcommandGroup(click.Group):
    """Loads the subcommand that is asked for, and not the others with all that they need."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names of all subcommands, for `--help`."""
        return SUBCOMMANDS

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """The subcommand of this name, whose file is loaded now."""
        return load_subcommand(cmd_name) if cmd_name in SUBCOMMANDS else None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; the exit status where the server refuses."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            stdio.discard_stdout()  # its reader has ended
            return 0
        except client.Rejected as error:
            print_error(refusal_text(str(ctx.invoked_subcommand), error))
            return NO_SUCH_KEY if error.code == "not_found" else REJECTED


def load_subcommand(name: str) -> click.Command:
    """The subcommand of this name. What is not of another type, as a path is, is text in UTF-8."""
    module = import_module(f"signalbox.desktop.commands.{'import_' if name == 'import' else name}")
    subcommand = next(
        member for member in vars(module).values() if isinstance(member, click.Command)
    )
    for each in with_its_own(subcommand):
        for parameter in each.params:
            if parameter.type is click.STRING:
                parameter.type = TEXT
        first, _, _ = (each.help or "").partition("\n\n")
        each.short_help = " ".join(first.split())  # click would cut it after a line's width
    subcommand.epilog = help_section(EXAMPLES[name])
    return subcommand


def with_its_own(subcommand: click.Command) -> list[click.Command]:
    """A subcommand and those that it has itself, such as `rule ls`."""
    own = subcommand.commands.values() if isinstance(subcommand, click.Group) else ()
    return [subcommand, *own]


def command() -> click.Group:
    """`signalbox` with every subcommand."""
    group = SubcommandGroup(
        "signalbox",
        help="Live, shared, remembered state. Without a subcommand the window opens.",
        params=[
            click.Option(
                ["--data-dir"],
                metavar="D",
                type=click.UNPROCESSED,
                callback=require_value,
                shell_complete=complete_folder,
                help="Folder of the store.",
            ),
            click.Option(["--engine"], metavar="URL", type=TEXT, help="Where the event log lives."),
            click.Option(
                ["--require-durable"], is_flag=True, help="Refuse an engine that may lose it."
            ),
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
        ],
        callback=_apply_options,
        epilog=help_section(PROGRAM),
        context_settings={"help_option_names": ["--help"]},
    )
    return click.version_option(package_name="signalbox-app", prog_name="signalbox")(group)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    stdio.reopen_closed_streams()
    sys.set_int_max_str_digits(MAX_DIGITS)
    logging.getLogger("signalbox.desktop").handlers = [LogOnTerminal()]
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale may lack a value's letters
    try:
        status = _complete() if os.environ.get(COMPLETE) else _run_command_line(arguments)
        sys.stdout.flush()
    except OSError as error:
        return report_os_error(error)
    return status


def report_os_error(error: OSError) -> int:
    """Say what could not be read or printed; the exit status. Whoever reads no more has enough."""
    if isinstance(error, BrokenPipeError):
        stdio.discard_stdout()
        return 0
    if (sentence := stdio.stdout_error(error)) is None:
        print_error(_file_error(error))
        return CANNOT_OPEN
    stdio.discard_stdout()
    print_error(sentence)
    return REJECTED


def _complete() -> int:
    """Print how the word at a shell's cursor may go on; the exit status."""
    from click.shell_completion import shell_complete  # noqa: PLC0415 - only shells ask for it

    from signalbox.desktop import completion  # noqa: PLC0415 - as above

    completion.register()
    try:
        return shell_complete(command(), {}, "signalbox", COMPLETE, os.environ[COMPLETE])
    except click.ClickException:  # about a word before it
        return 0


def _run_command_line(arguments: list[str]) -> int:
    """Run a command line; its exit status, also after an error."""
    try:
        return int(command().main(arguments, "signalbox", standalone_mode=False) or 0)
    except click.ClickException as error:
        with suppress(OSError):  # stderr may be full
            translate_usage_error(error).show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
    except client.NotRunning as error:
        print_error(str(error))
        return CANNOT_OPEN


def _file_error(error: OSError) -> str:
    """The message about a file that cannot be used."""
    from signalbox.server.runtime.error_messages import reason  # noqa: PLC0415 - for this alone

    return f"{error.filename or 'Something on this computer'} cannot be used: {reason(error)}."


def _apply_options(
    data_dir: str | None, engine: str | None, require_durable: bool, as_json: bool
) -> None:
    """Apply the options that stand before the subcommand."""
    context = click.get_current_context()
    context.obj = LeadingOptions(data_dir, as_json)
    if as_json:
        _require_json_option(str(context.invoked_subcommand))
    choose_engine(engine, require_durable)
    if engine and (error := settings_error()):
        raise click.UsageError(error)


def _require_json_option(name: str) -> None:
    """Raises a usage error where the subcommand of this name prints no JSON."""
    named = with_its_own(load_subcommand(name))
    if not any("--json" in parameter.opts for each in named for parameter in each.params):
        raise click.UsageError(f"There is no option --json of {name}.")
