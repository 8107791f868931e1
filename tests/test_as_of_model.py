"""Any moment of any history is what a model folded up to it is, and differences lead from one to
another.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signalbox.server import maintenance
from signalbox.server.model.keys import compile_pattern
from signalbox.server.read import difference_count, log_sql
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.state_query import Filter
from signalbox.server.store import key_counts, key_index
from support.history_model import ACTORS, COMMANDS, PREFIXES, History, state_of, visible
from support.local_store import Store
from support.naive_tree import naive_children

MATCHES = ["**", "a.**", "a*", "*.x", "a", "**.z", "_signalbox.**"]
GROUPS = st.lists(st.lists(COMMANDS, min_size=1, max_size=4), min_size=3, max_size=14)
RELAXED = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=["listed", "counted"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few keys are listed; for a store as small as these to count them, buckets are tiny."""
    if request.param == "counted":
        monkeypatch.setattr(key_counts, "MAX_LISTED", 2)
        monkeypatch.setattr(key_counts, "CHANGED_KEYS_PER_COUNT", 3)
        monkeypatch.setattr(key_counts, "BUCKETS", 2)
        monkeypatch.setattr(key_index, "BUCKET", 2)


@pytest.fixture(params=["few", "many"])
def comparing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few changes are looked through; where there are many, keys are examined slice by slice."""
    if request.param == "many":
        monkeypatch.setattr(log_sql, "MAX_SCANNED_CHANGES", 0)
        monkeypatch.setattr(log_sql, "CHUNK", 2)
        monkeypatch.setattr(difference_count, "SLICE", 2)


def write(store: Store, groups: list[list[dict[str, object]]]) -> History:
    """Commands that share commits, and what the log says they did, folded in a dict."""
    history = History()
    for group in groups:
        store.run_all(group)
    for one in store.readmodel.log.transactions(0, 10_000):
        after = dict(history.now)
        for change in one.changes:
            if change.raw is None:
                del after[change.key]
            else:
                assert (change.key in after) is not change.is_new
                after[change.key] = json.loads(change.raw)
        history.add(ACTORS[0], one.type, after)
    assert history.now == state_of(store)
    return history


def check(readmodel: ReadModel, history: History) -> None:
    for at, state in enumerate(history.states):
        for match in MATCHES:
            pattern = compile_pattern(match)
            expected = {key: state[key] for key in sorted(state) if pattern.matches(key)}
            page = readmodel.at(at).page(Filter(match), limit=1000)
            assert {item.key: json.loads(item.raw) for item in page.items} == expected
            assert [item.key for item in page.items] == list(expected)
            assert page.total == readmodel.at(at).count(Filter(match)) == len(expected)
        check_order(readmodel, at, len(visible(state)))
        check_tree(readmodel, at, set(state))


def check_order(readmodel: ReadModel, at: int, total: int) -> None:
    """Pages, offsets and the order of changes are parts of the same list."""
    whole = readmodel.at(at).page(Filter(), limit=1000).items
    for offset in range(total + 1):
        page = readmodel.at(at).page(Filter(), offset=offset, limit=2)
        assert page.items == whole[offset : offset + 2]
        if page.next is not None:
            assert (
                readmodel.at(at).page(Filter(), after=page.next, limit=1).items
                == whole[offset + 2 : offset + 3]
            )
    changed = sorted(whole, key=lambda item: (item.revision, item.key), reverse=True)
    first = readmodel.at(at).page(Filter(), "changed", limit=2)
    assert first.items == changed[:2]
    if first.next is not None:
        rest = readmodel.at(at).page(Filter(), "changed", after=first.next, limit=1000)
        assert rest.items == changed[2:]
    for place, item in enumerate(whole):
        assert item.revision <= at
        assert readmodel.at(at).position(Filter(), item.key) == place
        assert readmodel.at(at).get(item.key) == item


def check_tree(readmodel: ReadModel, at: int, keys: set[str]) -> None:
    for prefix in ("", *PREFIXES):
        found = readmodel.at(at).tree(prefix).children
        shapes = {
            child.segment: (child.key is not None, child.prefix is not None, child.keys)
            for child in found
        }
        assert shapes == naive_children(keys, prefix)


@pytest.mark.usefixtures("counting")
@RELAXED
@given(groups=GROUPS)
def test_any_moment_is_what_the_log_makes_of_it_up_to_there(
    groups: list[list[dict[str, object]]],
) -> None:
    with TemporaryDirectory() as folder:
        with Store(Path(folder) / "signalbox.db") as store:
            history = write(store, groups)
            check(store.readmodel, history)
        with Store(Path(folder) / "signalbox.db") as store:
            check(store.readmodel, history)
        assert maintenance.rebuild(Path(folder))["ok"]
        with Store(Path(folder) / "signalbox.db") as store:
            check(store.readmodel, history)


@pytest.mark.usefixtures("counting")
@RELAXED
@given(groups=GROUPS)
def test_the_memory_engine_answers_for_any_moment_as_well(
    groups: list[list[dict[str, object]]],
) -> None:
    with Store() as store:
        check(store.readmodel, write(store, groups))


@pytest.mark.usefixtures("comparing")
@RELAXED
@given(groups=GROUPS, match=st.sampled_from(MATCHES), limit=st.integers(1, 4))
def test_what_differs_leads_from_one_moment_to_another(
    groups: list[list[dict[str, object]]], match: str, limit: int
) -> None:
    with Store() as store:
        history = write(store, groups)
        pattern = compile_pattern(match)
        last = len(history.states) - 1
        for since, until in ((0, last), (last, 0), (last // 2, last), (last, last // 3)):
            state = dict(history.states[since])
            for key, before, after in differences(store.readmodel, since, until, match, limit):
                assert before != after
                assert state.pop(key, None) == before
                if after is not None:
                    state[key] = after
            wanted = {key for key in history.states[until] if pattern.matches(key)}
            rest = {key for key in history.states[since] if not pattern.matches(key)}
            assert state == {key: history.states[until][key] for key in wanted} | {
                key: history.states[since][key] for key in rest
            }


@pytest.mark.usefixtures("comparing")
def test_a_key_that_was_set_anew_in_between_differs_if_its_value_does() -> None:
    with Store() as store:
        for key in ("ended", "kept", "changed", "other", "gone"):
            store.set(**{key: 1})
        since = store.readmodel.revision
        for key in ("ended", "kept", "changed"):
            store.run(type="delete", key=key)
        store.set(kept=1, changed=2, born=1, gone=2)
        until = store.readmodel.revision
        for key in ("born", "gone", "kept"):
            store.run(type="delete", key=key)
        store.set(other=2)
        for pair in ((since, until), (until, since)):
            found = {key for key, _, _ in differences(store.readmodel, *pair, "**", 1)}
            assert found == {"born", "changed", "ended", "gone"}


def differences(
    readmodel: ReadModel, since: int, until: int, match: str, limit: int
) -> Iterator[tuple[str, object, object]]:
    """All pages, each with the exact total."""
    after, count, total = None, 0, -1
    while True:
        page = readmodel.log.diff(since, until, match, after, limit)
        total = page.total if total < 0 else total
        assert page.total == total
        for one in page.items:
            count += 1
            yield one.key, _value(one.before), _value(one.after)
        after = page.next
        if after is None:
            assert count == total
            return


def _value(raw: str | None) -> object:
    return None if raw is None else json.loads(raw)
