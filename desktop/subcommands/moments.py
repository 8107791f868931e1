"""Moments on the command line: a revision, a time, or now."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])

NOW: Final = "now"


class _Moment(click.ParamType[str]):
    """A revision, an ISO 8601 time (without a zone that of this computer), or `now`."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if text == NOW or (text.isascii() and text.isdigit()):
            return text
        try:
            return datetime.fromisoformat(text).astimezone().isoformat()
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no revision, no ISO 8601 time and not now.", param, ctx)


MOMENT: Final = _Moment()


def at_option(function: Function) -> Function:
    """`--at`, for what is shown as it was."""
    return click.option(
        "--at", metavar="REV|TIME", type=MOMENT, callback=_past, help="As it was at this moment."
    )(function)


def _past(_: click.Context, __: click.Parameter, moment: str | None) -> str | None:
    return None if moment == NOW else moment
