"""Server-sent events as bytes (WHATWG HTML, section 9.2); pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from server.events import Change, Transaction
from server.http.queries import iso
from server.keys import Pattern
from server.search import Item


def change(transaction: Transaction, pattern: Pattern, store: str) -> bytes:
    """The `change` event of a transaction, empty where none of its keys match."""
    changes = [_change(change) for change in transaction.changes if pattern.matches(change.key)]
    if not changes:
        return b""
    body = {
        "revision": transaction.revision,
        "id": transaction.id,
        "actor": transaction.actor,
        "at": iso(transaction.at),
        "changes": changes,
    }
    return _event("change", body) + position(store, transaction.revision)


def snapshot(revision: int, items: Sequence[Item]) -> bytes:
    """One page of the state at `revision`."""
    shown = [
        {"key": item.key, "value": msgspec.Raw(item.raw.encode()), "revision": item.revision}
        for item in items
    ]
    return _event("snapshot", {"revision": revision, "items": shown}) + b"\n"


def caught_up(store: str, revision: int) -> bytes:
    return _event("caught-up", {"revision": revision}) + position(store, revision)


def ack(event: dict[str, Any]) -> bytes:
    return _event("ack", event) + b"\n"


def reset(reason: str, oldest: int) -> bytes:
    return _event("reset", {"reason": reason, "oldest": oldest}) + b"\n"


def heartbeat(store: str, revision: int) -> bytes:
    """A comment that also moves the position on, where nothing matches for long."""
    return b": still here\n" + position(store, revision)


def position(store: str, revision: int) -> bytes:
    """The line that ends an event and says where to resume."""
    return f"id: {store}:{revision}\n\n".encode()


def _event(name: str, body: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n"


def _change(change: Change) -> dict[str, Any]:
    if change.raw is None:
        return {"key": change.key, "deleted": True}
    return {"key": change.key, "value": msgspec.Raw(change.raw.encode())}
