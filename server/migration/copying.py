"""Copy to one log the transactions that another has after it."""

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final

from signalbox.server.engines.engine_interface import LogConflict
from signalbox.server.migration.locations import BATCH, MigrationLog
from signalbox.server.model.errors import Conflict, TooLarge
from signalbox.server.model.events import (
    COMPACTED,
    Transaction,
    check_encoded_size,
    encode,
)
from signalbox.server.settings import command_line

PLACEHOLDER_ACTOR: Final = "signalbox"
"""The actor of the placeholders for what retention has removed."""
SIZE_SETTINGS: Final = {
    "nats": "max_payload",
    "tls": "max_payload",
    "redis": "proto-max-bulk-len and client-query-buffer-limit",
    "rediss": "proto-max-bulk-len and client-query-buffer-limit",
}
"""The server's setting for the size of one message, by the scheme of its address."""

Progress = Callable[[int, int], None]
"""Called with how many revisions are done, and of how many."""


def check_sizes(source: MigrationLog, target: MigrationLog, progress: Progress) -> None:
    """Check ahead that the target takes every transaction. Raises as `copy`.

    So nothing has been copied where one is too large.
    """
    done, end = copied_revision(source, target), source.last_revision()
    if target.max_bytes is None:
        return
    so_far = "Nothing was copied" if done else "Nothing was copied, and the log there stays empty"
    for transaction in source.maybe_larger(target.max_bytes, done):
        _check_size(transaction, target, so_far)
        progress(transaction.revision, max(transaction.revision, end))


def copy(source: MigrationLog, target: MigrationLog, progress: Progress) -> int:
    """Append to `target` what `source` has after it, until it has no more; the last revision.

    Raises `Conflict` where `target` is not the beginning of `source`, `TooLarge` for a transaction
    that it does not take, `StoreError` for a damaged one, `Unavailable`.
    """
    done = copied_revision(source, target)
    while done < (end := source.last_revision()):
        try:
            for batch in batches(source, done):
                target.append(_checked(batch, target), done)
                done = batch[-1].revision
                progress(done, max(done, end))
        except LogConflict:
            done = copied_revision(source, target)  # an append whose answer was lost had succeeded
    return done


def copied_revision(source: MigrationLog, target: MigrationLog) -> int:
    """The last revision of `target`. Raises `Conflict` where it is not a beginning of `source`."""
    end, revision = source.last_revision(), target.last_revision()
    if source.metadata.store != target.metadata.store:
        raise Conflict(
            f"{target.name} has the store {target.metadata.store} already; "
            f"{source.name} is the store {source.metadata.store}. Nothing was copied."
        )
    if revision > end:
        raise Conflict(
            f"{target.name} is at revision {revision}, {source.name} only at {end}: it has gone "
            f"on by itself. Nothing was copied. {_alternative(target)}"
        )
    ours = source.newest_up_to(revision) if revision else None
    if ours is not None:
        theirs = target.newest_up_to(ours.revision)
        if theirs is None or (theirs.revision, theirs.id, theirs.at) != (
            ours.revision,
            ours.id,
            ours.at,
        ):
            raise Conflict(
                f"{target.name} has another transaction at revision {ours.revision} than "
                f"{source.name}: both have gone on by themselves. Nothing was merged. "
                f"{_alternative(target)}"
            )
    return revision


def _alternative(target: MigrationLog) -> str:
    """Advice where `target` cannot be copied to."""
    if "://" not in target.name:
        return (
            "Choose another folder for it; signalbox export and signalbox import carry keys over."
        )
    follow = command_line(Path("NEW"), "--engine", target.name)
    return (
        "To use what is there, take a new data directory, into which signalbox export and "
        f"signalbox import carry keys over: {follow}"
    )


def batches(source: MigrationLog, after: int) -> Iterator[list[Transaction]]:
    """The transactions after a revision, in batches, with placeholders for removed ones."""
    while transactions := source.read(after, BATCH):
        remaining = chain.from_iterable(_without_gaps(transactions, after))
        while batch := list(islice(remaining, BATCH)):
            yield batch
        after = transactions[-1].revision


def _without_gaps(transactions: list[Transaction], after: int) -> Iterator[Iterator[Transaction]]:
    """The transactions, with a placeholder for each revision that retention has removed."""
    for transaction in transactions:
        yield (
            _placeholder(revision, transaction.at)
            for revision in range(after + 1, transaction.revision)
        )
        yield iter((transaction,))
        after = transaction.revision


def _placeholder(revision: int, at: int) -> Transaction:
    """A transaction without changes in the place of one that retention has removed."""
    return Transaction(
        revision, f"{COMPACTED}-{revision}", PLACEHOLDER_ACTOR, at, COMPACTED, b"", []
    )


def _checked(batch: list[Transaction], target: MigrationLog) -> list[Transaction]:
    """A batch of transactions to copy. Raises `TooLarge` for one that the target does not take."""
    for transaction in batch:
        _check_size(transaction, target, "What is before it was copied")
    return batch


def _check_size(transaction: Transaction, target: MigrationLog, so_far: str) -> None:
    """Raises `TooLarge`, with the setting for it, where the target takes no such transaction."""
    if (limit := target.max_bytes) is None:
        return
    try:
        check_encoded_size(transaction, limit)
    except TooLarge as error:
        setting = SIZE_SETTINGS[target.name.partition("://")[0]]
        raise TooLarge(
            f"Revision {transaction.revision} has {len(encode(transaction))} bytes; {target.name} "
            f"takes {limit} in one message. {so_far}: start this again where the server's "
            f"{setting} is higher.",
            limit=limit,
        ) from error
