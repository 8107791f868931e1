"""`signalbox set`: set one key to a value."""

from pathlib import Path
from typing import Any

import click

from signalbox.desktop.arguments import LiteralCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.json_text import parse_json_argument, parse_json_or_text
from signalbox.desktop.options import data_dir_option, json_option
from signalbox.desktop.terminal_output import print_ack
from signalbox.server.model.numbers import is_whole


@click.command("set", cls=LiteralCommand, any_value=True)
@click.argument("key")
@click.argument("value")
@click.option("--text", "kind", flag_value="text", help="VALUE is text, whatever it looks like.")
@click.option("--json-value", "kind", flag_value="json", help="VALUE must be JSON.")
@click.option("--expect", metavar="REV|absent|present", help="Only if KEY is as expected.")
@json_option
@data_dir_option
def set_(
    key: str, value: str, kind: str | None, expect: str | None, as_json: bool, data_dir: Path
) -> None:
    """Set KEY to VALUE: JSON where it parses as JSON, else text."""
    parsed = _parse_value(value, kind)
    with connect(data_dir) as box:
        print_ack(box.set(key, parsed, expect=_parse_expectation(expect)), as_json)


def _parse_value(text: str, kind: str | None) -> Any:
    """The value that a word means: by `--json` or `--text`, else JSON where it is that."""
    if kind == "text":
        return text
    return parse_json_argument(text) if kind == "json" else parse_json_or_text(text)


def _parse_expectation(text: str | None) -> int | str | None:
    """The word of `--expect`: a revision of the key, absent or present."""
    if text is None or text in ("absent", "present"):
        return text
    if not is_whole(text):
        raise click.UsageError(
            f"--expect is {text[:80]!r}; allowed are a revision, absent and present."
        )
    return int(text)
