"""Items that were read lately are never older than the last commit."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Change, Transaction
from signalbox.server.read.state_query import Filter
from signalbox.server.store import recent_items
from signalbox.server.store.recent_items import LONGEST, RecentItems
from support.local_store import Store

KEYS = ["a", "a.x", "b"]
SET_LONG = {"type": "set", "key": "b", "value": "x" * LONGEST}
COMMANDS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("set"), "key": st.sampled_from(KEYS), "value": st.integers(0, 3)}
    ),
    st.fixed_dictionaries({"type": st.just("delete"), "key": st.sampled_from(KEYS)}),
    st.just({"type": "delete_prefix", "prefix": "a."}),
    st.just({"type": "rename", "key": "a", "to": "b"}),
    st.just({"type": "undo"}),
    st.just({"type": "add", "key": "a"}),
    st.just({"type": "toggle", "key": "b"}),
    st.just({"type": "batch", "commands": [SET_LONG, {"type": "delete", "key": "a.x"}]}),
    st.just({"type": "restore", "to_revision": 0}),
)


def transaction(*keys: str) -> Transaction:
    return Transaction(2, "id", "tester", 0, "set", b"", [Change(key, "2", False) for key in keys])


@settings(deadline=None, max_examples=60)
@given(st.lists(COMMANDS, max_size=20))
def test_each_key_is_what_the_page_of_all_says(commands: list[dict[str, Any]]) -> None:
    with Store() as store:
        for command in commands:
            store.run(**command)
            items = {item.key: item for item in store.readmodel.current.page(Filter()).items}
            for _ in range(2):
                assert {key: store.readmodel.current.get(key) for key in KEYS} == {
                    key: items.get(key) for key in KEYS
                }


def test_what_a_commit_changes_is_read_from_the_store_until_it_has_ended(tmp_path: Path) -> None:
    with Store(tmp_path / "signalbox.db") as store:
        store.set(a=1, b=1)
        current, recent = store.readmodel.current, store.database.recent_items
        before = [current.get("a"), current.get("b")]
        seen = list[Any]()

        def look() -> None:
            seen.append(([recent.get("a"), recent.get("b")], current.get("a"), recent.get("a")))

        assert isinstance(store.engine, SqliteEngine)
        store.engine.append(
            [transaction("a")],
            1,
            lambda: store.projection.apply_decided([transaction("a")]),
            before_commit=look,
        )
        store.projection.committed()
        assert seen == [([None, before[1]], before[0], None)]
        assert recent.get("a")
        after = current.get("a")
        assert after is not None
        assert (after.raw, after.revision) == ("2", 2)


def test_an_item_that_is_on_disk_makes_its_revision_visible(tmp_path: Path) -> None:
    """As between the end of a commit and when the writer goes on."""
    with Store(tmp_path / "signalbox.db") as store:
        store.set(a=1)
        store.engine.append(
            [transaction("a")], 1, lambda: store.projection.apply_decided([transaction("a")])
        )
        assert store.readmodel.revision == 1
        item = store.readmodel.current.get("a")
        assert item is not None
        assert (item.revision, store.readmodel.revision) == (2, 2)


def test_few_and_short_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_items, "MOST", 2)
    recent = RecentItems()
    for key in ("a", "b", "c"):
        recent.keep((key, "1"))
    recent.keep(("long", "x" * (LONGEST + 1)))
    kept = [recent.get(key) for key in ("a", "b", "c", "long")]
    assert kept == [None, ("b", "1"), ("c", "1"), None]


def test_nothing_is_kept_of_a_commit_that_fails_or_is_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recent = RecentItems()
    with pytest.raises(Unavailable), recent.changing([transaction("a")]):
        raise Unavailable("The disk is full.")
    assert recent.get("a") is None
    recent.keep(("b", "1"))
    monkeypatch.setattr(recent_items, "FEW", 1)
    with recent.changing([transaction("a", "c")]):
        pass
    assert [recent.get(key) for key in "abc"] == [None] * 3
