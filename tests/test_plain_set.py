"""The quick way of an import's lines takes plain ones alone, and reads them as the general way."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from signalbox.server.model.commands import read_line
from signalbox.server.model.decide import prepare_command
from signalbox.server.model.errors import SignalboxError
from signalbox.server.model.plain_set import read_plain_set
from support.json_lines import JSON_TEXT, SPACE, line

KEYS = ["k", "a.b", "é", "e\u0301", "a..b", ".a", "a*", "", "\U0001faea", "k" * 256, "k" * 257]
SETTINGS = ["_signalbox.theme", "_signalbox.nothing"]
JSON_KEY = st.sampled_from([*KEYS, *SETTINGS]).flatmap(
    lambda key: st.sampled_from([json.dumps(key), json.dumps(key, ensure_ascii=False)])
)
NAME = st.sampled_from(["type", "type", "key", "value", "value", "expect", "k\\u0065y", ""])


@st.composite
def hostile_set(draw: st.DrawFn) -> str:
    """A `set` with its fields in any order, perhaps one twice, an unknown one, or white space."""
    value, space = draw(JSON_TEXT | JSON_KEY), draw(SPACE)
    fields = ['"type":"set"', f'"key":{space}{draw(JSON_KEY)}', f'"value":{space}{value}']
    fields += [
        f'"{draw(NAME)}":{draw(JSON_TEXT | JSON_KEY | st.just(chr(34) + "set" + chr(34)))}'
        for _ in range(draw(st.sampled_from([0, 0, 1])))
    ]
    text = "{" + f",{space}".join(draw(st.permutations(fields))) + "}"
    return draw(st.sampled_from(["", "", " ", "\ufeff"])) + text + draw(st.sampled_from(["", " ]"]))


def generally(text: bytes) -> Any:
    try:
        return prepare_command(read_line(text))
    except SignalboxError as error:
        return error


@settings(deadline=None, max_examples=1_500)
@given(text=hostile_set() | line() | JSON_TEXT, cut=st.none() | st.integers(0, 60))
@example('{"type":"set","key":"","key":"k","value":1}', None)
@example('{"type":"set","value":1,"key":"k","value":2}', None)
@example('{"type":"set","type":"set","key":"k","value":2}', None)
@example('{"key":"k","value":2}', None)
@example('{"type":"set","key":"k","value":{"a":1,"a":2}}', None)
@example('{"type":"set","key":"k","value":"\ud800"}', None)
@example('{"type":"set","key":"\ud800","value":1}', None)
@example('{"type":"set","key":"k","value":1e999}', None)
@example('{"type":"set","key":"k","value":NaN}', None)
@example('{"type":"set","key":"k","value":"\x00"}', None)
@example('{"type":"set","key":"k","value":' + "[" * 101 + "]" * 101 + "}", None)
@example('{"type":"set","key":"k","value":' + "[" * 99_999 + "]" * 99_999 + "}", None)
@example('{"type":"set","key":"k","value":"' + "x" * 262_144 + '"}', None)
def test_what_the_quick_way_takes_is_what_the_general_way_makes_of_it(
    text: str, cut: int | None
) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    raw = raw if cut is None else raw[:cut] + raw[cut + 1 :]
    quickly = read_plain_set(raw)
    assert quickly is None or quickly == generally(raw)


@settings(deadline=None)
@given(
    key=st.from_regex(r"[a-z0-9_/é:-]{1,9}(\.[a-zA-Z0-9-]{1,9}){0,3}", fullmatch=True),
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),  # no halves of surrogate pairs
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner),
        max_leaves=5,
    ),
    ensure_ascii=st.booleans(),
    separators=st.sampled_from([(",", ":"), (", ", ": ")]),
    value_first=st.booleans(),
)
def test_what_programs_write_goes_the_quick_way(
    key: str, value: Any, ensure_ascii: bool, separators: tuple[str, str], value_first: bool
) -> None:
    fields = {"type": "set", "key": key, "value": value}
    if value_first:
        fields = dict(sorted(fields.items(), reverse=True))
    text = json.dumps(fields, ensure_ascii=ensure_ascii, separators=separators).encode()
    made = read_plain_set(text)
    if key.isascii() or made is not None:
        assert made == generally(text)


@pytest.mark.parametrize("text", [b'{"type":"set","key":"\xff","value":1}', b"\xff", b"", b"{}"])
def test_bytes_that_are_no_text_are_left_to_the_general_way(text: bytes) -> None:
    assert read_plain_set(text) is None


@pytest.mark.parametrize("text", [b'"a\xff"', b'{"a":"\xed\xa0\x80"}', b'["\x1f"]', b"01", b"[1,]"])
def test_a_value_is_read_as_strictly_as_a_whole_line(text: bytes) -> None:
    assert read_plain_set(b'{"type":"set","key":"k","value":' + text + b"}") is None
