"""What differs between two values: exact, readable, and never as long as the values."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalbox.ui.value_diff import (
    CONTEXT,
    MAX_CHANGE,
    MAX_PATHS,
    Delta,
    Piece,
    delta,
)

MINUS = "\N{MINUS SIGN}"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def between(before: Any, after: Any) -> Delta:
    return delta(json.dumps(before), json.dumps(after))


def pieces_as_text(before: Any, after: Any) -> list[str]:
    """The lines of two JSON values' difference."""
    lines = between(before, after).paths
    return [" ".join(f"{piece.kind}:{piece.text}" for piece in line) for line in lines]


@pytest.mark.parametrize(
    ("before", "after", "kind", "text"),
    [
        ("0.05", "0.01", "down", f"{MINUS}0.04"),
        ("0.05", "0.1", "up", "+0.05"),
        ("1", "3", "up", "+2"),
        ("0.1", "0.3", "up", "+0.2"),
        ("9007199254740992", "9007199254740993", "up", "+1"),
        ("1e22", "1", "down", f"{MINUS}1e+22"),
        ("123456789012345678901", "123456789012345678901234", "up", "+1.23333e+23"),
        ("1.5e-9", "1.6e-9", "up", "+0.0000000001"),
        ("-2", "-5", "down", f"{MINUS}3"),
    ],
)
def test_a_number_differs_by_an_exact_number(before: str, after: str, kind: str, text: str) -> None:
    assert delta(before, after) == Delta("number", [Piece(kind, text)])


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_what_is_added_leads_from_one_number_to_the_other(before: int, after: int) -> None:
    if before == after:
        return
    (piece,) = between(before, after).pieces
    assert Decimal(before) + Decimal(piece.text.replace(MINUS, "-")) == after


def test_texts_differ_by_word() -> None:
    found = between("epoch 3 of 12, loss 0.5", "epoch 4 of 12, loss 0.5")
    kinds = [("same", "epoch "), ("del", "3"), ("ins", "4"), ("same", " of 12, loss 0.5")]
    assert (found.kind, found.pieces) == ("text", kinds)
    assert between("testing", "tested").pieces == [("del", "testing"), ("ins", "tested")]
    assert between("ok", "failed: 3 tests").pieces == [("del", "ok"), ("ins", "failed: 3 tests")]
    assert between("", "new").pieces == [("ins", "new")]
    assert between("a b", "a").pieces == [("same", "a"), ("del", " b")]


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_pieces_make_up_both_texts(before: str, after: str) -> None:
    if before == after:
        return
    pieces = between(before, after).pieces
    assert "".join(piece.text for piece in pieces if piece.kind != "ins") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "del") == after


def test_long_texts_show_what_changed_and_what_stands_beside_it() -> None:
    far = "word " * 5_000
    found = between(f"{far}old {far}", f"{far}new {far}").pieces
    assert [piece.kind for piece in found] == ["same", "del", "ins", "same"]
    assert max(len(piece.text) for piece in found) <= CONTEXT + 1
    assert sum(len(piece.text) for piece in between(far, far[::-1]).pieces) <= 2 * MAX_CHANGE + 100
    assert (
        max(len(piece.text) for piece in between("x" * 250_000, "y" * 250_000).pieces) == MAX_CHANGE
    )


def test_json_differs_by_path() -> None:
    before = {"desk": 40, "hall": {"on": True, "level": [1, 2, 3]}, "old": "x", "a b": 1}
    after = {"desk": 45, "hall": {"on": False, "level": [1, 2, 3, 4]}, "a b": 2, "new": None}
    assert pieces_as_text(before, after) == [
        "path:desk same:45 up:+5",
        "path:hall.on del:true ins:false",
        "path:hall.level[3] ins:4",
        'path:old del:"x"',
        'path:["a b"] same:2 up:+1',
        "path:new ins:null",
    ]


def test_what_was_put_into_a_list_is_one_difference() -> None:
    assert pieces_as_text([1, 2, 3], [0, 1, 2, 3]) == ["path:[0] ins:0"]
    assert pieces_as_text([1, 2, 3], [1, 3]) == ["path:[1] del:2"]
    assert pieces_as_text([{"a": 1}], [{"a": 2}]) == ["path:[0].a same:2 up:+1"]


def test_many_paths_are_counted_and_huge_values_only_named() -> None:
    found = between({str(n): n for n in range(20)}, {})
    assert (len(found.paths), found.more) == (MAX_PATHS, 20 - MAX_PATHS)
    assert between(["x" * 50_000], ["y"]) == Delta("json", more=-1)


def test_equal_values_that_are_written_differently_do_not_differ() -> None:
    assert delta('{"a":1,"b":[1]}', '{"b":[1.0],"a":1.0}').paths == []
    assert pieces_as_text({"a": True}, {"a": 1}) == ["path:a del:true ins:1"]


def test_another_kind_of_value_is_only_another() -> None:
    for before, after in [("1", '"1"'), (None, "1"), ("1", None), ("true", "false"), ("[]", "{}")]:
        assert delta(before, after) == Delta("other")


@given(JSON, JSON)
def test_any_two_values_can_be_compared(before: Any, after: Any) -> None:
    found = between(before, after)
    if found.kind == "json" and before != after:
        assert found.paths


def test_deep_and_long_values_take_little_time() -> None:
    deep = "[" * 100 + "]" * 100
    assert delta(deep, "[" * 99 + "1" + "]" * 99).paths
    digits = "9" * 250_000
    assert delta(digits, digits[:-1] + "8").pieces[0].kind == "down"
