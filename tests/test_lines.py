"""Lines of an import are read fast, and exactly as a posted body is read."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings

from signalbox.server.model import values
from signalbox.server.model.commands import Command, read_command, read_line
from signalbox.server.model.errors import Malformed, SignalboxError, TooLarge
from support.json_lines import JSON_TEXT, line


def strictly(text: bytes) -> Any:
    """JSON as it must be, read by Python's own decoder."""
    try:
        value = json.loads(text.decode(), object_pairs_hook=unique, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise TooLarge("deep") from None
    except ValueError as error:
        raise Malformed(str(error)) from error
    level = [value]
    for _ in range(values.MAX_DEPTH + values.ENVELOPE):
        level = [inner for outer in level for inner in within(outer)]
    if any(isinstance(inner, dict | list) for inner in level):
        raise TooLarge("deep")
    return value


def unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(members)) < len(members):
        raise ValueError("a name stands twice")
    return dict(members)


def refuse(text: str) -> Any:
    raise ValueError(text)


def within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def slowly(text: bytes) -> Command:
    """How a command must be read."""
    return read_command(as_object(strictly(text)))


def outcome(read: Any, text: bytes) -> tuple[str, Any]:
    try:
        command = read(text)
    except SignalboxError as error:
        return error.code, None
    return "ok", (type(command), json.dumps(msgspec_fields(command)))


def msgspec_fields(command: Any) -> Any:
    """All fields with their types: 1 and 1.0 are different, as are 0.0 and -0.0."""
    if hasattr(command, "__struct_fields__"):
        return {name: msgspec_fields(getattr(command, name)) for name in command.__struct_fields__}
    if isinstance(command, list):
        return [msgspec_fields(one) for one in command]
    if isinstance(command, dict):
        return {name: msgspec_fields(one) for name, one in command.items()}
    if isinstance(command, msgspec.Raw):
        return ["int", bytes(command).decode()]
    return [type(command).__name__, repr(command)]


@settings(deadline=None, max_examples=600)
@given(text=line() | JSON_TEXT)
@example('{"type":"set","key":"k","value":{"a" :1,"a":2}}')
@example('{"type" :"set","type":"set","key":"k","value":1}')
@example('{"type":"set","key":"k","value":{"a":1,"a" :2},"expect":"any"}')
@example('{"type":"set","key":"k","value":"\ud800"}')
def test_a_line_and_a_body_are_read_strictly(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    expected = outcome(slowly, raw)
    assert outcome(read_line, raw) == expected
    assert outcome(lambda body: read_command(as_object(values.decode(body))), raw) == expected


def as_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed("no object.")
    return value


@pytest.mark.parametrize("depth", [99, 100, 102, 104, 500, 1_000, 5_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_judged_alike(depth: int, opening: str, closing: str) -> None:
    for kind in ("set", "merge", "add"):
        text = f'{{"type":"{kind}","key":"k","value":{opening * depth}1{closing * depth}}}'
        assert outcome(read_line, text.encode()) == outcome(slowly, text.encode())


@pytest.mark.parametrize("digits", [18, 19, 20, 25, 400, 4_000])
def test_integers_are_exact(digits: int) -> None:
    for number in ("9" * digits, "-" + "9" * digits):
        text = f'{{"type":"set","key":"k","value":[{number}]}}'.encode()
        assert read_line(text).value == [int(number)]  # type: ignore[union-attr]


@pytest.mark.parametrize("number", ["1e308", "1e309", "-1e309", "1e-400", "0.1", "12345.678912345"])
def test_floats_are_read_alike(number: str) -> None:
    text = f'{{"type":"set","key":"k","value":{number}}}'.encode()
    assert outcome(read_line, text) == outcome(slowly, text)
