"""Moments on the command line: a revision, a time, or now."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import click

from signalbox.server.usage import Checked

Function = TypeVar("Function", bound=Callable[..., Any])

NOW: Final = "now"


def _moment(text: str) -> str:
    """Raises `ValueError`. A time without a zone is of that of this computer."""
    if text == NOW or (text.isascii() and text.isdigit()):
        return text
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except OverflowError:
        raise ValueError from None


MOMENT: Final = Checked("moment", _moment, "allowed are a revision, a time in ISO 8601 and now")


def at_option(function: Function) -> Function:
    """`--at`, for what is shown as it was."""
    return click.option(
        "--at", metavar="REV|TIME", type=MOMENT, callback=_past, help="As it was at this moment."
    )(function)


def _past(_: click.Context, __: click.Parameter, moment: str | None) -> str | None:
    return None if moment == NOW else moment
