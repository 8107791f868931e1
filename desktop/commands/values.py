"""`get`, `set`, `rm`, `add`, `toggle`, `merge`, `mv`: one command or one key."""

from pathlib import Path
from typing import Any, Final

import click

from signalbox.desktop.commands import (
    NO_SUCH_KEY,
    complain,
    connect,
    data_dir_option,
    json_option,
    parsed,
    print_ack,
    print_json,
    read_dir_option,
    say,
    shown,
    strictly_parsed,
    visible,
    why_no_json,
)
from signalbox.desktop.commands.arguments import Literal
from signalbox.desktop.commands.moments import at_option
from signalbox.ui import hidden


@click.command("get", cls=Literal)
@click.argument("key")
@at_option
@json_option
@read_dir_option
def get(key: str, at: str | None, as_json: bool, data_dir: Path) -> int:
    """Print the value of KEY."""
    with connect(data_dir) as box:
        item = box.item(key, at=at)
    if item is None:
        complain(f"There is no key {key}." if at is None else f"There was no key {key} then.")
        return NO_SUCH_KEY
    if as_json:
        print_json(item)
    else:
        value = item["value"]
        say(visible(value, but=hidden.TYPED) if isinstance(value, str) else shown(value))
    return 0


@click.command("set", cls=Literal, any_value=True)
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
    meant = value if kind == "text" else _json(value) if kind == "json" else parsed(value)
    with connect(data_dir) as box:
        print_ack(box.set(key, meant, expect=_expectation(expect)), as_json)


@click.command("rm", cls=Literal)
@click.argument("key", metavar="KEY|PREFIX.")
@json_option
@data_dir_option
def rm(key: str, as_json: bool, data_dir: Path) -> int:
    """Delete KEY, or everything below PREFIX. (with its dot)."""
    with connect(data_dir) as box:
        ack = box.delete_prefix(key) if key.endswith(".") else box.delete(key)
    if not ack["changed"]:
        complain(f"There is no key {key}.")
        return NO_SUCH_KEY
    if not as_json:
        click.echo(f"deleted {ack['changes']:,}, revision {ack['revision']}")
    else:
        print_json(ack)
    return 0


@click.command("add", cls=Literal, any_value=True)
@click.argument("key")
@click.argument("number", metavar="[N]", default="1")
@json_option
@data_dir_option
def add(key: str, number: str, as_json: bool, data_dir: Path) -> None:
    """Add N to the number at KEY."""
    with connect(data_dir) as box:
        print_ack(box.add(key, _json(number)), as_json)


@click.command("toggle", cls=Literal)
@click.argument("key")
@json_option
@data_dir_option
def toggle(key: str, as_json: bool, data_dir: Path) -> None:
    """Flip the boolean at KEY."""
    with connect(data_dir) as box:
        print_ack(box.toggle(key), as_json)


@click.command("merge", cls=Literal, any_value=True)
@click.argument("key")
@click.argument("patch", metavar="JSON")
@json_option
@data_dir_option
def merge(key: str, patch: str, as_json: bool, data_dir: Path) -> None:
    """Apply a JSON merge patch (RFC 7396) to KEY."""
    with connect(data_dir) as box:
        print_ack(box.merge(key, _json(patch)), as_json)


@click.command("mv", cls=Literal)
@click.argument("key")
@click.argument("new")
@json_option
@data_dir_option
def mv(key: str, new: str, as_json: bool, data_dir: Path) -> None:
    """Rename KEY to NEW; with a dot at the end of both everything below a prefix."""
    with connect(data_dir) as box:
        print_ack(box.rename(key, new), as_json)


def _json(text: str) -> Any:
    try:
        return strictly_parsed(text)
    except ValueError as error:
        raise click.UsageError(why_no_json(text, repr(text[:80]))) from error


def _expectation(text: str | None) -> Any:
    if text is None or text in ("absent", "present"):
        return text
    if not (text.isascii() and text.isdigit()):
        raise click.UsageError(
            f"--expect is {text[:80]!r}; allowed are a revision, absent and present."
        )
    return int(text)


SUBCOMMANDS: Final = (get, set_, rm, add, toggle, merge, mv)
