"""The index of texts in memory: searches find the same with it, whatever is written meanwhile."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model.errors import Unavailable
from signalbox.server.model.keys import AFTER_ALL_KEYS
from signalbox.server.model.values import encode
from signalbox.server.read import text_blocks, text_index
from signalbox.server.read.state_query import Filter, Item, StateQuery
from signalbox.server.read.state_scan import StateScan
from signalbox.server.read.text_blocks import ALL_KEYS, Block, Candidates
from signalbox.server.read.text_index import TextIndex
from signalbox.server.store.reader_pool import ReaderPool
from support.local_store import Store
from support.naive_search import contains

WORDS = ["alpha", "Beta", "gamma 12", "Straße", "STRASSE", "a", "温度", "温", "é", "x\ny", 12, None]
KEYS = st.sampled_from([f"k{number:02}" for number in range(30)] + ["Äpfel", "k15.beta", "z"])
COMMANDS = st.one_of(
    st.fixed_dictionaries({"type": st.just("set"), "key": KEYS, "value": st.sampled_from(WORDS)}),
    st.fixed_dictionaries({"type": st.just("delete"), "key": KEYS}),
    st.fixed_dictionaries({"type": st.just("delete_prefix"), "prefix": st.just("k15.")}),
    st.fixed_dictionaries({"type": st.just("rename"), "key": KEYS, "to": KEYS}),
)
TEXTS = st.sampled_from(
    ["alpha", "beta", "ss", "strasse", "1", "k1", "äp", "温度", "y", "\n", "zzz"]
)
NEIGHBOURS = st.integers(0, 24).map(
    lambda first: [{"type": "delete", "key": f"k{first + number:02}"} for number in range(10)]
)
"""Whole blocks are deleted at once."""
STEPS = st.lists(COMMANDS, max_size=8) | NEIGHBOURS | TEXTS


class WatchedIndex(TextIndex):
    """Keeps what has ended its work, which in the background nobody learns of."""

    def __init__(self, readers: ReaderPool, keys: Callable[[], int]) -> None:
        super().__init__(readers, keys)
        self.errors: list[Exception] = []
        self.before_reading: Callable[[], object] = int

    def _read(self, low: str, high: str, room: int) -> list[Block]:
        self.before_reading()
        return super()._read(low, high, room)

    def renew(self) -> None:
        try:
            super().renew()
        except Exception as error:
            self.errors.append(error)
            raise


class Searched:
    """A store with an index of its own, whose work must not fail."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.readers = ReaderPool(store.database)
        self.index = WatchedIndex(self.readers, store.readmodel.current.keys)

    def find(self, text: str, sort: str = "key") -> list[Item]:
        query = StateQuery(Filter(search=text), sort, None, 0, 1_000)
        blocks = self.index.blocks()
        page = self.readers.in_thread(lambda it: StateScan(it, query, blocks).page(True))
        assert page.total == len(page.items)
        return page.items

    def keys(self, text: str) -> list[str]:
        return [item.key for item in self.find(text)]

    def candidates(self, text: str) -> Candidates:
        blocks = self.index.blocks()
        assert blocks
        return self.readers.in_thread(lambda connection: blocks.candidates(connection, text))

    def close(self) -> None:
        self.index.close()
        self.readers.close()
        assert not self.index.errors


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few keys make many blocks and slices, which are read when a test says so."""
    monkeypatch.setattr(text_index, "MIN_KEYS", 10)
    monkeypatch.setattr(text_index, "MIN_CHANGED", 1)
    monkeypatch.setattr(text_index, "MIN_PAUSE_SECONDS", 3_600.0)
    monkeypatch.setattr(text_index, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(text_blocks, "BLOCK_KEYS", 4)


@pytest.fixture
def searched() -> Iterator[Searched]:
    with Store() as store:
        made = Searched(store)
        yield made
        made.close()


def fill(store: Store, count: int) -> None:
    store.set(**{f"key{number:03}": f"value {number:03}" for number in range(count)})


@settings(deadline=None, max_examples=80)
@given(steps=st.lists(STEPS, max_size=12), most_changed=st.sampled_from([2, 1_000]))
def test_a_search_finds_what_looking_at_every_key_finds(
    steps: list[Any], most_changed: int
) -> None:
    """The index is brought up to date in the background, between and during the commands."""
    with pytest.MonkeyPatch.context() as patch, Store() as store:
        patch.setattr(text_blocks, "MAX_CHANGED", most_changed)
        patch.setattr(text_index, "MIN_PAUSE_SECONDS", 0.0)
        patch.setattr(text_index, "PAUSE", 0)
        searched = Searched(store)
        store.set(**{f"k{number:02}": f"first {number}" for number in range(0, 30, 2)})
        for step in [*steps, "beta", "ss"]:
            if isinstance(step, list):
                store.run_all(step)
                continue
            all_items = store.readmodel.current.page(Filter(), limit=1_000).items
            expected = [item for item in all_items if contains(item.key, item.raw, step)]
            assert searched.find(step) == expected
            expected.sort(key=lambda item: (item.revision, item.key), reverse=True)
            assert searched.find(step, "changed") == expected
        searched.close()


def test_only_blocks_that_can_contain_the_text_are_looked_at(searched: Searched) -> None:
    fill(searched.store, 40)
    searched.index.renew()
    assert searched.candidates("VALUE 013") == [("key012", "key016", False)]
    assert searched.candidates("nowhere") == searched.candidates("q") == []
    searched.store.set(key021="é nowhere", key002="nowhere")
    found = [("", "key004", True), ("key020", "key024", True)]
    assert searched.candidates("nowhere") == found
    searched.index.renew()
    assert searched.candidates("nowhere") == [("", "key004", False), ("key020", "key024", True)]
    searched.store.set(**{f"key{number:03}": "neighbour" for number in (5, 9, 13, 30)})
    searched.index.renew()
    assert searched.candidates("neighbour") == [
        ("key004", "key016", False),
        ("key028", "key032", False),
    ]
    assert len(searched.index.blocks() or ()) == 10
    searched.store.run(type="delete", key="key021")
    assert searched.keys("nowhere") == ["key002"]


def test_of_few_keys_no_index_is_made(searched: Searched) -> None:
    fill(searched.store, 9)
    assert searched.keys("value 003") == searched.keys("Value 003") == ["key003"]
    assert searched.index.blocks() is None


def test_once_very_many_keys_have_changed_all_are_looked_at(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_blocks, "MAX_CHANGED", 5)
    fill(searched.store, 40)
    searched.index.renew()
    assert searched.candidates("nowhere") == []
    searched.store.set(**{f"key{number:03}": "new" for number in range(6)})
    assert searched.candidates("nowhere") == ALL_KEYS
    assert searched.keys("NEW") == [f"key{number:03}" for number in range(6)]
    searched.index.renew()
    assert searched.candidates("nowhere") == []


def test_large_values_are_looked_at(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_blocks, "MAX_TEXT", 100)
    fill(searched.store, 40)
    searched.store.set(key013="x" * 200 + " Needle")
    searched.index.renew()
    assert searched.candidates("nowhere") == [("key012", "key016", True)]
    assert searched.keys("needle") == ["key013"]


def test_beyond_the_most_blocks_all_keys_are_looked_at(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_index, "MAX_BLOCKS", 4)
    monkeypatch.setattr(text_blocks, "MAX_CHANGED", 30)
    fill(searched.store, 40)
    for changed in (0, 1, 39, 40):
        searched.store.set(**{f"key{number:03}": f"changed {number}" for number in range(changed)})
        searched.index.renew()
        assert searched.candidates("nowhere") == [("key016", AFTER_ALL_KEYS, True)]
        assert searched.keys("value 039") == (["key039"] if changed < 40 else [])


def test_blocks_are_split_as_they_grow(searched: Searched) -> None:
    fill(searched.store, 40)
    searched.index.renew()
    for number in range(40):
        searched.store.set(**{f"key010x{number:02}": "more"})
        searched.index.renew()
    (one,) = searched.candidates("key010x20")
    assert one[0] > "key010x10"
    assert one[1] < "key010x30"
    blocks = searched.index.blocks()
    assert blocks
    assert 80 / 8 <= len(blocks) <= 80 / 2


@pytest.mark.parametrize("deleted", [range(4), range(12, 20), range(36, 40), range(40)])
def test_keys_may_be_deleted_while_their_blocks_are_read(
    searched: Searched, deleted: range
) -> None:
    keys = [f"key{number:03}" for number in range(40)]
    deletions = [{"type": "delete", "key": keys[number]} for number in deleted]
    fill(searched.store, 40)
    searched.index.renew()
    searched.store.set(**{keys[number]: "new" for number in deleted})
    searched.index.before_reading = partial(searched.store.run_all, deletions)
    searched.index.renew()
    assert searched.candidates("new") == searched.candidates("nowhere") == []
    searched.store.set(**{keys[number]: "newer" for number in deleted})
    assert searched.keys("NEWER") == [keys[number] for number in deleted]


def test_an_index_that_cannot_be_read_is_made_later(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(searched.store, 40)
    with monkeypatch.context() as patch:
        patch.setattr(searched.store.database.open_files, "file_problem", lambda: "gone")
        with pytest.raises(Unavailable):
            searched.readers.in_thread(lambda _: None)
        searched.index.renew()
    searched.index.renew()
    assert searched.candidates("nowhere") == []


def test_a_text_in_two_columns_is_none(searched: Searched) -> None:
    """A key's end and its value's beginning are not one text."""
    fill(searched.store, 40)
    searched.index.renew()
    assert searched.keys("3value") == searched.keys(encode("value 003")) == []
