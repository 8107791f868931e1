"""`signalbox completion`: print the function by which a shell completes words."""

import click

from signalbox.desktop.click_types import OneOf
from signalbox.desktop.completion_scripts import SCRIPTS


@click.command("completion")
@click.argument("shell", type=OneOf(list(SCRIPTS)))
def completion(shell: str) -> None:
    """Print what a shell needs to complete subcommands, options, keys and actors.

    SHELL is bash, zsh or fish; the first lines say where it goes.
    """
    click.echo(SCRIPTS[shell], nl=False)
