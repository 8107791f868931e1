"""Pages of snapshots: what SQLite writes is as the contract says, and readers share it."""

import csv
import io
import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

import apsw
import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.formats.csv_rows import escape_formula
from signalbox.server.formats.env_file import shell_word
from signalbox.server.model.errors import Compacted
from signalbox.server.model.keys import env_name
from signalbox.server.model.times import iso
from signalbox.server.model.values import type_of
from signalbox.server.read import env_names, row_forms, snapshot_pages
from signalbox.server.read.row_forms import RowForm
from signalbox.server.read.shared_pages import Page, SharedPages
from signalbox.server.read.state_query import Filter, Item
from signalbox.server.runtime.scheduling import Turns
from support.harness import SECONDS
from support.local_store import Store

KEYS = st.sampled_from(
    [
        "a",
        "a.b",
        'say "hi"',
        "back\\slash",
        "Größe",
        "温度.1",
        "=1+1",
        "'=x",
        "-k",
        "@x",
        "a,b",
        "'",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just('=1+"x"\n\t\0'),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=4,
)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as made:
        yield made


def text(store: Store, form: RowForm, match: str = "**", limit: int = 500) -> str:
    revision = store.readmodel.revision
    pages = store.readmodel.snapshots.pages(revision, match, form, limit=limit)
    return b"".join(pages).decode()


def csv_line(item: Item) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(
        [
            *(escape_formula(item.key), item.raw, type_of(item.raw), item.revision),
            *(iso(item.at), escape_formula(item.actor)),
        ]
    )
    return line.getvalue()


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(KEYS, VALUES, min_size=1), st.integers(-(10**12), 10**14))
def test_every_form_says_of_each_item_what_it_is(values: dict[str, Any], at: int) -> None:
    with Store() as store:
        members = [{"type": "set", "key": key, "value": value} for key, value in values.items()]
        assert store.run(type="batch", commands=members, actor="-me").error is None
        store.database.writer.execute("UPDATE transactions SET at = ?", (at,))
        items = store.readmodel.current.page(Filter()).items
        assert len(items) == len(values)
        sets = [{"type": "set", "key": one.key, "value": json.loads(one.raw)} for one in items]
        assert [
            json.loads(one) for one in text(store, row_forms.SET_LINES).split("\n")[:-1]
        ] == sets
        events = text(store, row_forms.SNAPSHOT_EVENT).split("\n\n")
        assert len(events) == 2
        assert json.loads(events[0].removeprefix("event: snapshot\ndata: ")) == {
            "revision": 1,
            "items": [
                {"key": one.key, "value": json.loads(one.raw), "revision": 1} for one in items
            ],
        }
        assert text(store, row_forms.CSV_LINES) == "".join(map(csv_line, items))
        assert text(store, row_forms.ENV_LINES) == "".join(
            f"{env_name(one.key)}={shell_word(one.raw)}\n" for one in items
        )
        assert json.loads("{" + text(store, row_forms.OBJECT_MEMBERS)[1:] + "}") == values


def test_a_page_has_few_items_where_they_are_large(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_pages, "PAGE_BYTES", 1_000)
    store.set(**{f"k{number:02}": "x" * (number % 7) * 100 for number in range(40)})
    pages = list(store.snapshot("**", 30))
    assert [item.key for page in pages for item in page] == [f"k{n:02}" for n in range(40)]
    sizes = [sum(len(item.key) + len(item.raw) for item in page) for page in pages]
    assert all(size <= 1_000 for size in sizes)
    assert max(map(len, pages)) > 2


def test_an_earlier_revision_is_read_as_it_was(store: Store) -> None:
    expected: dict[int, list[Item]] = {}
    for number in range(40):
        key = f"k{number * 7 % 10}"
        store.run(
            type="delete" if number % 3 == 2 else "set",
            key=key,
            **({} if number % 3 == 2 else {"value": number}),
        )
        revision = store.readmodel.revision
        expected[revision] = store.readmodel.current.page(Filter()).items
    for revision, items in expected.items():
        pages = store.readmodel.snapshots.pages(revision, "k*", row_forms.SET_LINES, limit=3)
        lines = [json.loads(line) for line in b"".join(pages).splitlines()]
        assert [(line["key"], line["value"]) for line in lines] == [
            (item.key, json.loads(item.raw)) for item in items
        ]


def test_pages_fail_where_retention_has_removed_more_than_the_reader_was_told(
    store: Store,
) -> None:
    store.set(a__x=1, b__x=1)
    store.set(a__x=2)
    store.database.writer.execute("INSERT INTO horizons VALUES ('a.', 2, 0, 2, '', NULL)")
    pages = store.readmodel.snapshots.pages
    with pytest.raises(Compacted):
        list(pages(1, "**", row_forms.SET_LINES))
    told = b"".join(pages(1, "**", row_forms.SET_LINES, ["a."]))
    assert [json.loads(line)["key"] for line in told.splitlines()] == ["b.x"]


def test_keys_with_one_name_are_found_wherever_they_are(store: Store) -> None:
    store.set(**{f"k{number:03}": number for number in range(50)}, K007=1)
    pages = store.readmodel.snapshots.pages(1, "**", row_forms.ENV_NAMES, limit=4)
    assert env_names.collision(pages, store.readmodel.in_thread) == ["K007", "k007"]
    rest = store.readmodel.snapshots.pages(1, "k*", row_forms.ENV_NAMES, limit=4)
    assert env_names.collision(rest, store.readmodel.in_thread) == []


def begin(store: Store) -> Iterator[bytes]:
    """A reader of all keys, who has begun."""
    snapshots = store.readmodel.snapshots
    revision = snapshots.revision_to_read("**", lambda: store.readmodel.revision)
    pages = snapshots.pages(revision, "**", row_forms.SET_LINES, limit=3)
    return chain([next(pages)], pages)


def test_readers_that_begin_together_read_one_revision_and_share_its_pages(store: Store) -> None:
    store.set(**{f"k{number}": number for number in range(9)})
    made = counted(store.readmodel.shared_pages)
    first = begin(store)
    assert b"".join(begin(store)) == b"".join(first)
    assert len(made) == 4  # the last of them is empty


def test_nobody_reads_what_was_overwritten_before_he_came(store: Store) -> None:
    """Those who come while others read share a revision, which is chosen once all are there."""
    store.set(**{f"k{number}": number for number in range(9)})
    first = begin(store)
    store.set(k0="changed")
    made = counted(store.readmodel.shared_pages)
    with store.readmodel.shared_pages.making:
        later = [gevent.spawn(lambda: b"".join(begin(store))) for _ in range(3)]
        gevent.idle()
        store.set(k1="later")
    texts = [one.get() for one in later]
    assert texts[0].count(b"changed") == texts[0].count(b"later") == 1
    assert texts == [texts[0]] * 3
    assert len(made) == 4
    assert b"changed" not in b"".join(first)


def counted(shared: SharedPages) -> list[object]:
    """Whatever is made from now on."""
    made: list[object] = []
    get = shared.get

    def noted(name: Any, make: Any) -> Any:
        def making(connection: apsw.Connection) -> Any:
            made.append(name)
            return make(connection)

        return get(name, making)

    shared.get = noted  # type: ignore[method-assign]
    return made


def test_a_page_that_could_not_be_made_is_made_for_the_next_who_asks(store: Store) -> None:
    shared, tries = store.readmodel.shared_pages, list[int]()

    def make(_: apsw.Connection) -> Page[str]:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError
        return Page(b"made", None)

    with shared.reading():
        asked = [gevent.spawn(lambda: shared.get("name", make).data) for _ in range(3)]
        gevent.joinall(asked)
    assert sorted(str(one.value) for one in asked) == ["None", "b'made'", "b'made'"]
    assert len(tries) == 2


def test_pages_are_kept_for_readers_only_up_to_a_bound(store: Store) -> None:
    shared = SharedPages(store.readmodel._readers, cached_bytes=100)  # noqa: SLF001
    tries: list[int] = []

    def page(number: int) -> None:
        def make(_: apsw.Connection) -> Page[str]:
            tries.append(number)
            return Page(b"x" * 40, None)

        shared.get(number, make)

    with shared.reading():
        for number in (1, 2, 1, 3, 1, 2):
            page(number)
    assert tries == [1, 2, 3, 2]
    page(1)
    assert tries == [1, 2, 3, 2, 1]


def test_between_turns_the_hub_looks_after_everything_else() -> None:
    turns, done, rounds = Turns(seconds=0.0), list[int](), list[int]()
    watcher = gevent.get_hub().loop.check()

    def work(number: int) -> None:
        turns.wait()
        done.append(number)

    watcher.start(lambda: rounds.append(len(done)))
    gevent.joinall([gevent.spawn(work, number) for number in range(5)])
    watcher.stop()
    watcher.close()
    assert done == list(range(5))
    assert {1, 2, 3, 4} <= set(rounds)


def test_who_is_killed_while_it_waits_for_its_turn_is_passed_over() -> None:
    turns, done = Turns(seconds=0.0), list[str]()

    def work(name: str) -> None:
        turns.wait()
        done.append(name)

    first, second, third = (gevent.spawn(work, name) for name in ("first", "second", "third"))
    gevent.spawn(second.kill)  # runs before the hub goes round
    gevent.joinall([first, second, third], timeout=SECONDS)
    assert done == ["first", "third"]
