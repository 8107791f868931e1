"""`signalbox set`: set one key to a value."""

from pathlib import Path
from typing import Any, Final

import click

from signalbox.desktop.arguments import LiteralCommand, open_input_file
from signalbox.desktop.cli_client import connect
from signalbox.desktop.click_types import KEY
from signalbox.desktop.json_text import parse_json_argument, parse_json_or_text
from signalbox.desktop.options import data_dir_option, json_option
from signalbox.desktop.terminal_output import print_ack
from signalbox.server.model.numbers import is_whole

MAX_BYTES: Final = 16 * 1024 * 1024
"""Of a file that is a value: as much as a request may have."""


@click.command("set", cls=LiteralCommand, any_value=True)
@click.argument("key", type=KEY)
@click.argument("value")
@click.option(
    "--text",
    "kind",
    flag_value="text",
    help="VALUE is this text, whatever it looks like, also - and @FILE.",
)
@click.option("--json-value", "kind", flag_value="json", help="VALUE must be JSON.")
@click.option(
    "--raw",
    "kind",
    flag_value="raw",
    help="What - or @FILE holds is text, whatever it looks like, with its last line end.",
)
@click.option("--expect", metavar="REV|absent|present", help="Only if KEY is as expected.")
@json_option
@data_dir_option
def set_(
    key: str, value: str, kind: str | None, expect: str | None, as_json: bool, data_dir: Path
) -> None:
    """Set KEY to VALUE: JSON where it parses as JSON, else text.

    VALUE - is what stdin holds, and @FILE what that file holds, without the line end of a text.
    A text that is - or begins with @ is set with --text.
    """
    parsed = _parse_value(value, kind)
    with connect(data_dir) as box:
        print_ack(box.set(key, parsed, expect=_parse_expectation(expect)), as_json)


def _parse_value(text: str, kind: str | None) -> Any:
    """The value that a word means: by `--text`, `--raw` or `--json-value`, else JSON or text."""
    if kind == "text":
        return text
    content = _read_value(text)
    if kind == "raw":
        if content is None:
            raise click.UsageError(f"VALUE is {text[:80]!r}; with --raw allowed are - and @FILE.")
        return content
    if content is not None:
        text = content.removesuffix("\r\n" if content.endswith("\r\n") else "\n")
    return parse_json_argument(text) if kind == "json" else parse_json_or_text(text)


def _read_value(word: str) -> str | None:
    """The text in stdin or a file that VALUE names; None where it names none."""
    if word != "-" and not word.startswith("@"):
        return None
    name, advice = word.removeprefix("@"), "; --text sets the text itself"
    file = open_input_file(name, f"VALUE {word!r} names the file {name!r}", advice)
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise click.UsageError(
            f"What VALUE {word[:80]} holds is above the {MAX_BYTES:,} bytes allowed."
        )
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"What VALUE {word[:80]} holds is not text in UTF-8.") from None


def _parse_expectation(text: str | None) -> int | str | None:
    """The word of `--expect`: a revision of the key, absent or present."""
    if text is None or text in ("absent", "present"):
        return text
    if not is_whole(text):
        raise click.UsageError(
            f"--expect is {text[:80]!r}; allowed are a revision, absent and present."
        )
    return int(text)
