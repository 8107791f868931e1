"""Bringing to one log what another has behind it."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final

from signalbox.server.engines.base import LogConflict
from signalbox.server.migration.locations import PIECE, Log
from signalbox.server.model.errors import Conflict, TooLarge
from signalbox.server.model.events import (
    COMPACTED,
    Transaction,
    check_encoded_size,
    encode,
)
from signalbox.server.settings import command_line

FILLER: Final = "signalbox"
"""Who stands for what retention has removed."""
SIZES: Final = {
    "nats": "max_payload",
    "tls": "max_payload",
    "redis": "proto-max-bulk-len and client-query-buffer-limit",
    "rediss": "proto-max-bulk-len and client-query-buffer-limit",
}
"""What lets a server take more in one message, by the scheme of its address."""

Progress = Callable[[int, int], None]
"""Called with how many revisions are done, and of how many."""


def measure(source: Log, target: Log, progress: Progress) -> None:
    """Look through what is to be copied. Raises `Conflict` as `copy`, and `TooLarge`.

    So nothing has been copied where a transaction is larger than what the target takes.
    """
    done, end = common(source, target), source.last_revision()
    if target.max_bytes is None:
        return
    so_far = "Nothing was copied" if done else "Nothing was copied, and the log there stays empty"
    for one in source.larger(target.max_bytes, done):
        _check_size(one, target, so_far)
        progress(one.revision, max(one.revision, end))


def copy(source: Log, target: Log, progress: Progress) -> int:
    """Append to `target` what `source` has behind it, until it has no more; the revision then.

    Raises `Conflict` where `target` has something else than the beginning of `source`, `TooLarge`
    for a transaction that it does not take, `StoreError` for one that is damaged, `Unavailable`.
    """
    done = common(source, target)
    while done < (end := source.last_revision()):
        try:
            for piece in pieces(source, done):
                target.append(_checked(piece, target), done)
                done = piece[-1].revision
                progress(done, max(done, end))
        except LogConflict:
            done = common(source, target)  # an append that was in doubt had come through
    return done


def common(source: Log, target: Log) -> int:
    """Where `target` ends, which must be an early part of `source`. Raises `Conflict`."""
    end, revision = source.last_revision(), target.last_revision()
    if source.metadata.store != target.metadata.store:
        raise Conflict(
            f"{target.shown} has the store {target.metadata.store} already; "
            f"{source.shown} is the store {source.metadata.store}. Nothing was copied."
        )
    if revision > end:
        raise Conflict(
            f"{target.shown} is at revision {revision}, {source.shown} only at {end}: it has gone "
            f"on by itself. Nothing was copied. {_instead(target)}"
        )
    ours = source.newest(revision) if revision else None
    if ours is not None:
        theirs = target.newest(ours.revision)
        if theirs is None or (theirs.revision, theirs.id, theirs.at) != (
            ours.revision,
            ours.id,
            ours.at,
        ):
            raise Conflict(
                f"{target.shown} has another transaction at revision {ours.revision} than "
                f"{source.shown}: both have gone on by themselves. Nothing was merged. "
                f"{_instead(target)}"
            )
    return revision


def _instead(target: Log) -> str:
    """What can be done where it cannot be copied there."""
    if "://" not in target.shown:
        return (
            "Choose another folder for it; signalbox export and signalbox import carry keys over."
        )
    follow = command_line(Path("NEW"), "--engine", target.shown)
    return (
        "To use what is there, take a new data directory, into which signalbox export and "
        f"signalbox import carry keys over: {follow}"
    )


def pieces(source: Log, after: int) -> Iterator[list[Transaction]]:
    """What follows in a log, without gaps: something stands for each transaction that is gone."""
    while found := source.read(after, PIECE):
        left = chain.from_iterable(_gapless(found, after))
        while piece := list(islice(left, PIECE)):
            yield piece
        after = found[-1].revision


def _gapless(found: list[Transaction], after: int) -> Iterator[Iterator[Transaction]]:
    for one in found:
        yield (_filler(revision, one.at) for revision in range(after + 1, one.revision))
        yield iter((one,))
        after = one.revision


def _filler(revision: int, at: int) -> Transaction:
    return Transaction(revision, f"{COMPACTED}-{revision}", FILLER, at, COMPACTED, b"", [])


def _checked(piece: list[Transaction], target: Log) -> list[Transaction]:
    """Raises `TooLarge` for a transaction that the target does not take."""
    for one in piece:
        _check_size(one, target, "What is before it was copied")
    return piece


def _check_size(one: Transaction, target: Log, so_far: str) -> None:
    if (limit := target.max_bytes) is None:
        return
    try:
        check_encoded_size(one, limit)
    except TooLarge as error:
        setting = SIZES[target.shown.partition("://")[0]]
        raise TooLarge(
            f"Revision {one.revision} has {len(encode(one))} bytes; {target.shown} takes {limit} "
            f"in one message. {so_far}: start this again where the server's {setting} is higher.",
            limit=limit,
        ) from error
