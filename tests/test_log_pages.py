"""Pages of the log are, byte for byte, what is sent of each transaction that is live."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.http.api import schemas, stream_events
from signalbox.server.model.errors import UnknownVersion
from signalbox.server.model.events import Transaction, checksum
from signalbox.server.model.keys import compile_pattern
from signalbox.server.model.times import iso
from signalbox.server.read import log_pages
from support.local_store import Store
from support.random_commands import COMMAND

MATCHES = st.sampled_from(["**", "a.**", "n.*", "**.x", "a*.x", "*", "_signalbox.**", "none"])


def transactions(store: Store) -> list[Transaction]:
    return store.readmodel.log.transactions(0, 1_000)


def missed(store: Store, match: str) -> bytes:
    """All changes, as a stream gets them that begins at the beginning."""
    position, events = 0, b""
    while position < store.readmodel.revision:
        page, position = store.readmodel.log_pages.changes(
            position, store.readmodel.revision, match
        )
        events += page
    return events


def history_line(transaction: Transaction, match: str | None) -> bytes:
    pattern = None if match is None else compile_pattern(match)
    changes = [
        stream_events.change_of(change)
        for change in transaction.changes
        if pattern is None or pattern.matches(change.key)
    ]
    if transaction.changes and not changes:
        return b""
    line = schemas.Recorded(
        transaction.revision,
        transaction.id,
        transaction.actor,
        iso(transaction.at),
        changes,
        type=transaction.type,
        fingerprint=transaction.fingerprint.hex(),
    )
    if transaction.of:
        line.reverses = list(transaction.of)
    if len(changes) == len(transaction.changes):
        line.checksum = f"{checksum(transaction):08x}"
    return msgspec.json.encode(line) + b"\n"


@settings(deadline=None, max_examples=60)
@given(st.lists(COMMAND, max_size=30), MATCHES, st.sampled_from([1, 300, 10**6]))
def test_what_a_stream_missed_and_a_history_are_what_was_sent_live(
    commands: list[dict[str, Any]], match: str, size: int
) -> None:
    with Store() as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_pages, "PAGE_BYTES", size)
        store.run_all(commands)
        store.run(type="set", key="a.x", value='"\\ü\n')
        store.run(type="undo")
        log, name = transactions(store), store.readmodel.store
        events = [stream_events.change(one, compile_pattern(match), name) for one in log]
        assert missed(store, match) == b"".join(events)
        for wanted in (match, None):
            lines = store.readmodel.log_pages.history(0, store.readmodel.revision, wanted)
            assert b"".join(lines) == b"".join(history_line(one, wanted) for one in log)


def test_a_history_ends_and_begins_where_it_is_told_to() -> None:
    with Store() as store:
        for number in range(10):
            store.run(type="set", key="n", value=number)
        pages = store.readmodel.log_pages.history(3, 7, None)
        lines = [msgspec.json.decode(line) for line in b"".join(pages).splitlines()]
        assert [line["revision"] for line in lines] == [4, 5, 6, 7]


def test_what_a_newer_program_has_written_is_not_guessed_at() -> None:
    with Store() as store:
        store.set(a=1)
        store.database.writer.execute("UPDATE transactions SET version = 99")
        with pytest.raises(UnknownVersion):
            missed(store, "**")
