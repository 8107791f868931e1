"""Queries of the read model: exact against a naive model, from one snapshot, while writes go on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model.errors import Invalid
from signalbox.server.model.keys import compile_pattern
from signalbox.server.model.times import iso
from signalbox.server.model.values import TYPES, type_of
from signalbox.server.read import (
    snapshot_pages,
    state_as_of,
    state_query,
    state_scan,
    text_blocks,
    text_index,
)
from signalbox.server.read.state_query import SORTS, Filter, Item
from signalbox.server.store import key_index
from support.local_store import Store
from support.naive_search import contains

WORDS = ["a", "a.x", "a.y", "a-b", "a-b.x", "a.b.c", "b", "b.x", "c/d", "Ab.x", "_signalboxes"]
KEYS = st.sampled_from([*WORDS, *(f"n.{number:02}" for number in range(20))])
PLAIN = [None, True, 0, 1.5, 2**70, "", "text", "Text É", "100%", "a_b", [1], {"x": "y"}]
ODD = ["GrÖßE", "Привет Мир", "a\tb", "C:\\new", 'say "x"', "\x01", "\x00x", "\u212a", {"É\n": '"'}]
VALUES = st.sampled_from([*PLAIN, *ODD])
SEARCHES = [
    *["x", "É", "é", "%", "_", "TEXT", "100%", "zzz", "größe", "SS", "ПРИВЕТ МИР", "k", "0", "n"],
    *['"', '"x', '"x":', 'say "X"', "u0001", "\\n", "\\", "\t", "\x01", "\x00", "!", "\u212a"],
]
LAST = {"key": "zzz", "changed": "0:zzz"}
"""Cursors behind all items."""
SETTING = st.just({"type": "set", "key": "_signalbox.theme", "value": "dark"})
COMMANDS = st.one_of(
    st.fixed_dictionaries({"type": st.just("set"), "key": KEYS, "value": VALUES}),
    st.fixed_dictionaries({"type": st.just("delete"), "key": KEYS}),
    st.fixed_dictionaries({"type": st.just("delete_prefix"), "prefix": st.just("n.")}),
    SETTING,
)
MATCHES = st.sampled_from(
    [
        "**",
        "*",
        "a",
        "a.**",
        "a**",
        "n.*",
        "n.**",
        "**.x",
        "*.x",
        "a*.x",
        "_signalbox.**",
        "none.**",
    ]
)


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few dozen keys make many buckets and steps, and a few changes are too many."""
    monkeypatch.setattr(key_index, "BUCKET", 3)
    monkeypatch.setattr(snapshot_pages, "SCANNED_KEYS", 5)
    monkeypatch.setattr(state_query, "NEAR", 4)
    monkeypatch.setattr(state_scan, "MAX_SORTED", 4)
    monkeypatch.setattr(state_as_of, "MAX_SORTED", 4)
    monkeypatch.setattr(text_index, "MIN_KEYS", 1)
    monkeypatch.setattr(text_blocks, "BLOCK_KEYS", 2)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "signalbox.db" if request.param == "sqlite" else None) as made:
        yield made


def everything(store: Store) -> list[Item]:
    """All items in key order, reserved ones too."""
    both = [
        store.readmodel.current.page(Filter(match), limit=1_000).items
        for match in ("**", "_signalbox.**")
    ]
    return sorted(both[0] + both[1])


def fits(item: Item, wanted: Filter) -> bool:
    if not compile_pattern(wanted.match).matches(item.key):
        return False
    if wanted.type and type_of(item.raw) != wanted.type:
        return False
    return not wanted.search or contains(item.key, item.raw, wanted.search)


@settings(deadline=None, max_examples=80)
@given(
    commands=st.lists(COMMANDS, max_size=40),
    match=MATCHES,
    kind=st.none() | st.sampled_from(list(TYPES)),
    search=st.none() | st.sampled_from(SEARCHES),
    sort=st.sampled_from(["key", "changed"]),
    limit=st.integers(1, 7),
    offset=st.integers(0, 30),
)
def test_every_page_and_count_is_what_looking_at_all_keys_gives(
    commands: list[dict[str, Any]],
    match: str,
    kind: str | None,
    search: str | None,
    sort: str,
    limit: int,
    offset: int,
) -> None:
    with Store() as store:
        store.run_all(commands)
        wanted = Filter(match, kind, search)
        expected = [item for item in everything(store) if fits(item, wanted)]
        if sort == "changed":
            expected.sort(key=lambda item: (item.revision, item.key), reverse=True)
        page = store.readmodel.current.page(wanted, sort, offset=offset, limit=limit)
        assert page.items == expected[offset : offset + limit]
        assert page.total == store.readmodel.current.count(wanted) == len(expected)
        assert page.revision == store.readmodel.revision
        assert walked(store, wanted, sort, limit) == expected
        behind = store.readmodel.current.page(wanted, sort, LAST[sort], limit=limit)
        assert (behind.items, behind.total) == ([], len(expected))
        assert walked_as_json(store, wanted, sort, limit) == list(map(as_json, expected))


def walked_as_json(store: Store, wanted: Filter, sort: str, limit: int) -> list[Any]:
    """As `walked`, by the pages of the API."""
    found: list[Any] = []
    after: str | None = None
    while True:
        page = store.readmodel.current.json_page(wanted, sort, after, limit)
        assert page.total == store.readmodel.current.count(wanted)
        found += json.loads(f"[{page.items}]")
        if page.next is None:
            return found
        after = page.next


def as_json(item: Item) -> dict[str, Any]:
    """An item as the API has it."""
    return {
        "key": item.key,
        "value": json.loads(item.raw),
        "revision": item.revision,
        "at": iso(item.at),
        "actor": item.actor,
    }


def walked(store: Store, wanted: Filter, sort: str, limit: int) -> list[Item]:
    """All pages, each continued behind the one before."""
    found: list[Item] = []
    after: str | None = None
    while True:
        page = store.readmodel.current.page(wanted, sort, after, limit=limit)
        found += page.items
        if page.next is None:
            return found
        after = page.next


def test_pages_of_the_api_end_where_values_are_large(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.set(**{f"n{number}": "x" * (number * 40) for number in range(20)})
    expected = list(map(as_json, everything(store)))
    monkeypatch.setattr(state_query, "PAGE_BYTES", 800)
    first = store.readmodel.current.json_page(Filter(), "key", None, 10)
    assert len(json.loads(f"[{first.items}]")) < 10
    assert walked_as_json(store, Filter(), "key", 10) == expected


def test_a_text_is_searched_for_among_the_keys_of_any_pattern(store: Store) -> None:
    store.set(a__x="Größe", b__x="größe", b__y="größe", c__x="other", ä__x=1)
    for match, found in (
        ("*.x", ["a.x", "b.x"]),
        ("**.x", ["a.x", "b.x"]),
        ("b.*", ["b.x", "b.y"]),
    ):
        for text in ("größe", "GRÖ"):
            page = store.readmodel.current.page(Filter(match, None, text))
            assert [item.key for item in page.items] == found
        page = store.readmodel.current.page(Filter(match, None, "th"))
        assert [item.key for item in page.items] == (["c.x"] if match != "b.*" else [])
    store.set(a__x=1)
    before = store.readmodel.at(store.readmodel.revision - 1)
    for sort in SORTS:
        page = before.page(Filter("**", None, "ä"), sort)
        assert [item.key for item in page.items] == ["ä.x"]


def test_a_page_at_any_offset_leaves_reserved_keys_out(store: Store) -> None:
    """`_` sorts between upper and lower case, so what is hidden lies in the middle."""
    names = [f"{letter}{number}" for letter in "AZ_az" for number in range(5)]
    store.set(**dict.fromkeys(names, 1), _signalbox__theme="dark")
    visible = sorted(names)
    for offset in range(len(names) + 2):
        page = store.readmodel.current.page(Filter(), offset=offset, limit=3)
        assert [item.key for item in page.items] == visible[offset : offset + 3]
        assert page.total == len(names)
    assert store.readmodel.current.keys() == len(names)
    assert [item.key for item in store.readmodel.current.page(Filter("_signalbox.**")).items] == [
        "_signalbox.theme"
    ]
    assert store.readmodel.current.count(Filter("_signalbox.**")) == 1
    assert store.readmodel.current.count(Filter("_**")) == 5


def test_an_item_knows_its_value_revision_time_and_actor(store: Store) -> None:
    store.run(type="set", key="a", value={"x": [1, 2.5]}, actor="train.py")
    item = store.readmodel.current.get("a")
    assert item is not None
    assert (item.key, item.raw, item.revision, item.actor) == ("a", '{"x":[1,2.5]}', 1, "train.py")
    assert item.at >= 1_800_000_000_000
    assert store.readmodel.current.get("b") is None


@pytest.mark.parametrize("wanted", [Filter("a\n"), Filter("**", "text"), Filter("")])
def test_an_unusable_filter_is_invalid(store: Store, wanted: Filter) -> None:
    with pytest.raises(Invalid):
        store.readmodel.current.page(wanted)


@pytest.mark.parametrize("after", ["", "x", "1", ":a", "1:a..b", "-1:a", "1:"])
def test_an_unusable_cursor_is_invalid(store: Store, after: str) -> None:
    with pytest.raises(Invalid, match="after"):
        store.readmodel.current.page(Filter(), "changed", after)


def test_a_page_without_a_total_says_so(store: Store) -> None:
    store.set(a=1, b=2)
    page = store.readmodel.current.page(Filter(search="1"), with_total=False)
    assert page.total == -1
    assert [item.key for item in page.items] == ["a"]


@settings(deadline=None, max_examples=80)
@given(
    before=st.lists(COMMANDS, max_size=30),
    meanwhile=st.lists(st.lists(COMMANDS, max_size=5), max_size=30),
    match=MATCHES,
    limit=st.integers(1, 4),
)
def test_a_snapshot_read_in_pages_is_of_one_revision_whatever_changes_meanwhile(
    before: list[dict[str, Any]], meanwhile: list[list[dict[str, Any]]], match: str, limit: int
) -> None:
    with Store() as store:
        store.run_all(before)
        expected = [item for item in everything(store) if fits(item, Filter(match))]
        found: list[Item] = []
        changes = iter(meanwhile)
        for page in store.snapshot(match, limit):
            found += page
            store.run_all(next(changes, []))
        assert found == expected


def test_the_tree_counts_what_is_at_and_below_each_segment(store: Store) -> None:
    store.set(a=1, a__x=1, a__y__z=1, **{"a-b": 1, "a-b__x": 1}, b__x=1, _signalbox__theme="dark")
    found = store.readmodel.current.tree()
    assert found.total == 6
    assert [(child.segment, child.key, child.prefix, child.keys) for child in found.children] == [
        ("a", "a", "a.", 3),
        ("a-b", "a-b", "a-b.", 2),
        ("b", None, "b.", 1),
    ]
    below = store.readmodel.current.tree("a.")
    assert below.total == 2
    assert [(child.segment, child.keys) for child in below.children] == [("x", 1), ("y", 1)]
    assert store.readmodel.current.tree("none.").total == 0
    assert [child.segment for child in store.readmodel.current.tree("_signalbox.").children] == [
        "theme"
    ]


def test_the_tree_goes_on_behind_its_last_segment(store: Store) -> None:
    store.set(**{f"s{number}__x": 1 for number in range(7)})
    seen: list[str] = []
    after: str | None = None
    while True:
        page = store.readmodel.current.tree(after=after, limit=3)
        seen += [child.segment for child in page.children]
        after = page.next
        if after is None:
            break
    assert seen == [f"s{number}" for number in range(7)]


def test_attempts_are_listed_newest_first_without_gap_or_repetition(store: Store) -> None:
    sent = []
    for number in range(12):
        kind = ("set", "toggle", "delete")[number % 3]
        sent.append(f"id-{number}")
        fields = {"value": number} if kind == "set" else {}
        store.run(type=kind, key="k", id=sent[-1], actor=f"actor{number % 2}", **fields)
    seen: list[str] = []
    before: tuple[int, int] | None = None
    while True:
        records, before = store.readmodel.attempts(before=before, limit=5)
        seen += [record["id"] for record in records]
        if before is None:
            break
    assert seen == sent[::-1]
    statuses = [record["status"] for record in store.readmodel.attempts(status="rejected")[0]]
    assert statuses == ["rejected"] * 4
    mine = store.readmodel.attempts(actor="actor1")[0]
    assert [record["id"] for record in mine] == sent[::-2]


def test_attempts_are_listed_without_the_actor_that_writes_all_the_time(store: Store) -> None:
    sent = []
    for number in range(90):
        actor = f"actor{number % 3}" if number % 10 == 0 else "computer"
        kind = (
            "delete" if number % 20 == 10 else "add"
        )  # of nothing: no transaction, but an attempt
        key = "none" if kind == "delete" else "n"
        store.run(type=kind, key=key, id=f"id-{number}", actor=actor)
        sent += [f"id-{number}"] * (actor != "computer")
    seen: list[str] = []
    before: tuple[int, int] | None = None
    while True:
        records, before = store.readmodel.attempts(before=before, limit=2, without="computer")
        seen += [record["id"] for record in records]
        if before is None:
            break
    assert seen == sent[::-1]


def test_what_was_written_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "signalbox.db"
    with Store(path) as store:
        store.run_all(
            {"type": "set", "key": f"k.{number}", "value": number} for number in range(30)
        )
        store.run(type="delete", key="k.3")
        before, revision, name = everything(store), store.readmodel.revision, store.readmodel.store
    with Store(path) as store:
        assert everything(store) == before
        assert (store.readmodel.revision, store.readmodel.store) == (revision, name)
        assert store.readmodel.current.keys() == 29


def test_times_never_decrease_though_the_clock_does(tmp_path: Path) -> None:
    moment, path = [0.0], tmp_path / "signalbox.db"
    with Store(path, lambda: moment[0]) as store:
        for number, seconds in enumerate([2e9, 1e9, 3e9, 5e8]):
            moment[0] = seconds
            store.run(type="set", key="k", value=number)
        times = [one.at for one in store.readmodel.log.transactions(0, 10)]
    assert times == [2_000_000_000_000] * 2 + [3_000_000_000_000] * 2
    with Store(path, lambda: 1.0) as store:
        store.run(type="set", key="k", value="later")
        assert store.readmodel.log.transactions(4, 1)[0].at == 3_000_000_000_000
