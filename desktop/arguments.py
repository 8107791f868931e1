"""How the words of a subcommand are parsed: keys and values that begin with `-`, programs, files.

Only the long options that a subcommand defines are options.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from signalbox.desktop.options import complete_file
from signalbox.server.usage_errors import unknown_option


def open_input_file(value: str, subject: str | None = None, advice: str = "") -> BinaryIO:
    """The file that an argument names, to read bytes from; `-` is stdin.

    The error for a file that cannot be read begins with `subject`, by default with FILE, and ends
    with `advice`.
    """
    if value == "-":
        return sys.stdin.buffer
    try:
        file = Path(value).open("rb")  # noqa: SIM115 - closed with the subcommand
    except OSError as error:
        from signalbox.server.runtime.error_messages import reason  # noqa: PLC0415 - for this alone

        subject = subject or f"FILE is {value!r}"
        raise click.UsageError(f"{subject}: {reason(error)}{advice}.") from error
    click.get_current_context().call_on_close(file.close)
    return file


class InputFile(click.ParamType[BinaryIO]):
    """The argument FILE, to read bytes from; `-` is stdin."""

    name = "file"

    def convert(
        self,
        value: Any,
        param: click.Parameter | None,  # noqa: ARG002 - click's signature
        ctx: click.Context | None,
    ) -> BinaryIO:
        """The file, opened; where only another word is completed, none is."""
        is_completing = ctx is not None and ctx.resilient_parsing
        return open_input_file("-" if is_completing else value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[Any]:
        """The shell knows the names."""
        return complete_file(ctx, param, incomplete)


class LiteralCommand(click.Command):
    """A subcommand whose keys and values may begin with `-`, and which knows no short option.

    With `any_value` a word that looks like a long option but is none is a value, too; else it is
    refused, since it is more likely mistyped than a key. After `--` nothing is an option.
    """

    def __init__(self, *args: Any, any_value: bool = False, **kwargs: Any) -> None:
        """A subcommand as click makes it; with `any_value`, its values may look like options."""
        kwargs["context_settings"] = {
            "ignore_unknown_options": True,
            "help_option_names": ["--help"],
        }
        super().__init__(*args, **kwargs)
        self._any_value = any_value

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of a subcommand whose values may begin with `-`."""
        if not self._any_value:
            for name, is_known in _long_options(self, ctx, args):
                if not is_known:
                    raise unknown_option(self, ctx, name)
        return super().parse_args(ctx, args)


class ProgramCommand(LiteralCommand):
    """`[options] NAME [options] [--] CMD…`: from its first word on, all words are the program's.

    A word before that which looks like a long option that it does not have is refused.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words of `run` up to the program; the rest is the program's own."""
        options, rest = self._split_options(ctx, args)
        is_literal = len(options) + len(rest) < len(args)  # `--` stood before the name
        name, rest = rest[:1], rest[1:]
        more, program = ([], _after_dashes(rest)) if is_literal else self._split_options(ctx, rest)
        return click.Command.parse_args(self, ctx, [*options, *more, "--", *name, *program])

    def _split_options(self, ctx: click.Context, args: list[str]) -> tuple[list[str], list[str]]:
        """The options at the beginning, and the words after them and a `--`."""
        takes_value, at = _takes_value(self, ctx), 0
        while at < len(args) and (name := args[at].partition("=")[0]) in takes_value:
            at += 2 if takes_value[name] and "=" not in args[at] else 1
        rest = args[at:]
        if rest and rest[0] != "--" and rest[0].startswith("--"):
            raise unknown_option(self, ctx, rest[0].partition("=")[0])
        return args[:at], _after_dashes(rest)


def _after_dashes(words: list[str]) -> list[str]:
    """The words without a `--` at their beginning."""
    return words[1:] if words[:1] == ["--"] else words


def _long_options(command: click.Command, ctx: click.Context, args: list[str]) -> Iterator[Any]:
    """The name of every word that looks like a long option, and whether the command has it."""
    takes_value, words = _takes_value(command, ctx), iter(args)
    for word in words:
        if word == "--":
            return
        name, equals, _ = word.partition("=")
        if word.startswith("--"):
            yield name, name in takes_value
        if takes_value.get(name) and not equals:
            next(words, None)


def _takes_value(command: click.Command, ctx: click.Context) -> dict[str, bool]:
    """From the name of each option that the command has to whether a value follows it."""
    return {
        name: not (param.is_flag or param.count)
        for param in command.get_params(ctx)
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
