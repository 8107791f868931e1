"""Deciding: what each command changes and when it is refused."""

from typing import Any

import pytest

from signalbox.server.model import values
from signalbox.server.model.commands import read_command
from signalbox.server.model.decide import decide
from signalbox.server.model.errors import (
    Conflict,
    Invalid,
    NotFound,
    TooLarge,
    WrongType,
)
from support.dict_state import DictState, decided_changes, refused_decision


def test_set_changes_one_key() -> None:
    assert decided_changes({}, type="set", key="a.b", value=[1]) == {"a.b": [1]}


@pytest.mark.parametrize(
    ("before", "after"), [(1, 1.0), ("é", "é"), ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
)
def test_setting_an_equal_value_changes_nothing(before: Any, after: Any) -> None:
    assert decided_changes({"a": before}, type="set", key="a", value=after) == {}


@pytest.mark.parametrize(
    ("before", "after"), [(1, True), (0, False), (None, False), ("1", 1), ([], {})]
)
def test_setting_a_value_of_another_type_is_a_change(before: Any, after: Any) -> None:
    assert decided_changes({"a": before}, type="set", key="a", value=after) == {"a": after}


def test_delete_removes_a_key_and_only_it() -> None:
    found = decide(DictState({"a": 1, "a.b": 2}), read_command({"type": "delete", "key": "a"}))
    assert found == {"a": None}
    assert decided_changes({"a": 1}, type="delete", key="b") == {}


def test_delete_of_a_missing_key_is_refused_where_it_must_be_present() -> None:
    error = refused_decision(Conflict, {}, type="delete", key="b", expect="present")
    assert error.key == "b"
    assert error.revision == 0


def test_delete_prefix_removes_whole_segments_only() -> None:
    held = {"test": 1, "test.a": 1, "test.b.c": 1, "test2.a": 1, "test-a": 1}
    assert decided_changes(held, type="delete_prefix", prefix="test.") == {
        "test.a": None,
        "test.b.c": None,
    }
    assert decided_changes(held, type="delete_prefix", prefix="other.") == {}


@pytest.mark.parametrize(
    ("before", "by", "after"),
    [
        (1, 1, 2),
        (1, -1.5, -0.5),
        (2**70, 1, 2**70 + 1),
        (0.5, 1, 1.5),
        (10**400, 10**400, 2 * 10**400),
    ],
)
def test_add_is_exact_for_integers_of_any_size(before: Any, by: Any, after: Any) -> None:
    assert decided_changes({"n": before}, type="add", key="n", by=by) == {"n": after}


def test_add_counts_from_nothing_by_one() -> None:
    assert decided_changes({}, type="add", key="n") == {"n": 1}
    assert decided_changes({}, type="add", key="n", by=0) == {"n": 0}
    assert decided_changes({"n": 5}, type="add", key="n", by=0) == {}


@pytest.mark.parametrize("value", [None, True, "1", [1], {}])
def test_add_to_what_is_no_number_is_refused_by_type(value: Any) -> None:
    error = refused_decision(WrongType, {"n": value}, type="add", key="n")
    assert "n is of type" in error.message
    assert "number" in error.message


@pytest.mark.parametrize(
    ("before", "by"), [(1e308, 1e308), (-1e308, -1e308), (10**400, 0.5), (0.5, 10**400)]
)
def test_a_sum_beyond_floats_is_invalid(before: Any, by: Any) -> None:
    assert refused_decision(Invalid, {"n": before}, type="add", key="n", by=by).key == "n"


def test_toggle_turns_and_begins_with_true() -> None:
    assert decided_changes({}, type="toggle", key="b") == {"b": True}
    assert decided_changes({"b": True}, type="toggle", key="b") == {"b": False}
    assert decided_changes({"b": False}, type="toggle", key="b") == {"b": True}


@pytest.mark.parametrize("value", [None, 0, 1, "true", [], {}])
def test_toggle_of_what_is_no_boolean_is_refused_by_type(value: Any) -> None:
    assert "boolean" in refused_decision(WrongType, {"b": value}, type="toggle", key="b").message


RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("before", "patch", "after"), RFC_7396)
def test_merge_does_what_the_table_of_rfc_7396_says(before: Any, patch: Any, after: Any) -> None:
    assert decided_changes({"k": before}, type="merge", key="k", value=patch) == {"k": after}


def test_merge_into_nothing_begins_with_an_empty_object() -> None:
    assert decided_changes({}, type="merge", key="k", value={"a": {"b": None, "c": 1}}) == {
        "k": {"a": {"c": 1}}
    }
    assert decided_changes({}, type="merge", key="k", value=3) == {"k": 3}
    assert decided_changes({"k": {"a": 1}}, type="merge", key="k", value={"b": None}) == {}


def test_a_merge_may_not_nest_deeper_than_a_value_may() -> None:
    deep: Any = 1
    for _ in range(60):
        deep = {"a": deep}
    held = {"k": deep}
    assert decided_changes(held, type="merge", key="k", value={"b": deep})
    patch: Any = {"b": deep}
    for _ in range(50):
        patch = {"a": patch}
    error = refused_decision(TooLarge, held, type="merge", key="k", value=patch)
    assert error.limit == values.MAX_DEPTH


def test_rename_moves_one_key() -> None:
    held = {"a": 1, "a.b": 2}
    assert decided_changes(held, type="rename", key="a", to="c") == {"a": None, "c": 1}
    assert decided_changes(held, type="rename", key="a", to="a.c") == {"a": None, "a.c": 1}


def test_rename_of_a_prefix_moves_whole_segments() -> None:
    held = {"a.x": 1, "a.y.z": 2, "ab.x": 3, "a": 4}
    found = decided_changes(held, type="rename", key="a.", to="b.c.")
    assert found == {"a.x": None, "a.y.z": None, "b.c.x": 1, "b.c.y.z": 2}


def test_a_prefix_may_move_up_into_its_own_parent() -> None:
    held = {"a.b.x": 1, "a.b.b.x": 2}
    found = decided_changes(held, type="rename", key="a.b.", to="a.", replace=True)
    assert found == {"a.x": 1, "a.b.x": 2, "a.b.b.x": None}


def test_rename_of_nothing_is_not_found() -> None:
    assert refused_decision(NotFound, {"ab": 1}, type="rename", key="a", to="b").key == "a"
    refused_decision(NotFound, {"a": 1, "ab.c": 1}, type="rename", key="a.", to="b.")


def test_rename_onto_a_key_is_a_conflict_unless_it_may_replace() -> None:
    held = {"a.x": 1, "a.y": 2, "b.x": 3}
    error = refused_decision(Conflict, held, type="rename", key="a.", to="b.")
    assert (error.key, error.keys, error.revision) == ("b.x", ["b.x"], 3)
    found = decided_changes(held, type="rename", key="a.", to="b.", replace=True)
    assert found == {"a.x": None, "a.y": None, "b.x": 1, "b.y": 2}


@pytest.mark.parametrize(
    ("key", "to"), [("a", "a"), ("a.", "a."), ("a.", "a.b."), ("a.", "b"), ("a", "b.")]
)
def test_rename_into_itself_or_of_key_and_prefix_mixed_is_invalid(key: str, to: str) -> None:
    refused_decision(Invalid, {"a": 1, "a.b": 1}, type="rename", key=key, to=to)


def test_rename_to_what_would_be_no_key_is_refused_and_nothing_moves() -> None:
    refused_decision(Invalid, {"a." + "x" * 200: 1}, type="rename", key="a.", to="b" * 100 + ".")
