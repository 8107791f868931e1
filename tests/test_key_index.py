"""The key index and the tree: exact counts and positions, whatever is added and removed."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model.keys import AFTER_ALL_KEYS, is_key
from signalbox.server.read import tree
from signalbox.server.store import key_index
from signalbox.server.store.key_index import BUCKET, KeyIndex
from support.naive_tree import naive_children


class SortedKeys:
    """The keys themselves, as SQL would count them; `counted` sums what had to be looked at."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = sorted(keys)
        self.counted = 0

    def count(self, low: str, high: str) -> int:
        found = bisect_left(self.keys, high) - bisect_left(self.keys, low)
        self.counted += found
        return found

    def between(self, low: str, high: str) -> Iterator[str]:
        return iter(self.keys[bisect_left(self.keys, low) : bisect_left(self.keys, high)])

    def at(self, first: str, skip: int) -> str | None:
        position = bisect_left(self.keys, first) + skip
        return self.keys[position] if position < len(self.keys) else None


def assert_exact(found: KeyIndex, keys: SortedKeys, samples: list[str]) -> None:
    assert len(found) == len(keys.keys)
    for offset in {0, 1, len(keys.keys) // 2, len(keys.keys) - 1} | set(
        range(0, len(keys.keys), 97)
    ):
        if 0 <= offset < len(keys.keys):
            assert keys.at(*found.at(offset)) == keys.keys[offset]
    for low in samples:
        assert found.rank(low, keys.count) == bisect_left(keys.keys, low)
        for high in samples:
            if low <= high:
                expected = bisect_left(keys.keys, high) - bisect_left(keys.keys, low)
                assert found.count(low, high, keys.count) == expected


@pytest.mark.parametrize("size", [0, 1, BUCKET, BUCKET + 1, 3 * BUCKET + 7])
def test_every_offset_and_range_is_exact(size: int) -> None:
    keys = SortedKeys([f"k{number:05}" for number in range(size)])
    samples = ["", "k", "k00000", "k00511", "k00512", "k00513", "k01024x", "l", AFTER_ALL_KEYS]
    assert_exact(KeyIndex(keys.keys), keys, samples)


def test_a_range_is_counted_without_looking_at_more_than_its_two_ends() -> None:
    keys = SortedKeys([f"k{number:06}" for number in range(100_000)])
    found = KeyIndex(keys.keys)
    assert found.count("k000100", "k099900", keys.count) == 99_800
    assert keys.counted <= 2 * BUCKET


NUMBERS = st.integers(0, 400)


@settings(deadline=None, max_examples=60)
@given(
    begin=st.sets(NUMBERS),
    steps=st.lists(
        st.tuples(st.sets(NUMBERS, max_size=60), st.sets(NUMBERS, max_size=60)), max_size=8
    ),
)
def test_the_index_stays_exact_through_any_changes(
    begin: set[int], steps: list[tuple[set[int], set[int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(key_index, "BUCKET", 4)  # so that four hundred keys make many buckets
        present = set(begin)
        found = KeyIndex(sorted(map(name, present)))
        for adding, removing in steps:
            added, removed = adding - present, removing & present
            found.change(sorted(map(name, added)), sorted(map(name, removed)))
            present = (present | added) - removed
            keys = SortedKeys(list(map(name, present)))
            found.balance(keys.between)
            assert_exact(found, keys, ["", "k", "k0100", "k0101", "k0350", AFTER_ALL_KEYS])


def name(number: int) -> str:
    return f"k{number:04}"


def test_buckets_are_split_when_full_and_dropped_when_empty() -> None:
    found, keys = KeyIndex([]), SortedKeys([])
    for part in range(40):
        added = [f"k{part:02}.{number:03}" for number in range(100)]
        keys = SortedKeys(keys.keys + added)
        found.change(added, [])
        found.balance(keys.between)
    assert_exact(found, keys, ["", "k10.", "k10.050", "k39.", AFTER_ALL_KEYS])
    found.change([], keys.keys)
    found.balance(iter_nothing)
    assert len(found) == 0
    assert found.at(0) == ("", 0)


def iter_nothing(_low: str, _high: str) -> Iterator[str]:
    return iter(())


PARTS = st.lists(
    st.sampled_from(["a", "b", "a-b", "a-", "a-b-c", "ab", "-", "a/", "_signalbox", "1"]),
    min_size=1,
    max_size=4,
)
KEYS = st.sets(PARTS.map(".".join).filter(is_key), max_size=25)


class TreeKeys:
    """See `tree.Keys`: all keys, of which `visible` have ranks."""

    def __init__(self, keys: set[str], visible: list[str]) -> None:
        self._all = SortedKeys(list(keys))
        self._visible = SortedKeys(visible)
        self._index = KeyIndex(self._visible.keys)

    def first(self, low: str, high: str) -> str | None:
        return next(self._all.between(low, high), None)

    def exists(self, key: str) -> bool:
        return key in self._all.keys

    def rank(self, key: str, near: tree.KnownRank | None) -> int:
        return self._index.rank(key, self._visible.count, near)


@settings(deadline=None, max_examples=300)
@given(
    keys=KEYS,
    prefix=st.sampled_from(["", "a.", "a-b.", "a.a.", "_signalbox.", "b.a-."]),
    limit=st.integers(1, 5),
)
def test_the_tree_shows_each_segment_once_in_order_with_exact_counts(
    keys: set[str], prefix: str, limit: int
) -> None:
    visible = [
        key for key in keys if prefix.startswith("_signalbox.") or not key.startswith("_signalbox.")
    ]
    sorted_keys = TreeKeys(keys, visible)
    seen: list[tree.Child] = []
    after: str | None = None
    while True:
        page, following = tree.children(sorted_keys, prefix, after, limit)
        assert len(page) <= limit
        seen += page
        if following is None:
            break
        assert following == page[-1].segment
        after = following
    expected = naive_children(keys, prefix)
    assert [child.segment for child in seen] == sorted(expected)
    assert {child.segment: shape(child) for child in seen} == expected


def shape(child: tree.Child) -> tuple[Any, ...]:
    return (child.key is not None, child.prefix is not None, child.keys)
