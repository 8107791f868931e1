"""Outcomes that are not in the log, such as rejections: nodes publish them to each other.

So the streams of every node have every outcome. A message may be lost: it is not sent again.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any, Final

import gevent
import msgspec
from gevent.event import Event

from signalbox.server.engines.shared_log import SharedLog
from signalbox.server.feed import Feed
from signalbox.server.model import errors
from signalbox.server.model.commands import Attempt
from signalbox.server.model.errors import SignalboxError
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome

logger: Final = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.1
MAX_UNSENT: Final = 10_000
"""Outcomes that wait to be published; beyond, the oldest are dropped."""


class OutcomeMessage(msgspec.Struct, array_like=True):
    """An outcome as it is sent to other nodes, in MessagePack."""

    node: str
    id: str
    actor: str
    type: str
    key: str | None
    at: int
    revision: int
    error: dict[str, Any] | None
    duplicate: dict[str, Any] | None
    process: str = ""
    """A random id of that node's process; earlier versions do not send it."""


class OutcomeExchange:
    """Publishes this node's outcomes and receives those of the others, in two greenlets."""

    def __init__(
        self,
        log: SharedLog,
        feed: Feed,
        node_id: str,
        connected: Event,
        id_is_in_use: Callable[[], None],
    ) -> None:
        """`connected` is set while there is a connection.

        `id_is_in_use` is called where another process sends messages with this node's id.
        """
        self._log = log
        self._feed = feed
        self._node_id = node_id
        self._connected = connected
        self._id_is_in_use = id_is_in_use
        self._process = token_hex(8)
        self._unsent: deque[OutcomeMessage] = deque(maxlen=MAX_UNSENT)
        self._has_unsent = Event()
        feed.add_listener(self._enqueue)
        self._greenlets = [gevent.spawn(self._publish), gevent.spawn(self._receive)]

    def close(self) -> None:
        """Neither publish nor receive outcomes any more."""
        for greenlet in self._greenlets:
            greenlet.kill()

    def _enqueue(self, _: Sequence[Transaction], outcomes: Sequence[Outcome]) -> None:
        """Enqueue this node's outcomes that are not in the log, to be published to other nodes."""
        for outcome in outcomes:
            if not (outcome.is_logged or outcome.is_from_other_node or outcome.attempt.dry_run):
                self._unsent.append(self._message(outcome))
                self._has_unsent.set()

    def _message(self, outcome: Outcome) -> OutcomeMessage:
        """This node's outcome as a message to the others."""
        attempt, error = outcome.attempt, outcome.error.fields() if outcome.error else None
        return OutcomeMessage(
            self._node_id,
            attempt.id,
            attempt.actor,
            attempt.type,
            attempt.key,
            outcome.at,
            outcome.revision,
            error,
            outcome.duplicate,
            self._process,
        )

    def _publish(self) -> None:
        """Publish what is enqueued; what cannot be sent now is dropped."""
        while True:
            self._has_unsent.wait()
            while self._unsent:
                try:
                    self._log.publish(msgspec.msgpack.encode(self._unsent.popleft()))
                except SignalboxError:
                    self._unsent.clear()
            self._has_unsent.clear()

    def _receive(self) -> None:
        """Receive other nodes' outcomes for as long as the server runs."""
        while True:
            self._connected.wait()
            try:
                for message in self._log.subscribe():
                    self._read(message)
            except SignalboxError:
                gevent.sleep(RETRY_SECONDS)

    def _read(self, data: bytes) -> None:
        """Hand on one message; one that has another form, as of a newer version, is left out."""
        try:
            self._hand_on(msgspec.msgpack.decode(data, type=OutcomeMessage))
        except (msgspec.MsgspecError, RecursionError, TypeError, ValueError, KeyError):
            logger.warning(
                "A message from another node could not be decoded; that node may be newer."
            )

    def _hand_on(self, message: OutcomeMessage) -> None:
        """Give another node's outcome to this node's feed."""
        if message.node == self._node_id:
            if message.process == self._process:
                return
            self._id_is_in_use()
        attempt = Attempt(message.id, message.actor, message.type, b"", None, key=message.key)
        error = errors.error_from_fields(message.error) if message.error else None
        outcome = Outcome(
            attempt,
            message.at,
            message.revision,
            0,
            error,
            message.duplicate,
            is_from_other_node=True,
        )
        self._feed.publish((), (outcome,))
