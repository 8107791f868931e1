"""`signalbox redo`: take back one's own last undo, or that of a named command."""

from typing import Any

import click

from signalbox.desktop.undo_redo import reversal_options, reverse


@click.command("redo")
@reversal_options
def redo(**options: Any) -> int:
    """Take back what this command line undid last."""
    return reverse("redo", **options)
