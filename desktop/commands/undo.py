"""`signalbox undo`: undo one's own last command or a named one."""

from typing import Any

import click

from signalbox.desktop.undo_redo import reversal_options, reverse


@click.command("undo")
@reversal_options
def undo(**options: Any) -> int:
    """Undo what this command line did last."""
    return reverse("undo", **options)
