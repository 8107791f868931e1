"""Usage errors of the command line in our words, instead of click's."""

import re
from collections.abc import Iterable
from typing import Any, Final

import click

_EXTRA: Final = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)


def unknown_option(command: click.Command, ctx: click.Context, name: str) -> click.UsageError:
    """The usage error for an option that the command does not have."""
    allowed = listed(name for name in _options(command, ctx) if name.startswith("--"))
    return click.UsageError(
        f"There is no option {name}; allowed are {allowed}; put -- before words that begin with -.",
        ctx,
    )


def translate_usage_error(error: click.ClickException) -> click.ClickException:
    """A usage error of click in our words; one of ours is returned as it is."""
    text = _sentence(error) if isinstance(error, click.UsageError) else None
    return error if text is None else click.UsageError(text, getattr(error, "ctx", None))


def _sentence(error: click.UsageError) -> str | None:
    """The message of a usage error; None where click's own has to do."""
    if isinstance(error, click.BadOptionUsage):  # which comes without its context
        needs = "takes no value" if "does not take" in error.message else "needs a value"
        return f"The option {error.option_name} {needs}."
    return None if error.ctx is None else _of_command(error, error.ctx)


def _of_command(error: click.UsageError, ctx: click.Context) -> str | None:
    """The message of a usage error of a subcommand that is known."""
    if isinstance(error, click.NoSuchOption):
        return unknown_option(ctx.command, ctx, error.option_name).message
    if isinstance(error, click.NoSuchCommand):
        assert isinstance(ctx.command, click.Group)
        subcommands = listed(ctx.command.list_commands(ctx))
        return f"There is no subcommand {error.command_name}; there are {subcommands}."
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{_called(error.param)} is missing."
    if found := _EXTRA.fullmatch(error.message):
        takes = [
            _called(param) for param in ctx.command.params if isinstance(param, click.Argument)
        ]
        return f"{found[1]!r} is too much; allowed are {listed(takes) or 'options alone'}."
    return None


def wrong_value(
    param: click.Parameter | None, value: Any, allowed: str, ctx: click.Context | None
) -> click.UsageError:
    """The usage error for a value that a parameter does not take; `allowed` says what it takes."""
    name = _called(param) if param else "The value"
    return click.UsageError(f"{name} is {str(value)[:80]!r}; {allowed}.", ctx)


def _called(param: click.Parameter) -> str:
    """How a usage error calls a parameter: as the help does."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return (param.metavar or param.name or "").strip("[]").upper()


def _options(command: click.Command, ctx: click.Context) -> list[str]:
    """All options that a subcommand has, for the message about an unknown one."""
    options = [param for param in command.get_params(ctx) if isinstance(param, click.Option)]
    return [name for option in options for name in (*option.opts, *option.secondary_opts)]


def listed(names: Iterable[str]) -> str:
    """Names in the message of a usage error, with commas between."""
    return ", ".join(names)
