"""Usage errors of the command line in our words, instead of click's; types of parameters."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, TypeVar

import click

from signalbox.server.model import numbers

Read = TypeVar("Read")

MOST: Final = 10**18 - 1
"""More than any store has of anything, and what every library takes."""

_EXTRA: Final = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)


class Checked(click.ParamType[Read], Generic[Read]):
    """A parameter that `read` parses; where it raises `ValueError`, the error says `allowed`."""

    def __init__(self, name: str, read: Callable[[str], Read], allowed: str) -> None:
        self.name, self._read, self._allowed = name, read, allowed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Read:
        try:
            return self._read(str(value))
        except ValueError:
            raise _other(param, value, self._allowed, ctx) from None


class OneOf(click.Choice[str]):
    """A parameter that is one of some words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            raise _other(param, value, f"allowed are {_listed(self.choices)}", ctx)
        return str(value)


def _utf8(text: str) -> str:
    text.encode()  # a word that is not UTF-8 contains lone surrogates
    return text


TEXT: Final = Checked("text", _utf8, "allowed is text in UTF-8")


def whole(least: int) -> Checked[int]:
    """A parameter that is an integer from `least`; more than `MOST` is reduced to that."""

    def read(text: str) -> int:
        return min(numbers.whole(text, least), MOST)

    return Checked("integer", read, f"allowed is an integer from {least}")


def unknown_option(command: click.Command, ctx: click.Context, name: str) -> click.UsageError:
    """The usage error for an option that the command does not have."""
    allowed = _listed(name for name in _options(command, ctx) if name.startswith("--"))
    return click.UsageError(
        f"There is no option {name}; allowed are {allowed}; what begins with - stands behind --.",
        ctx,
    )


def in_our_words(error: click.ClickException) -> click.ClickException:
    """The same usage error in our words; one that is ours already is returned as it is."""
    text = _sentence(error) if isinstance(error, click.UsageError) else None
    return error if text is None else click.UsageError(text, getattr(error, "ctx", None))


def _sentence(error: click.UsageError) -> str | None:
    if isinstance(error, click.BadOptionUsage):  # which comes without its context
        needs = "no value" if "does not take" in error.message else "a value behind it"
        return f"The option {error.option_name} takes {needs}."
    return None if error.ctx is None else _of_command(error, error.ctx)


def _of_command(error: click.UsageError, ctx: click.Context) -> str | None:
    if isinstance(error, click.NoSuchOption):
        return unknown_option(ctx.command, ctx, error.option_name).message
    if isinstance(error, click.NoSuchCommand):
        assert isinstance(ctx.command, click.Group)
        there = _listed(ctx.command.list_commands(ctx))
        return f"There is no subcommand {error.command_name}; there are {there}."
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{_called(error.param)} is missing."
    if found := _EXTRA.fullmatch(error.message):
        takes = [_called(one) for one in ctx.command.params if isinstance(one, click.Argument)]
        return f"{found[1]!r} is too much; allowed are {_listed(takes) or 'options alone'}."
    return None


def _other(
    param: click.Parameter | None, value: Any, allowed: str, ctx: click.Context | None
) -> click.UsageError:
    name = _called(param) if param else "The value"
    return click.UsageError(f"{name} is {str(value)[:80]!r}; {allowed}.", ctx)


def _called(param: click.Parameter) -> str:
    """The name of a parameter as in the help."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return (param.metavar or param.name or "").strip("[]").upper()


def _options(command: click.Command, ctx: click.Context) -> list[str]:
    found = [one for one in command.get_params(ctx) if isinstance(one, click.Option)]
    return [name for one in found for name in (*one.opts, *one.secondary_opts)]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
