"""The command line: the group, its subcommands, and what an error makes of the exit status."""

import os
import sys
from collections.abc import Sequence

import click

import signalbox
from desktop.subcommands import CANNOT_OPEN, REJECTED, lists, run, store, transfer, values, watch


def command() -> click.Group:
    """`signalbox` with every subcommand."""
    group = click.Group(
        "signalbox",
        help="Live, shared, remembered state. Without a subcommand the window opens.",
        params=[
            click.Option(["--data-dir"], metavar="D", help="Folder of the store."),
        ],
        callback=_remember,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (values, lists, watch, transfer, run, store):
        for subcommand in module.SUBCOMMANDS:
            group.add_command(subcommand)
    return click.version_option(package_name="signalbox", prog_name="signalbox")(group)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        return int(command().main(arguments, "signalbox", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except signalbox.Rejected as error:
        click.echo(f"signalbox: {error.message}", err=True)
        return REJECTED
    except signalbox.NotRunning as error:
        click.echo(f"signalbox: {error}", err=True)
        return CANNOT_OPEN
    except BrokenPipeError:
        # Whoever read us has enough; Python must not complain about it once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _remember(data_dir: str | None) -> None:
    click.get_current_context().obj = data_dir
