"""Expectations, batches and the limits of one transaction."""

from typing import Any

import pytest

from signalbox.server.model import values
from signalbox.server.model.commands import read_command
from signalbox.server.model.decide import (
    MAX_CHANGES,
    MAX_TRANSACTION_BYTES,
    decide,
)
from signalbox.server.model.errors import (
    Conflict,
    Invalid,
    TooLarge,
    WrongType,
)
from signalbox.server.model.events import Entry
from support.command_model import Command
from support.dict_state import DictState, decided_batch, decided_changes, refused_decision

EXPECTATIONS = [
    ("any", True, True),
    ("absent", False, True),
    ("present", True, False),
    ({"revision": 3}, True, False),
    ({"revision": 2}, False, False),
    ({"revision": 0}, False, True),
    ({"store_revision": 7}, True, True),
    ({"store_revision": 3}, False, False),
]


@pytest.mark.parametrize(("expect", "where_present", "where_absent"), EXPECTATIONS)
@pytest.mark.parametrize(
    "command",
    [
        {"type": "set", "key": "k", "value": 2},
        {"type": "delete", "key": "k"},
        {"type": "add", "key": "k"},
        {"type": "merge", "key": "k", "value": {"a": 1}},
    ],
)
def test_an_expectation_decides_before_the_command(
    expect: Any,
    where_present: bool,
    where_absent: bool,
    command: Command,
) -> None:
    for held, met, actual in (({"k": 1}, where_present, 3), ({}, where_absent, 0)):
        if met:
            decided_changes(held, **command, expect=expect)
        else:
            error = refused_decision(Conflict, held, **command, expect=expect)
            about_store = isinstance(expect, dict) and "store_revision" in expect
            assert error.revision == (7 if about_store else actual)


@pytest.mark.parametrize(
    "expect",
    [
        "never",
        "",
        None,
        True,
        7,
        [],
        {},
        {"revision": -1},
        {"revision": "3"},
        {"revision": 3.5},
        {"revision": True},
        {"revision": 1, "store_revision": 1},
        {"revision": 1, "other": 1},
    ],
)
def test_an_expectation_of_another_form_is_invalid_and_named(expect: Any) -> None:
    error = refused_decision(Invalid, {"k": 1}, type="set", key="k", value=1, expect=expect)
    assert "expect" in error.message


def test_a_prefix_knows_only_expectations_of_the_store() -> None:
    held = {"a.x": 1}
    for command in (
        {"type": "delete_prefix", "prefix": "a."},
        {"type": "rename", "key": "a.", "to": "b."},
    ):
        assert decided_changes(held, **command, expect={"store_revision": 7})
        refused_decision(Conflict, held, **command, expect={"store_revision": 6})
        for expect in ("present", "absent", {"revision": 3}):
            refused_decision(Invalid, held, **command, expect=expect)


def test_later_members_of_a_batch_see_earlier_ones() -> None:
    found = decided_batch(
        {"a.x": 1},
        {"type": "add", "key": "a.x"},
        {"type": "rename", "key": "a.", "to": "b."},
        {"type": "add", "key": "b.x", "expect": "present"},
        {"type": "set", "key": "b.y", "value": 1, "expect": "absent"},
        {"type": "delete_prefix", "prefix": "c."},
    )
    assert found == {"a.x": None, "b.x": 3, "b.y": 1}


def test_a_conflict_names_no_revision_that_the_batch_itself_would_make() -> None:
    for last in (
        {"type": "set", "key": "k", "value": 3, "expect": {"revision": 3}},
        {"type": "set", "key": "k", "value": 3, "expect": "absent"},
        {"type": "rename", "key": "other", "to": "k"},
    ):
        members = [{"type": "set", "key": "k", "value": 2}, last]
        error = refused_decision(Conflict, {"k": 1, "other": 1}, type="batch", commands=members)
        assert error.revision is None
        assert "8" not in error.message
        assert "earlier command of the batch" in error.message


def test_only_the_net_effect_of_a_batch_counts() -> None:
    assert (
        decided_batch(
            {"a": 1},
            {"type": "set", "key": "a", "value": 2},
            {"type": "set", "key": "a", "value": 1},
        )
        == {}
    )
    assert (
        decided_batch({}, {"type": "set", "key": "a", "value": 2}, {"type": "delete", "key": "a"})
        == {}
    )
    assert (
        decided_batch({"b": True}, {"type": "toggle", "key": "b"}, {"type": "toggle", "key": "b"})
        == {}
    )


def test_one_refused_member_refuses_the_whole_batch() -> None:
    with pytest.raises(WrongType):
        decided_batch(
            {"s": "x"}, {"type": "set", "key": "a", "value": 1}, {"type": "add", "key": "s"}
        )


def test_a_member_that_changed_nothing_leaves_the_keys_revision_as_it_was() -> None:
    found = decided_batch(
        {"a": 1},
        {"type": "set", "key": "a", "value": 1.0},
        {"type": "set", "key": "a", "value": 2, "expect": {"revision": 3}},
    )
    assert found == {"a": 2}


@pytest.mark.parametrize(
    "member",
    [
        {"type": "decided_batch", "commands": []},
        {"type": "set", "key": "a", "value": 1, "id": "x"},
        {"type": "set", "key": "a", "value": 1, "actor": "x"},
        {"type": "set", "key": "a", "value": 1, "dry_run": True},
        {"type": "undo"},
        {},
        "set",
        None,
    ],
)
def test_members_carry_only_type_fields_and_expectation(member: Any) -> None:
    with pytest.raises(Invalid):
        decided_batch({}, {"type": "set", "key": "b", "value": 1}, member)


def test_a_batch_has_at_most_a_thousand_members() -> None:
    members = [{"type": "add", "key": "n"}] * 1_000
    assert decided_batch({}, *members) == {"n": 1_000}
    with pytest.raises(TooLarge) as caught:
        decided_batch({}, *members, members[0])
    assert caught.value.limit == 1_000
    assert "1001" in caught.value.message
    assert decided_batch({}) == {}


def test_a_value_that_grows_beyond_its_limit_is_too_large() -> None:
    half = "x" * (values.MAX_BYTES // 2)
    error = refused_decision(TooLarge, {"k": {"a": half}}, type="merge", key="k", value={"b": half})
    assert (error.key, error.limit) == ("k", values.MAX_BYTES)


def test_one_transaction_holds_a_hundred_thousand_changes() -> None:
    state = DictState()
    state.held = {f"a.{number}": Entry("1", 1) for number in range(MAX_CHANGES)}
    command = read_command({"type": "delete_prefix", "prefix": "a."})
    assert len(decide(state, command)) == MAX_CHANGES
    state.held["a.more"] = Entry("1", 1)
    with pytest.raises(TooLarge) as caught:
        decide(state, command)
    assert caught.value.limit == MAX_CHANGES


def test_one_transaction_holds_16_mib() -> None:
    value = "x" * (values.MAX_BYTES - 2)
    members = [{"type": "set", "key": f"k{number}", "value": value} for number in range(65)]
    with pytest.raises(TooLarge) as caught:
        decided_batch({}, *members)
    assert caught.value.limit == MAX_TRANSACTION_BYTES
    assert len(decided_batch({}, *members[:63])) == 63
