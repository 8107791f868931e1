"""Items that were read lately are never older than the last commit."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.model.events import Change, Transaction
from signalbox.server.read.state_query import Filter
from signalbox.server.store import recent_items
from signalbox.server.store.recent_items import LONGEST, RecentItems
from support.local_store import Store

KEYS = ["a", "a.x", "b"]
COMMANDS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("set"), "key": st.sampled_from(KEYS), "value": st.integers(0, 3)}
    ),
    st.fixed_dictionaries({"type": st.just("delete"), "key": st.sampled_from(KEYS)}),
    st.just({"type": "delete_prefix", "prefix": "a."}),
    st.just({"type": "rename", "key": "a", "to": "b"}),
    st.just({"type": "undo"}),
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
        after = current.get("a")
        assert after is not None
        assert (after.raw, after.revision) == ("2", 2)


def test_few_and_short_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_items, "MOST", 2)
    recent = RecentItems()
    for key in ("a", "b", "c"):
        recent.keep((key, "1"))
    recent.keep(("long", "x" * (LONGEST + 1)))
    assert [recent.get(key) for key in ("a", "b", "c", "long")] == [
        None,
        ("b", "1"),
        ("c", "1"),
        None,
    ]
    with recent.changing([transaction("x", "y", "z")]):
        pass
    assert recent.get("b") is None  # as many are changed: all are forgotten
