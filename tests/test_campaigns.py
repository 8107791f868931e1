"""Each campaign for some seconds, and the check of what was acknowledged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import failover
import kill
import partition
from explained import Explained
from sent import Read, Sent

SEED = 20_270


def test_acknowledged_changes_survive_some_kills(tmp_path: Path) -> None:
    figures = kill.campaign(tmp_path, SEED, rounds=3)
    assert figures["rounds"] == 3
    assert figures["accepted"] > 10


def test_acknowledged_changes_survive_a_partition(tmp_path: Path) -> None:
    figures = partition.campaign(tmp_path, SEED, seconds=1)
    assert figures["accepted"] >= 9  # of each sender, and of each node in the end


def test_acknowledged_changes_survive_a_failover(tmp_path: Path) -> None:
    figures = failover.campaign(tmp_path, SEED, failovers=1)
    assert figures["failovers"] == 1
    assert figures["accepted"] >= 6


# The checker.


def put(identity: str, value: Any, at: float, revision: int, **fields: Any) -> Sent:
    """A key that was set with success, within a second."""
    wish = {"type": "set", "key": "k", "value": value, **fields}
    return Sent(identity, wish, at, at + 1, "accepted", "", revision)


def refused(identity: str, at: float, found: int, **fields: Any) -> Sent:
    wish = {"type": "set", "key": "k", "value": 9, "expect": "absent", **fields}
    return Sent(identity, wish, at, at + 1, "rejected", "conflict", found)


def logged(revision: int, identity: str, value: Any, key: str = "k") -> Mapping[str, Any]:
    return {"revision": revision, "id": identity, "changes": [{"key": key, "value": value}]}


ONE, TWO = put("one", 1, 0, 1), put("two", 2, 10, 2)
LOG = [logged(1, "one", 1), logged(2, "two", 2)]
OPEN = Sent("open", {"type": "set", "key": "k", "value": 3}, 20.0)
SAME = Sent("same", {"type": "set", "key": "k", "value": 1}, 5, 6, "accepted", "", 1, changed=False)


@pytest.mark.parametrize(
    ("more", "log"),
    [
        ([], LOG),
        ([OPEN], LOG),
        ([OPEN], [*LOG, logged(3, "open", 3)]),
        ([refused("no", 5, 1), SAME], LOG),
        ([refused("no", 10.5, 1)], LOG),
        ([refused("no", 10.5, 2)], LOG),
    ],
    ids=["all told", "not written", "written", "in between", "before it", "behind it"],
)
def test_the_checker_finds_nothing_where_all_is_well(
    more: list[Sent], log: list[Mapping[str, Any]]
) -> None:
    assert Explained().problems([ONE, TWO, *more], log, [Read("k", 2, 2)]) == []


@pytest.mark.parametrize(
    ("sent", "log", "problem"),
    [
        ([ONE, TWO], LOG[:1], "two was told 2 and is at None"),
        ([ONE], LOG, "two is in the log, and nobody sent it"),
        ([ONE, TWO], [LOG[0], LOG[0]], "gap"),
        ([ONE, refused("two", 10, 1)], LOG, "two was told rejected conflict and is at 2"),
        ([ONE, TWO], [LOG[0], logged(2, "two", 7)], "two has done {'k': 7}, not {'k': 2}"),
        ([ONE, TWO], [LOG[0], logged(2, "two", 2, "j")], "two has done {'j': 2}"),
        ([ONE, put("two", 2, 10, 2, expect="absent")], LOG, "it is to be refused: conflict"),
        ([ONE, TWO, refused("no", 5, 2)], LOG, "no was told ('conflict', 2), never true"),
        ([ONE, TWO, refused("no", 20, 1)], LOG, "no was told ('conflict', 1), never true"),
    ],
)
def test_the_checker_finds_each_planted_violation(
    sent: list[Sent], log: list[Mapping[str, Any]], problem: str
) -> None:
    found = Explained().problems(sent, log)
    assert any(problem in one for one in found), found


def test_the_checker_finds_what_was_unchanged_for_what_was_and_what_was_never_shown() -> None:
    late = Sent("late", SAME.command, 20, 21, "accepted", "", 2, changed=False)
    found = Explained().problems([ONE, TWO, late], LOG, [Read("k", 2, 7)])
    assert found == [
        "late was told ('', 0), never true",
        "k was shown as 7 of 2, which it never was",
    ]
