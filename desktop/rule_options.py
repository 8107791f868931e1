"""What the options of `signalbox rule set` mean: the record of a rule."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from signalbox.desktop.click_types import Checked
from signalbox.desktop.json_text import parse_json_argument, parse_json_or_text

TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")


def _read_number(text: str) -> Any:
    """The number that a word is. Raises `ValueError`."""
    value = parse_json_or_text(text)
    if type(value) not in (int, float):
        raise ValueError(text)
    return value


NUMBER: Final = Checked[Any]("number", _read_number, "allowed is a number")


def record_of(match: Sequence[str], options: Mapping[str, Any]) -> dict[str, Any]:
    """The record that the options of `rule set` describe. Raises `UsageError`."""
    given = {
        "match": match[0] if len(match) == 1 else list(match),
        "schema": _schema(options),
        "requires": dict(map(_required_key, options["requires"])),
        "on": None if options["on"] is None else _condition(options["on"]),
        "holds": options["holds"],
        "actors": list(options["actors"]),
        "says": options["says"],
    }
    record = {name: said for name, said in given.items() if said or (name == "on" and said == {})}
    return record | ({"delete": False} if options["no_delete"] else {})


def _schema(options: Mapping[str, Any]) -> dict[str, Any]:
    """The schema that the options describe; empty where there are none."""
    choices = options["choices"]
    given = {
        "type": options["type_"],
        "minimum": options["least"],
        "maximum": options["most"],
        "multipleOf": options["step"],
        "enum": None if choices is None else [*map(parse_json_or_text, choices.split(","))],
        **{name: options[name] for name in ("unit", "title", "description")},
    }
    return {name: value for name, value in given.items() if value is not None}


def _condition(text: str) -> Any:
    """The schema that JSON on the command line means: an object itself, else what equals it."""
    value = parse_json_argument(text)
    return value if isinstance(value, dict) else {"const": value}


def _required_key(word: str) -> tuple[str, Any]:
    """The key before the last `=` that has JSON behind it, and what it must be."""
    place = word.rfind("=")
    while place > 0:
        key, text = word[:place], word[place + 1 :]
        try:
            return key, None if text.strip() == "null" else _condition(text)
        except click.UsageError:
            place = word.rfind("=", 0, place)
    raise click.UsageError(
        f"--requires is {word[:80]!r}; allowed is KEY=JSON, such as door.closed=true: a schema, a "
        "value, or null where the key must not exist."
    )
