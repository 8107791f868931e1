"""A node's writer where what it has sent arrives in pieces, and late."""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from time import time
from typing import NamedTuple

import gevent
import pytest

from brokers import new_log
from server import log
from server.commands import read_attempt
from server.database import Database
from server.engines.address import read_address
from server.engines.base import Foundation, Unsettled
from server.engines.jetstream import JetStreamLog
from server.engines.replicated import Replicated
from server.engines.sqlite import SqliteEngine
from server.events import Transaction
from server.feed import Feed
from server.nodewriter import NodeWriter
from server.readmodel import ReadModel
from server.waiting import Waiting


class Late(JetStreamLog):
    """Of the first chain one link arrives at once, the others just before what is sent next.

    Or, where it `is_overtaken`, somebody else's transaction in their place.
    """

    held: list[Transaction] | None = None
    is_overtaken = False

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        if self.held is None and len(transactions) > 1:
            super().append(transactions[:1], expected)
            self.held = list(transactions[1:])
            raise Unsettled("nobody answers")
        if self.held:
            held, self.held = self.held, []
            if self.is_overtaken:
                held = [held[0]._replace(id="other")]
            super().append(held, held[0].revision - 1)
        super().append(transactions, expected)


class Site(NamedTuple):
    """A writer, the log that it appends to, and its replica."""

    log: Late
    writer: NodeWriter
    database: Database

    def enqueue(self, *names: str) -> list[Waiting]:
        """Commands under ids that their senders have not chosen."""
        body = {"type": "add", "key": "n", "by": 1}
        return [self.writer.enqueue(read_attempt(body, "me", name)) for name in names]

    def both(self) -> list[Transaction]:
        """What the log has, and the replica as well."""
        there = self.log.read(0, 10)
        assert log.read(self.database.writer, 0, 10) == there
        return there


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    late, database = Late(read_address(new_log("nats"))), Database(tmp_path / "signalbox.db")
    late.connect(Foundation(database.meta("store") or ""))
    readmodel, seconds = ReadModel(database), count(1_000_000_000)
    engine = Replicated(late, SqliteEngine(database), lambda: None)
    writer = NodeWriter(engine, readmodel, Feed(time), lambda: next(seconds))
    yield Site(late, writer, database)
    writer.close()
    readmodel.close()
    database.close()
    late.close()


def test_the_rest_of_a_chain_may_arrive_after_it_was_missed(site: Site) -> None:
    outcomes = [one.wait() for one in site.enqueue("one", "two", "three")]
    assert [(one.error, one.revision) for one in outcomes] == [(None, 1), (None, 2), (None, 3)]
    there = site.both()
    assert [one.id for one in there] == ["one", "two", "three"]
    assert [one.changes[0].raw for one in there] == ["1", "2", "3"]


def test_what_somebody_else_came_before_is_decided_again(site: Site) -> None:
    site.log.is_overtaken = True
    outcomes = [one.wait() for one in site.enqueue("one", "two", "three")]
    assert [(one.error, one.revision) for one in outcomes] == [(None, 1), (None, 3), (None, 4)]
    there = site.both()
    assert [one.id for one in there] == ["one", "other", "two", "three"]
    assert [one.changes[0].raw for one in there] == ["1", "2", "3", "4"]


def test_whoever_follows_the_log_waits_for_what_is_just_being_appended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, asked = site.log.append, []

    def watched(transactions: Sequence[Transaction], expected: int) -> None:
        asked.append(gevent.spawn(site.writer.known))
        append(transactions, expected)
        assert not asked[0].ready()

    monkeypatch.setattr(site.log, "append", watched)
    assert [each.wait().revision for each in site.enqueue("a")] == [1]
    assert asked[0].get() == 1
