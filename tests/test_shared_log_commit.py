"""A node's writer where what it has sent arrives in pieces, and late."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from time import time
from typing import Generic, NamedTuple, TypeVar

import gevent
import pytest

from signalbox.server.cluster.shared_log_commit import SharedLogCommit
from signalbox.server.engines.address import read_address
from signalbox.server.engines.engine_interface import AppendIndeterminate
from signalbox.server.engines.jetstream.log import JetStreamLog
from signalbox.server.engines.replicated_engine import ReplicatedEngine
from signalbox.server.engines.shared_log import LogMetadata
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.feed import Feed
from signalbox.server.model.commands import read_attempt
from signalbox.server.model.errors import OutcomeUnknown, Unavailable
from signalbox.server.model.events import Change, Transaction
from signalbox.server.store import log_table
from signalbox.server.store.database import Database
from signalbox.server.store.projection import Projection
from signalbox.server.write.pending_attempt import PendingAttempt
from signalbox.server.write.writer import Writer
from support.brokers import new_log


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
            raise AppendIndeterminate("nobody answers")
        if self.held:
            held, self.held = self.held, []
            if self.is_overtaken:
                held = [held[0]._replace(id="other")]
            super().append(held, held[0].revision - 1)
        super().append(transactions, expected)


class Silent(JetStreamLog):
    """What is appended first never arrives; no request is answered then until it `speaks` again."""

    speaks = True
    is_first = True

    def append(self, transactions: Sequence[Transaction], expected: int) -> None:
        if self.is_first:
            self.is_first = self.speaks = False
            raise AppendIndeterminate("nobody answers")
        super().append(transactions, expected)

    def last_revision(self) -> int:
        if not self.speaks:
            raise Unavailable("nobody answers.")
        return super().last_revision()


Log = TypeVar("Log", bound=JetStreamLog)


class Site(NamedTuple, Generic[Log]):
    """A writer, the log that it appends to, and its replica."""

    log: Log
    writer: Writer
    strategy: SharedLogCommit
    database: Database

    def enqueue(self, *names: str) -> list[PendingAttempt]:
        """Commands under ids that their senders have not chosen."""
        body = {"type": "add", "key": "n", "by": 1}
        return [self.writer.enqueue(read_attempt(body, "me", name)) for name in names]

    def both(self) -> list[Transaction]:
        """What the log has, and the replica as well."""
        there = self.log.read(0, 10)
        assert log_table.read(self.database.writer, 0, 10) == there
        return there


@contextmanager
def sited(log: Log, folder: Path, timeout: float = 10.0) -> Iterator[Site[Log]]:
    """A new replica of a new log."""
    database = Database(folder / "signalbox.db")
    log.connect(LogMetadata(database.meta("store") or ""))
    projection, seconds = Projection(database), count(1_000_000_000)
    engine = ReplicatedEngine(log, SqliteEngine(database), lambda: None)
    feed = Feed(time)
    strategy = SharedLogCommit(engine, projection, feed, timeout)
    writer = Writer(engine, projection, feed, lambda: next(seconds), 0, strategy)
    yield Site(log, writer, strategy, database)
    writer.close()
    projection.close()
    database.close()
    log.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site[Late]]:
    with sited(Late(read_address(new_log("nats"))), tmp_path) as made:
        yield made


def test_the_rest_of_a_chain_may_arrive_late(site: Site[Late]) -> None:
    outcomes = [one.wait() for one in site.enqueue("one", "two", "three")]
    assert [(one.error, one.revision) for one in outcomes] == [(None, 1), (None, 2), (None, 3)]
    there = site.both()
    assert [one.id for one in there] == ["one", "two", "three"]
    assert [one.changes[0].raw for one in there] == ["1", "2", "3"]


def test_after_another_nodes_append_attempts_are_decided_again(site: Site[Late]) -> None:
    site.log.is_overtaken = True
    outcomes = [one.wait() for one in site.enqueue("one", "two", "three")]
    assert [(one.error, one.revision) for one in outcomes] == [(None, 1), (None, 3), (None, 4)]
    there = site.both()
    assert [one.id for one in there] == ["one", "other", "two", "three"]
    assert [one.changes[0].raw for one in there] == ["1", "2", "3", "4"]


def test_the_applied_revision_waits_for_an_append_under_way(
    site: Site[Late], monkeypatch: pytest.MonkeyPatch
) -> None:
    append, asked = site.log.append, []

    def watched(transactions: Sequence[Transaction], expected: int) -> None:
        asked.append(gevent.spawn(site.strategy.applied_revision))
        append(transactions, expected)
        assert not asked[0].ready()

    monkeypatch.setattr(site.log, "append", watched)
    assert [each.wait().revision for each in site.enqueue("a")] == [1]
    assert asked[0].get() == 1


def test_a_sender_that_got_unknown_gets_an_outcome_later(tmp_path: Path) -> None:
    address = new_log("nats")
    with sited(Silent(read_address(address)), tmp_path, timeout=0.2) as site:
        (one,) = site.enqueue("one")
        assert isinstance(one.wait().error, OutcomeUnknown)
        with closing(JetStreamLog(read_address(address))) as other:
            other.connect(None)
            other.append([Transaction(1, "other", "you", 1, "set", b"f", [Change("z", "1")])], 0)
        site.log.speaks = True
        (again,) = site.enqueue("two")
        assert again.wait().revision == 3
        assert [one.id for one in site.both()] == ["other", "one", "two"]


def test_an_unknown_append_is_resolved_also_if_a_job_keeps_the_writer_busy(
    tmp_path: Path,
) -> None:
    with sited(Silent(read_address(new_log("nats"))), tmp_path) as site:
        (one,) = site.enqueue("one")
        # The first look comes while this keeps the writer busy; nobody sends anything afterwards.
        site.writer.run_between_commits(lambda _: gevent.idle())
        site.log.speaks = True
        assert one.wait().revision == 1


def test_attempts_committed_separately_keep_their_order_after_an_unknown_one(
    site: Site[Late], monkeypatch: pytest.MonkeyPatch
) -> None:
    append = site.log.append
    refused: list[Sequence[Transaction]] = []

    def failing(transactions: Sequence[Transaction], expected: int) -> None:
        if not refused:
            refused.append(transactions)
            raise ZeroDivisionError
        if len(refused) == 1:
            refused.append(transactions)
            raise AppendIndeterminate("nobody answers")
        append(transactions, expected)

    monkeypatch.setattr(site.log, "append", failing)
    assert [one.wait().revision for one in site.enqueue("a", "b", "c", "d")] == [1, 2, 3, 4]
    assert [one.id for one in site.both()] == ["a", "b", "c", "d"]
