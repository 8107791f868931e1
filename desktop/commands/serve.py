"""`signalbox serve`: its help. The server itself is started before the command line is loaded."""

from typing import Any, Final

import click

from signalbox.server.settings import TABLE


def _refuse(**_: Any) -> None:
    """`desktop/__main__.py` starts the server where `serve` is the first word."""
    raise click.UsageError("serve is a program of its own: signalbox serve --data-dir D …")


serve: Final = click.Command(
    "serve",
    params=[
        *(click.Option([setting.option], help=setting.help) for setting in TABLE),
        click.Option(["--json"], is_flag=True, help="Print one JSON line when ready."),
    ],
    help="Run the server without a window, until it is stopped.",
    callback=_refuse,
)
