"""Which blocks of neighbouring keys can contain a text: an index in memory, which searches use.

Each block has a digest of its keys and values: which characters, pairs and triples of them they
have, case-folded, by two hashes of each (a Bloom filter). So a block may seem to have one that it
has not, and is looked at in vain.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

import apsw

from signalbox.server.model import values
from signalbox.server.model.keys import AFTER_ALL_KEYS
from signalbox.server.read.text_search import folded_forms
from signalbox.server.store import log_table

BLOCK_KEYS: Final = 64
BLOCK_TEXT: Final = 8 * 1024
"""Characters of keys and values after which a block ends."""
MAX_TEXT: Final = 16 * 1024
"""Bytes of a value; a block with a larger one can contain anything."""
DIGEST_BITS: Final = 4096
MAX_GAP: Final = 2
"""So few blocks between others are soon looked at too."""
MAX_CHANGED: Final = 20_000
"""Where more keys have changed since, all keys are looked at, which then takes no longer."""

Candidates = list[tuple[str, str, bool]]
"""Keys in [first, second), in key order, and whether text beyond ASCII may be there."""
ALL_KEYS: Final[Candidates] = [("", AFTER_ALL_KEYS, True)]
_ONE: Final = ord("1")
_ANYTHING: Final = -1
"""The digest of a block that can contain anything: it has all bits."""


class Block(NamedTuple):
    """So many keys from `first` on. They can contain a text whose bits the digest has."""

    first: str
    keys: int
    digest: int
    beyond_ascii: bool


class TextBlocks:
    """The blocks of all keys as of a revision.

    A block in which keys have changed since can contain anything, and a deletion leaves nothing to
    find: so what they say is never wrong, however old they are.
    """

    def __init__(self, revision: int, blocks: Sequence[Block]) -> None:
        """Blocks in key order, of which the first begins with the empty text."""
        self._revision, self._blocks = revision, blocks
        self._firsts = [block.first for block in blocks]
        self._digests = [block.digest for block in blocks]
        self._beyond_ascii = [block.beyond_ascii for block in blocks]

    def __len__(self) -> int:
        """The number of blocks."""
        return len(self._blocks)

    def candidates(self, connection: apsw.Connection, text: str) -> Candidates:
        """The keys of the connection's snapshot that can contain the text."""
        changed = self._changed(connection)
        if len(changed) > MAX_CHANGED:
            return ALL_KEYS
        can_contain, beyond_ascii = self._can_contain(text), list(self._beyond_ascii)
        for number in self._numbers(changed):
            can_contain[number] = beyond_ascii[number] = True
        runs, end = list[tuple[int, int, bool]](), 0
        for (is_chosen, is_beyond_ascii), run in groupby(
            zip(can_contain, beyond_ascii, strict=True)
        ):
            start, end = end, end + sum(1 for _ in run)
            if not is_chosen:
                continue
            if runs and start - runs[-1][1] <= MAX_GAP:
                before, gap, was_beyond_ascii = runs[-1]
                if not any(beyond_ascii[gap:start]) and was_beyond_ascii == is_beyond_ascii:
                    runs[-1] = before, end, is_beyond_ascii
                    continue
            runs.append((start, end, is_beyond_ascii))
        return [(*self._range(start, last - 1), beyond) for start, last, beyond in runs]

    def _can_contain(self, text: str) -> list[bool]:
        """Whether each block can contain the text, as of the revision of the blocks."""
        one, other = map(digest_of_needle, folded_forms(text))
        found = [each & one == one for each in self._digests]
        if one != other:
            found = [
                is_found or each & other == other
                for is_found, each in zip(found, self._digests, strict=True)
            ]
        return found

    def outdated(
        self, at_least: int, connection: apsw.Connection
    ) -> tuple[int, list[tuple[str, str]]]:
        """The snapshot's revision and the ranges, as [low, high), of the blocks in which keys have
        changed up to there. None where fewer than `at_least` keys have.
        """
        changed, ranges = self._changed(connection), list[tuple[str, str]]()
        if len(changed) > MAX_CHANGED:
            ranges = [("", AFTER_ALL_KEYS)]
        elif len(changed) >= at_least:
            runs = groupby(enumerate(self._numbers(changed)), lambda each: each[1] - each[0])
            numbers = [[number for _, number in run] for _, run in runs]
            ranges = [self._range(run[0], run[-1]) for run in numbers]
        return log_table.last_revision(connection), ranges

    def outside(self, ranges: Sequence[tuple[str, str]]) -> int:
        """How many blocks are in none of these ranges, which begin and end where blocks do."""
        inside = (self._end(high) - self._end(low) for low, high in ranges)
        return len(self._blocks) - sum(inside)

    def renewed(
        self, revision: int, ranges: Sequence[tuple[str, str]], new: Sequence[Sequence[Block]]
    ) -> "TextBlocks":
        """As of a revision, since when only `ranges` are outdated, whose blocks are `new`."""
        blocks, kept = list[Block](), 0
        for (low, high), inside in zip(ranges, new, strict=True):
            blocks += self._blocks[kept : self._end(low)]
            blocks += inside
            kept = self._end(high)
        return TextBlocks(revision, [*blocks, *self._blocks[kept:]])

    def _end(self, key: str) -> int:
        """How many blocks begin before a key."""
        return bisect_left(self._firsts, key)

    def _changed(self, connection: apsw.Connection) -> list[str]:
        """The keys that have changed since the revision of the blocks: all, or too many."""
        rows = connection.execute(_CHANGED, (self._revision, MAX_CHANGED + 1))
        return [key for (key,) in rows]

    def _numbers(self, keys: Iterable[str]) -> list[int]:
        """The numbers of the blocks with these keys, in order."""
        return sorted({bisect_right(self._firsts, key) - 1 for key in keys})

    def _range(self, first: int, last: int) -> tuple[str, str]:
        """The keys of the blocks with these numbers and those between, as [low, high)."""
        high = self._firsts[last + 1] if last + 1 < len(self._firsts) else AFTER_ALL_KEYS
        return self._firsts[first], high


def unknown(low: str) -> Block:
    """A block from `low` on that can contain anything, since nobody has looked."""
    return Block(low, 0, _ANYTHING, True)


def digest_of_needle(folded: str) -> int:
    """The bits of a text to be looked for: of its triples, or of all of it if it is shorter."""
    length = min(len(folded), 3)
    return _bits(set(zip(*(folded[start:] for start in range(length)), strict=False)))


def _digest(folded: str) -> int:
    """The bits of all that a needle within the text can ask for."""
    behind = folded + "\n\n"
    triples = set(zip(folded, behind[1:], behind[2:], strict=False))
    return _bits({*triples, *(each[:2] for each in triples), *(each[:1] for each in triples)})


def _bits(parts: set[tuple[str, ...]]) -> int:
    """A number with two bits for each part, by its hash."""
    digits = bytearray(b"0") * DIGEST_BITS
    for part in parts:
        number = hash(part)
        digits[number % DIGEST_BITS] = digits[(number >> 12) % DIGEST_BITS] = _ONE
    return int(digits, 2)


def read_blocks(
    connection: apsw.Connection, low: str, high: str
) -> Iterator[tuple[Block, str | None]]:
    """The blocks of the keys in [low, high), each with the first key of the next one.

    There is at least one, which can contain nothing where all of these keys have been deleted.
    """
    texts: list[str] = []
    size, first, is_known = 0, low, True
    for key, raw in connection.execute(_TEXTS, (MAX_TEXT, low, high)):
        if len(texts) == BLOCK_KEYS or size > BLOCK_TEXT:
            yield _block(first, texts, is_known), key
            size, first, is_known = 0, key, True
            texts.clear()
        is_known = is_known and raw is not None
        texts.append(f"{key}\n{values.shown_text(raw or '')}")
        size += len(texts[-1])
    yield _block(first, texts, is_known), None


def joined(blocks: Sequence[Block]) -> list[Block]:
    """Blocks of which the last, unless it can contain anything, has not much fewer keys."""
    if len(blocks) < 2 or blocks[-1].keys >= BLOCK_KEYS // 2 or blocks[-1].digest == _ANYTHING:
        return list(blocks)
    *others, one, last = blocks
    keys, beyond_ascii = one.keys + last.keys, one.beyond_ascii or last.beyond_ascii
    return [*others, Block(one.first, keys, one.digest | last.digest, beyond_ascii)]


def _block(first: str, texts: list[str], is_known: bool) -> Block:
    """The block of some keys with their values' texts."""
    text = "\n".join(texts)
    bits = _digest(text.casefold()) if is_known else _ANYTHING
    return Block(first, len(texts), bits, not (is_known and text.isascii()))


_CHANGED: Final = """
SELECT key FROM state INDEXED BY state_by_revision WHERE revision > ? LIMIT ?
"""
_TEXTS: Final = """
SELECT key, iif(octet_length(value) > ?, NULL, value) FROM state
WHERE key >= ? AND key < ? ORDER BY key
"""
