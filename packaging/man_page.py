"""The manual page signalbox(1), made from the help, in the language of man(7)."""

import re
from collections.abc import Iterator
from typing import Final

import click

import app_metadata
from signalbox.desktop import cli
from signalbox.desktop.examples import EXAMPLES, PROGRAM
from signalbox.desktop.exit_status import MEANINGS
from signalbox.server.settings import TABLE

FILES: Final = (
    "signalbox path prints where the store is; endpoint.json beside it how to reach its server."
)


def man_page() -> str:
    """The source of the page."""
    return "\n".join([*_head(), *_commands(), *_tail()]) + "\n"


def _head() -> Iterator[str]:
    """Name, synopsis, description, and the options before a subcommand."""
    version, summary = app_metadata.version(), app_metadata.summary()
    yield f'.TH SIGNALBOX 1 "" "{app_metadata.TITLE} {version}" "User commands"'
    yield from (".SH NAME", f"{app_metadata.NAME} \\- {roff(summary)}")
    yield from (".SH SYNOPSIS", ".B signalbox", "[OPTIONS] [COMMAND [ARGS]...]")
    with _context() as context:
        yield from (".SH DESCRIPTION", roff(context.command.help or ""))
        yield ".SH OPTIONS"
        yield from _options(context.command, context)
    yield from (".SS Examples", *_examples(PROGRAM))


def _commands() -> Iterator[str]:
    """Every subcommand: usage, description, options and examples."""
    yield ".SH COMMANDS"
    for name in cli.SUBCOMMANDS:
        command = cli.load_subcommand(name)
        with _context() as above, click.Context(command, above, name) as context:
            usage = " ".join(command.collect_usage_pieces(context))
            yield from (f".SS {app_metadata.NAME} {name} {roff(usage)}",)
            for paragraph in (command.help or "").split("\n\n"):
                yield from (roff(" ".join(paragraph.split())), ".PP")
            yield from _options(command, context)
            for own in cli.with_its_own(command)[1:]:
                yield from _own_command(own, context)
            yield from (".PP", *_examples(EXAMPLES[name]))


def _own_command(command: click.Command, above: click.Context) -> Iterator[str]:
    """A command that a subcommand has itself: usage, description and options."""
    with click.Context(command, above, command.name) as context:
        usage = " ".join(command.collect_usage_pieces(context))
        yield from (".PP", f".B {roff(f'{above.info_name} {command.name} {usage}')}", ".PP")
        yield from (roff(" ".join((command.help or "").split())), ".PP")
        yield from _options(command, context)


def _tail() -> Iterator[str]:
    """Exit status, environment and files."""
    yield ".SH EXIT STATUS"
    for status, meaning in MEANINGS.items():
        yield from (".TP", f".B {status}", roff(meaning))
    yield ".SH ENVIRONMENT"
    for setting in TABLE:
        yield from (".TP", f".B {setting.variable}", roff(setting.help))
    yield from (".SH FILES", roff(FILES))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    """Every option with its help."""
    for parameter in command.get_params(context):
        if record := isinstance(parameter, click.Option) and parameter.get_help_record(context):
            yield from (".TP", f".B {roff(record[0])}", roff(record[1]))


def _examples(lines: tuple[str, ...]) -> Iterator[str]:
    """Command lines, as they are typed."""
    yield from (".nf", ".RS", *map(roff, lines), ".RE", ".fi")


def _context() -> click.Context:
    """The context of `signalbox` without a subcommand."""
    return click.Context(cli.command(), info_name=app_metadata.NAME)


def roff(text: str) -> str:
    """A text as roff shows it, character by character, in whatever line it stands."""
    text = re.sub(r"[\\\-'`~^\"]", lambda found: ESCAPES[found[0]], text)
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return f"\\&{text}" if text.startswith(".") else text


ESCAPES: Final = {
    "\\": r"\e",
    "-": r"\-",
    "'": r"\(aq",
    "`": r"\(ga",
    "~": r"\(ti",
    "^": r"\(ha",
    '"': r"\(dq",
}
"""Characters that would be shown as others (groff_char(7))."""
