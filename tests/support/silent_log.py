"""A log that does not answer, and the outcomes that senders get in the meantime."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

import gevent
import pytest
from gevent.event import Event

from signalbox.server.engines.address import read_address
from signalbox.server.engines.engine_interface import AppendIndeterminate, LogConflict
from signalbox.server.engines.shared_log import shared_log
from signalbox.server.model.commands import read_attempt
from signalbox.server.model.decide import prepare_attempt
from signalbox.server.model.errors import OutcomeUnknown, Unavailable
from signalbox.server.model.events import Change, Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.write.pending_attempt import PendingAttempt
from support.engine_stores import NodeStore

TIMEOUT: Final = 0.2
SECONDS: Final = 20.0


class SilentLog:
    """Until `end` nothing that is sent arrives, and no request is answered."""

    def __init__(self, store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.asked = Event()
        """Set once the log's last revision was requested."""
        self._log = store.log
        self.real = store.log.append, store.log.last_revision
        self.sent: list[Transaction] = []
        monkeypatch.setattr(self._log, "append", self._append)
        monkeypatch.setattr(self._log, "last_revision", self._unanswered)

    def end(self, append: Callable[..., None] | None = None) -> None:
        """From now on it answers; appends by `append`, if that is given."""
        self._patch.setattr(self._log, "append", append or self.real[0])
        self._patch.setattr(self._log, "last_revision", self.real[1])

    def deliver(self, number: int | None = None) -> None:
        """The sent transactions arrive late, all or the first `number`."""
        self.real[0](self.sent[:number], self.sent[0].revision - 1)

    def deliver_too_late(self) -> None:
        """The sent transactions arrive after another node's."""
        with pytest.raises(
            (LogConflict, AppendIndeterminate)
        ):  # the request for the log's last revision gets no answer
            self.deliver()

    def _append(self, transactions: Sequence[Transaction], _expected: int) -> None:
        self.sent = list(transactions)
        raise AppendIndeterminate("nobody answers")

    def _unanswered(self) -> int:
        self.asked.set()
        raise Unavailable("nobody answers.")


class PublishedOutcomes:
    """The outcomes that streams of a store get from now on."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self.all: list[Outcome] = []
        self._news = Event()
        store.feed.add_listener(self._hear)

    def codes(self, identity: str) -> list[str | None]:
        """Of each outcome of that attempt; None where it was accepted."""
        return [one.answer().get("code") for one in self.all if one.attempt.id == identity]

    def outcome(self, identity: str) -> dict[str, Any]:
        """The attempt as it is found once its outcome is published."""
        with gevent.Timeout(SECONDS):
            while not self.codes(identity):
                self._news.wait()
                self._news.clear()
        record = self._store.readmodel.attempt(identity)
        assert record is not None
        return record

    def _hear(self, _: Sequence[Transaction], outcomes: Sequence[Outcome]) -> None:
        self.all.extend(outcomes)
        self._news.set()


def enqueue(store: NodeStore, identity: str, **command: Any) -> PendingAttempt:
    body = {"type": "set", "key": "k", "value": 1} | command | {"id": identity}
    return store.writer.enqueue(prepare_attempt(read_attempt(body, "me", "unused")))


def send_until_unknown(store: NodeStore, identity: str, **command: Any) -> None:
    assert isinstance(enqueue(store, identity, **command).wait().error, OutcomeUnknown)
    assert store.readmodel.attempt(identity) is None


def other_node_appends(address: str, revision: int = 1) -> None:
    with closing(shared_log(read_address(address))) as other:
        other.connect(None)
        change = Change("z", str(revision), revision == 1)
        made = Transaction(revision, f"other-{revision}", "you", revision, "set", b"f", [change])
        other.append([made], revision - 1)
