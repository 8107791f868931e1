"""Totals of filters that are asked for again: exact after every change, without counting anew."""

from typing import Any

import apsw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model.keys import compile_pattern
from signalbox.server.model.values import type_of
from signalbox.server.read import known_totals, state_scan
from signalbox.server.read.known_totals import KnownTotal, KnownTotals
from signalbox.server.read.state_query import SORTS, Filter, StateQuery
from support.local_store import Store
from support.naive_search import contains

KEYS = st.sampled_from([*(f"a.{number}" for number in range(8)), "b.x", "b.y", "Äpfel.x", "_a"])
VALUES = st.sampled_from(["one", "One two", 1, 11, True, "größe", None])
COMMANDS = st.one_of(
    st.fixed_dictionaries({"type": st.just("set"), "key": KEYS, "value": VALUES}),
    st.fixed_dictionaries({"type": st.just("delete"), "key": KEYS}),
    st.fixed_dictionaries({"type": st.just("delete_prefix"), "prefix": st.just("a.")}),
    st.fixed_dictionaries({"type": st.just("rename"), "key": KEYS, "to": KEYS}),
    st.just({"type": "set", "key": "_signalbox.theme", "value": "dark"}),
)
FILTERS = st.builds(
    Filter,
    st.sampled_from(["**", "a.*", "**.x", "b.**", "_signalbox.**"]),
    st.sampled_from([None, "string", "number"]),
    st.sampled_from([None, "ONE", "o", "ä", "1"]),
)
ASKED = st.tuples(FILTERS, st.sampled_from(SORTS), st.integers(1, 3), st.integers(0, 4))
STEPS = st.lists(COMMANDS, max_size=4) | ASKED


@settings(deadline=None, max_examples=80)
@given(steps=st.lists(STEPS, max_size=15), asked=ASKED, most=st.sampled_from([1, 1_000]))
def test_a_total_is_exact_however_often_it_is_asked_for(
    steps: list[Any], asked: Any, most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, Store() as store:
        patch.setattr(known_totals, "MAX_KEYS", most)
        patch.setattr(known_totals, "MAX_FILTERS", 3)
        patch.setattr(state_scan, "MAX_SORTED", 2)
        for step in [asked, *(each for some in steps for each in (some, asked))]:
            if isinstance(step, list):
                store.run_all(step)
                continue
            wanted, sort, limit, offset = step
            page = store.readmodel.current.page(wanted, sort, None, offset, limit)
            assert page.total == matching(store, wanted)


def matching(store: Store, wanted: Filter) -> int:
    pattern = compile_pattern(wanted.match)
    match = "_signalbox.**" if pattern.shows_reserved else "**"
    items = store.readmodel.current.page(Filter(match), limit=1_000).items
    return sum(
        pattern.matches(item.key)
        and wanted.type in (None, type_of(item.raw))
        and (not wanted.search or contains(item.key, item.raw, wanted.search))
        for item in items
    )


def updated(store: Store, known: KnownTotal, wanted: Filter) -> int | None:
    def update(connection: apsw.Connection) -> int | None:
        return known.updated(connection, StateQuery.of(wanted))

    return store.readmodel.in_thread(update)


def test_a_known_total_looks_at_changes_alone() -> None:
    """It is told a wrong one, which stays as wrong as it was."""
    with Store() as store:
        store.set(a="one", b="one")
        known, wanted = KnownTotal(store.readmodel.revision, 1_000), Filter(search="one")
        assert updated(store, known, wanted) == 1_000
        store.set(a="two", c="one", d="one")
        store.run(type="delete", key="d")
        assert updated(store, known, wanted) == 1_000
        store.set(a="one")
        assert updated(store, known, wanted) == 1_001


@pytest.mark.parametrize("sort", SORTS)
def test_a_page_has_the_known_total(sort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_scan, "MAX_SORTED", 1)
    wanted = Filter(search="one")
    with Store() as store:
        store.set(a="one", b="one", c="one")
        first = store.readmodel.current.page(wanted, sort, limit=1)
        monkeypatch.setattr(KnownTotal, "updated", lambda known, *_: known.total + 10)
        second = store.readmodel.current.page(wanted, sort, first.next, limit=1)
        assert (first.total, second.total) == (3, 13)
        assert [item.key for item in (*first.items, *second.items)] in (["a", "b"], ["c", "b"])


def test_after_many_changes_all_keys_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    with Store() as store:
        known, wanted = KnownTotal(store.readmodel.revision, 0), Filter(search="one")
        store.set(a="one", b="one")
        with monkeypatch.context() as patch:
            patch.setattr(known_totals, "MAX_KEYS", 1)
            assert updated(store, known, wanted) is None
        for _ in range(3):
            store.set(a=1)
            store.set(a="one")
        monkeypatch.setattr(known_totals, "MAX_CHANGES", 5)
        assert updated(store, known, wanted) is None


def test_what_retention_has_removed_is_not_counted_on() -> None:
    with Store() as store:
        store.set(a__x="one", b__x="one")
        known = KnownTotal(store.readmodel.revision, 2)
        store.set(a__x="two")
        store.database.writer.execute(
            "INSERT INTO horizons VALUES ('a.', 2, 0, 2, '', NULL);"
            "DELETE FROM changes WHERE key = 'a.x' AND revision = 1"
        )
        assert updated(store, known, Filter(search="one")) is None
        assert updated(store, known, Filter("b.**", None, "one")) == 2


def test_filters_that_were_not_asked_for_lately_are_forgotten() -> None:
    totals = KnownTotals()
    filters = [Filter(search=str(number)) for number in range(known_totals.MAX_FILTERS + 1)]
    for number, wanted in enumerate(filters[:-1]):
        totals.remember(wanted, KnownTotal(1, number))
    totals.remember(filters[0], KnownTotal(2, 7))
    totals.remember(filters[-1], KnownTotal(2, 8))
    assert totals.get(filters[0]) == KnownTotal(2, 7)
    assert totals.get(filters[1]) is None
    assert totals.get(filters[2]) == KnownTotal(1, 2)
