"""JSON values: read strictly, written compactly, compared by meaning."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model import values
from signalbox.server.model.errors import Invalid, Malformed, TooLarge

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
LONG = st.integers(-(10**350), 10**350) | st.integers(-5, 5).map(lambda n: 10**330 + n)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def exactly(one: Any, other: Any) -> bool:
    """Equal with equal types all the way down (1 is not 1.0 here); long integers may be texts."""
    if isinstance(one, msgspec.Raw):
        return isinstance(other, int) and bytes(one).decode() == str(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(exactly(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(exactly, one, other))
    return bool(one == other) and (one != 0 or str(one) == str(other))


@settings(deadline=None, max_examples=300)
@given(value=JSON)
def test_every_value_survives_writing_and_reading(value: Any) -> None:
    raw = values.encode(value)
    assert exactly(values.decode(raw.encode()), value)
    assert values.size(raw) == len(raw.encode())


@settings(deadline=None, max_examples=300)
@given(value=JSON)
def test_another_programs_json_is_read_alike(value: Any) -> None:
    assert exactly(values.decode(json.dumps(value).encode()), value)
    assert exactly(values.decode(json.dumps(value, indent=1, ensure_ascii=False).encode()), value)


def test_an_integer_as_large_as_a_value_may_be_is_exact() -> None:
    digits = "9" * (values.MAX_BYTES - 1) + "7"
    for text in (digits, f'{{"deep":[-{digits}]}}'):
        assert values.encode(values.decode(text.encode())) == text


@settings(max_examples=200)
@given(one=LONG, other=LONG)
def test_sums_of_integers_are_exact_at_any_size(one: int, other: int) -> None:
    summed = values.total(values.decode(b"%d" % one), values.decode(b"%d" % other))
    assert values.encode(summed) == str(one + other)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_of_more_digits_than_an_int_may_have_is_exact(sign: int) -> None:
    longest = sign * (10**values.MAX_INT_DIGITS - 1)
    raw = values.encode(values.total(longest, sign))
    assert raw == "-"[: sign < 0] + "1" + "0" * values.MAX_INT_DIGITS
    assert values.encode(values.total(values.decode(raw.encode()), -sign)) == str(longest)


def test_a_float_is_added_as_floats_are() -> None:
    assert values.total(1, 0.5) == 1.5
    assert values.total(2**53, 1.0) == float(2**53)
    huge = values.decode(b"9" * 400)
    assert values.total(huge, 0.5) == values.total(10**309, 1.5) == math.inf


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"1 2",
        b"[1,]",
        b"{'a': 1}",
        b'{"a":1,"a":1}',
        b'[{"x":{"a":1,"b":2,"a":3}}]',
        b'{"\\u0061":1,"a":2}',
        b"NaN",
        b"[Infinity]",
        b'{"a":-Infinity}',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800":1}',
        b'["a\\udfffb"]',
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xed\xa0\x80"',
        b'"a\nb"',
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x10",
        b"True",
        b"\xef\xbb\xbf1",
        b"\x00",
        b"1\x00",
        b"/* */ 1",
    ],
)
def test_what_is_not_exactly_one_json_value_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        values.decode(body)


@pytest.mark.parametrize("text", ['"\\ud83d\\ude00"', '"\\u2028"', '"\\u0000"', '"\\u0085"'])
def test_unusual_but_lawful_text_is_read(text: str) -> None:
    assert values.decode(text.encode()) == json.loads(text)


def nested(depth: int, inner: str = "") -> bytes:
    return ("[" * depth + inner + "]" * depth).encode()


@pytest.mark.parametrize("inner", ["", "1", "{}"])
def test_a_hundred_levels_are_allowed_and_not_one_more(inner: str) -> None:
    extra = 1 if inner == "{}" else 0
    values.check(values.decode(nested(100 - extra, inner)), "k")
    with pytest.raises(TooLarge) as caught:
        values.check(values.decode(nested(101 - extra, inner)), "k")
    assert caught.value.limit == 100


@pytest.mark.parametrize("depth", [500, 1_000, 5_000, 100_000])
def test_any_depth_is_refused_without_a_crash(depth: int) -> None:
    for body in (nested(depth), b'{"a":' * depth + b"1" + b"}" * depth, b"[" * depth):
        with pytest.raises((TooLarge, Malformed)):
            values.check(values.decode(body), "k")


@pytest.mark.parametrize("depth", [104, 150, 500])
def test_what_no_batch_can_hold_is_refused_before_anything_walks_into_it(depth: int) -> None:
    with pytest.raises(TooLarge):
        values.decode(nested(depth))


def test_a_float_that_overflows_is_invalid_wherever_it_stands() -> None:
    for text in ("1e999", "[[-1e999]]", '{"a":{"b":1e400}}'):
        with pytest.raises(Invalid, match=r"key\.x"):
            values.check(values.decode(text.encode()), "key.x")


def test_a_value_may_have_exactly_its_limit_in_bytes_of_utf8() -> None:
    values.check_size('"' + "a" * (values.MAX_BYTES - 2) + '"', "k")
    values.check_size('"' + "é" * (values.MAX_BYTES // 2 - 1) + '"', "k")
    for raw in (
        '"' + "a" * (values.MAX_BYTES - 1) + '"',
        '"' + "é" * (values.MAX_BYTES // 2) + '"',
    ):
        with pytest.raises(TooLarge, match=str(values.MAX_BYTES)) as caught:
            values.check_size(raw, "k")
        assert caught.value.limit == values.MAX_BYTES


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("1", "1.0", True),
        ("1", "10e-1", True),
        ("0", "-0.0", True),
        ("true", "1", False),
        ("false", "0", False),
        ("null", "0", False),
        ("null", "false", False),
        ('"1"', "1", False),
        ("[1]", "[1.0]", True),
        ("[true]", "[1]", False),
        ('{"a":1,"b":2}', '{"b":2.0,"a":1}', True),
        ('{"a":1}', '{"a":true}', False),
        ('{"a":1}', '{"a":1,"b":null}', False),
        ("[]", "{}", False),
        ("[1,2]", "[2,1]", False),
        ("9007199254740993", "9007199254740992.0", False),
        ("9007199254740992", "9007199254740992.0", True),
        ("0.1", "0.10000000000000001", True),
        ('"é"', '"\\u00e9"', True),
        ('"a"', '"A"', False),
    ],
)
def test_equal_means_same_type_and_value(one: str, other: str, *, equal: bool) -> None:
    assert values.same(one, other) is equal
    assert values.same(other, one) is equal


@settings(deadline=None, max_examples=200)
@given(one=JSON, other=JSON)
def test_equality_is_that_of_the_contract_for_any_two_values(one: Any, other: Any) -> None:
    def meaning(value: Any) -> Any:
        if isinstance(value, bool) or value is None or isinstance(value, str):
            return (type(value).__name__, value)
        if isinstance(value, list):
            return ("list", [meaning(inner) for inner in value])
        if isinstance(value, dict):
            return ("dict", {name: meaning(inner) for name, inner in value.items()})
        return ("number", value)

    raw, raw_other = values.encode(one), values.encode(other)
    assert values.same(raw, raw)
    assert values.same(raw, raw_other) == (meaning(one) == meaning(other))


def test_every_type_is_recognised_by_the_first_character() -> None:
    samples = {"null": "null", "boolean": "true", "number": "-1.5", "string": '""'}
    samples |= {"array": "[]", "object": "{}"}
    assert {name: values.type_of(raw) for name, raw in samples.items()} == {
        name: name for name in samples
    }
    assert values.type_of("false") == "boolean"
    assert math.isfinite(values.decode(b"1e308"))
