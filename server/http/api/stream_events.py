"""Encodes the events of `/queries/stream` as server-sent events (WHATWG HTML, 9.2); pure."""

from typing import Any, Literal

import msgspec

from signalbox.server.http.api import schemas
from signalbox.server.model.events import Change, Transaction
from signalbox.server.model.keys import Pattern
from signalbox.server.model.times import iso


def change(transaction: Transaction, pattern: Pattern, store: str) -> bytes:
    """The `change` event of a transaction, empty where none of its keys match."""
    changes = [change_of(change) for change in transaction.changes if pattern.matches(change.key)]
    if not changes:
        return b""
    body = schemas.Transaction(
        transaction.revision, transaction.id, transaction.actor, iso(transaction.at), changes
    )
    return _event("change", body) + position(store, transaction.revision)


def empty_snapshot(revision: int) -> bytes:
    """The only page of a state without matching items, see `row_forms.SNAPSHOT_EVENT`."""
    return _event("snapshot", schemas.Snapshot(revision, [])) + b"\n"


def caught_up(store: str, revision: int) -> bytes:
    """The event `caught-up`: all that was true has been sent, and only changes follow."""
    return _event("caught-up", schemas.CaughtUp(revision)) + position(store, revision)


def ack(event: dict[str, Any]) -> bytes:
    """The event `ack`: the outcome of an attempt."""
    return _event("ack", event) + b"\n"


def reset(reason: Literal["other_store", "compacted"], oldest: int) -> bytes:
    """The event `reset`: the stream cannot go on where the client was, and begins anew."""
    return _event("reset", schemas.Reset(reason, oldest)) + b"\n"


def heartbeat(store: str, revision: int) -> bytes:
    """A comment that also moves the position on, where nothing matches for long."""
    return b": still here\n" + position(store, revision)


def position(store: str, revision: int) -> bytes:
    """The line that ends an event and says where to resume."""
    return f"id: {store}:{revision}\n\n".encode()


def _event(name: str, body: Any) -> bytes:
    """One server-sent event without its end; the JSON of `body` has no line break."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n"


def change_of(change: Change) -> schemas.Change:
    """A change as streams and exports carry it."""
    if change.raw is None:
        return schemas.Change(change.key, deleted=True)
    return schemas.Change(change.key, msgspec.Raw(change.raw.encode()))
