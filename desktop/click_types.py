"""Types of command line parameters, whose errors say what was given and what is allowed."""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import click

from signalbox.server.model import numbers
from signalbox.server.usage_errors import listed, wrong_value

Read = TypeVar("Read")

MOST: Final = 10**18 - 1
"""Larger than any count; fits 64 bits."""


class Checked(click.ParamType[Read], Generic[Read]):
    """A parameter that `read` parses; where it raises `ValueError`, the error says `allowed`."""

    def __init__(self, name: str, read: Callable[[str], Read], allowed: str) -> None:
        """A type of command line parameters, called `name` in the help.

        `allowed` ends the error for a word that `read` does not take, as "allowed is an integer
        from 0".
        """
        self.name, self._read, self._allowed = name, read, allowed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Read:
        """The value that the parser makes of a word; its error says what is allowed."""
        try:
            return self._read(str(value))
        except ValueError:
            raise wrong_value(param, value, self._allowed, ctx) from None


class OneOf(click.Choice[str]):
    """A parameter that is one of some words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word, if it is one of the choices; else the error lists them."""
        if value not in self.choices:
            raise wrong_value(param, value, f"allowed are {listed(self.choices)}", ctx)
        return str(value)


def _utf8(text: str) -> str:
    """A word of the command line. Raises `ValueError` where it was not UTF-8."""
    text.encode()  # a word that is not UTF-8 contains lone surrogates
    return text


class Suggested(Checked[str]):
    """A text that a shell completes by what the running server has: a key, an actor."""

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's signature
        incomplete: str,
    ) -> list[Any]:
        """How the text may go on (`desktop/completion.py`)."""
        from signalbox.desktop import completion  # noqa: PLC0415 - only shells ask for it

        return completion.suggest(self.name, ctx, incomplete)


_IN_UTF8: Final = "allowed is text in UTF-8"
TEXT: Final = Checked("text", _utf8, _IN_UTF8)
KEY: Final = Suggested("key", _utf8, _IN_UTF8)
PREFIX: Final = Suggested("prefix", _utf8, _IN_UTF8)
PATTERN: Final = Suggested("pattern", _utf8, _IN_UTF8)
ACTOR: Final = Suggested("actor", _utf8, _IN_UTF8)
RULE: Final = Suggested("rule", _utf8, _IN_UTF8)


def whole(least: int) -> Checked[int]:
    """A parameter that is an integer from `least`; more than `MOST` is reduced to that."""

    def read(text: str) -> int:
        return min(numbers.whole(text, least), MOST)

    return Checked("integer", read, f"allowed is an integer from {least}")
