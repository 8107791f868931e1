"""Keeps this node connected to the log that it shares, and tells how that stands."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from random import random
from secrets import token_hex
from time import monotonic
from typing import Any, Final

import gevent
import msgspec
from gevent.event import Event

from signalbox.server.cluster.shared_log_commit import SharedLogCommit
from signalbox.server.engines.address import Address, read_address
from signalbox.server.engines.replicated_engine import ReplicatedEngine
from signalbox.server.engines.shared_log import (
    LogMetadata,
    LogStatus,
    SharedLog,
    not_durable_message,
    shared_log,
)
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.feed import Feed
from signalbox.server.model import errors
from signalbox.server.model.commands import Attempt
from signalbox.server.model.errors import SignalboxError, StoreError, Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.model.times import iso
from signalbox.server.runtime.error_messages import sentence
from signalbox.server.runtime.threads import run_in_background
from signalbox.server.settings import Settings, command_line
from signalbox.server.store import log
from signalbox.server.store.database import AWAITED_LOG, Database
from signalbox.server.write.writer import Writer

logger: Final = logging.getLogger(__name__)

GRACE_SECONDS: Final = 2.0
"""So long after losing the log commands wait for it; after that they are refused at once."""
CATCH_UP_SECONDS: Final = 5.0
"""How long a start waits for the replica."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
UNTOLD: Final = 10_000
"""Outcomes that wait to be told to other nodes; beyond, the oldest are dropped."""


class OutcomeMessage(msgspec.Struct, array_like=True):
    """An outcome that is not in the log, as nodes tell each other: lossy, in MessagePack."""

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
    """Of that node; an earlier Signalbox does not tell it."""


class Node:
    """`engine` is what the writer uses. `stale_since` in seconds since 1970, None while current."""

    def __init__(
        self,
        shared: SharedLog,
        address: Address,
        database: Database,
        replica: SqliteEngine,
        clock: Callable[[], float],
    ) -> None:
        """Connects. A new data directory becomes a replica; an old one follows its log again.

        Raises `StoreError` where the two do not belong together, or where the log is away and
        nothing has been replicated yet.
        """
        self._log = shared
        self._database = database
        self._clock = clock
        self._reader = database.reader()
        self._text, self._followed = address.text, database.meta("engine")
        self._store = database.meta("store") or ""
        self._pause = FIRST_PAUSE
        self._said: str | None = None
        self._is_followed = True
        self._connected = Event()
        self._is_current = Event()
        self._end = 0
        self._untold: deque[OutcomeMessage] = deque(maxlen=UNTOLD)
        self._has_untold = Event()
        self._greenlets: list[gevent.Greenlet[[], None]] = []
        self.id = database.node_id()
        self._process = token_hex(8)
        self._double: str | None = None
        """What is to be said of a node that has the same id."""
        self.address = shared.address
        self.engine = ReplicatedEngine(shared, replica, self._wait_for_log)
        self.problem: str | None = None
        self.stale_since: float | None = None
        self._lost_at = 0.0
        self.is_durable = False
        self._weakness: str | None = None
        """What is wrong with the log's durability, where that keeps this node from writing."""
        self._join()
        database.relax_durability()

    def run(self, writer: Writer, strategy: SharedLogCommit, feed: Feed) -> None:
        """Follow the log from now on; return when the replica has what the log had, or soon."""
        self._writer, self._strategy, self._feed = writer, strategy, feed
        feed.add_listener(self._notice)
        self._greenlets = [gevent.spawn(each) for each in (self._keep, self._hear, self._tell)]
        if self._connected.is_set():
            self._is_current.wait(CATCH_UP_SECONDS)

    def close(self) -> None:
        for greenlet in self._greenlets:
            greenlet.kill()
        self._reader.close()

    def status(self) -> dict[str, Any]:
        """What `/queries/status` tells of the log; `conflicts` are appends that came second."""
        return {
            "node": self.id,
            "address": self.address,
            "connected": self.stale_since is None,
            "stale_since": iso(int(self.stale_since * 1000)) if self.stale_since else None,
            "problem": self.problem or self._weakness or self._strategy.problem or self._double,
            "durable": self.is_durable,
            "requires_durable": self._log.requires_durable,
            "conflicts": self._strategy.conflicts,
        }

    # The first connection.

    def _join(self) -> None:
        revision = log.last_revision(self._reader)
        if self._followed is None and revision:
            raise StoreError(
                f"This data directory holds a store of its own, with {revision} revisions. Use "
                f"another --data-dir, or bring it there: {self._migration()}"
            )
        try:
            if self._followed is None:
                status = self._begin()
            else:
                status = self._log.connect(None)
                self._check(status)
        except Unavailable as error:
            self._lose(error)
        else:
            if self._log.requires_durable and not status.is_durable:
                raise StoreError(not_durable_message(self.address, status))
            self._remember()
            self._gain(status)

    def _begin(self) -> LogStatus:
        """Let a new data directory follow the log; until it does, the folder remembers which."""
        self._database.set_meta(AWAITED_LOG, self._text)
        try:
            status = self._log.connect(LogMetadata(self._store))
        except (Unavailable, StoreError) as error:
            raise StoreError(
                f"{error} This new data directory waits for that log: start it again when it is "
                "there, or with another --engine."
            ) from error
        found = status.metadata
        self._database.make_replica(found.store, self._text, found.horizons)
        self._store = found.store
        self._check(status)
        return status

    def _remember(self) -> None:
        """This data directory follows that log from now on."""
        self._database.set_log_address(self._text)
        self._followed = self._text

    def _migration(self) -> str:
        """What brings what is here to the log."""
        assert self._database.path is not None
        return command_line(self._database.path.parent, "migrate", "--to", self.address)

    def _check(self, status: LogStatus) -> None:
        """Raises `StoreError` unless the replica is an early part of the log."""
        revision = log.last_revision(self._reader)
        if status.metadata.store != self._store:
            raise StoreError(
                f"The log at {self.address} is that of store {status.metadata.store}; this "
                f"data directory follows store {self._store}. Nothing was merged: use another "
                "--data-dir."
            )
        if status.revision < revision:
            where = f"ends at revision {status.revision}, and this replica has {revision}"
            if self._followed != self._text:
                raise StoreError(
                    f"The log at {self.address} {where}: bring the rest there before you follow "
                    f"it, with {self._migration()}"
                )
            raise StoreError(
                f"The log at {self.address} has lost what it had: it {where}. Nothing was merged."
            )
        self._compare(max(revision, 1), status)

    def _compare(self, revision: int, status: LogStatus) -> None:
        """The newest transaction of the replica, or the first of all, must be what the log has."""
        if not status.revision:
            return
        theirs = next(iter(self._log.read(revision - 1, 1)), None)
        self._log.read(revision, 1)  # what comes next must be something that we understand
        ours = next(iter(log.read(self._reader, revision - 1, 1)), theirs)
        if theirs is None or theirs.revision != revision:
            raise StoreError(f"The log at {self.address} has lost its revision {revision}.")
        if ours is not None and (ours.id, ours.at) != (theirs.id, theirs.at):
            raise StoreError(
                f"The log at {self.address} was replaced: its revision {revision} is {theirs.id}, "
                f"this replica's is {ours.id}. Nothing was merged."
            )

    # How it stands.

    def _gain(self, status: LogStatus) -> None:
        self._note(status)
        self._end = status.revision
        if self._is_followed:
            self.problem = self.stale_since = None
        self._connected.set()

    def _note(self, status: LogStatus) -> bool:
        """Tell from now on how durable the log is; whether that is another durability."""
        before = self.engine.durability
        self.engine.durability = status.durability
        self.is_durable = status.is_durable
        is_weak = self._log.requires_durable and not status.is_durable
        self._weakness = not_durable_message(self.address, status) if is_weak else None
        return status.durability != before

    def _lose(self, error: Exception) -> None:
        self.problem = sentence(error)
        if self.problem != self._said:
            what = "is away" if isinstance(error, Unavailable) else "cannot be followed"
            logger.warning("The log at %s %s: %s", self.address, what, self.problem)
        self._said = self.problem
        if self.stale_since is None:
            self.stale_since, self._lost_at = self._clock(), monotonic()
        self._connected.clear()

    def _wait_for_log(self) -> None:
        """Raises `Unavailable` where it is away and stays so for the time of grace.

        Also where it is not as durable as is required, for as long as that lasts.
        """
        if self._connected.is_set():
            self._check_durable()
            return
        away = monotonic() - self._lost_at
        if not self._connected.wait(max(GRACE_SECONDS - away, 0)):
            raise Unavailable(f"{self.problem} Nothing was written.")
        self._check_durable()

    def _check_durable(self) -> None:
        if self._weakness is not None:
            raise Unavailable(f"{self._weakness} Nothing was written.")

    # Following.

    def _keep(self) -> None:
        while True:
            try:
                if not self._connected.is_set():
                    self._connect()
                self._follow()
            except (Unavailable, StoreError) as error:
                self._lose(error)
            except Exception as error:
                logger.exception("The log at %s cannot be followed.", self.address)
                self._lose(error)
            self._feed.wake()
            gevent.sleep(self._pause * (0.5 + random()))  # noqa: S311 - no secret
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _follow(self) -> None:
        self._look_where_we_are()
        was_followed, self._is_followed = self._is_followed, False
        for piece in self._log.follow(self._writer.revision, self._strategy.applied_revision):
            self._is_followed = True
            self._pause, self._said = FIRST_PAUSE, None
            if not was_followed:
                was_followed, self.problem, self.stale_since = True, None, None
                self._feed.wake()
            if self._log.status and self._note(self._log.status):
                logger.info("The log at %s: %s.", self.address, self.engine.durability)
                self._feed.wake()
            if piece:
                self._strategy.replica.receive(piece)
            self._look_where_we_are()

    def _look_where_we_are(self) -> None:
        if self._writer.revision >= self._end:
            self._is_current.set()

    def _connect(self) -> None:
        status = self._log.connect(None)
        self._check(status)
        if self._followed != self._text:
            self._writer.run_between_commits(lambda _: self._remember())
        self._gain(status)
        self._feed.wake()

    # What is not in the log.

    def _notice(self, _: Sequence[Transaction], outcomes: Sequence[Outcome]) -> None:
        for one in outcomes:
            if not (one.is_logged or one.is_from_other_node or one.attempt.dry_run):
                self._untold.append(self._message(one))
                self._has_untold.set()

    def _message(self, one: Outcome) -> OutcomeMessage:
        attempt, error = one.attempt, one.error.fields() if one.error else None
        return OutcomeMessage(
            self.id,
            attempt.id,
            attempt.actor,
            attempt.type,
            attempt.key,
            one.at,
            one.revision,
            error,
            one.duplicate,
            self._process,
        )

    def _tell(self) -> None:
        """As well as it can be done: what cannot be told now is not told later."""
        while True:
            self._has_untold.wait()
            while self._untold:
                try:
                    self._log.publish(msgspec.msgpack.encode(self._untold.popleft()))
                except SignalboxError:
                    self._untold.clear()
            self._has_untold.clear()

    def _hear(self) -> None:
        while True:
            self._connected.wait()
            try:
                for message in self._log.subscribe():
                    self._understood(message)
            except SignalboxError:
                gevent.sleep(FIRST_PAUSE)

    def _understood(self, message: bytes) -> None:
        """What nobody here understands, such as what a newer Signalbox tells, is passed over."""
        try:
            self._heard(msgspec.msgpack.decode(message, type=OutcomeMessage))
        except (msgspec.MsgspecError, RecursionError, TypeError, ValueError, KeyError):
            logger.warning("What another node tells is not understood: is it newer?")

    def _heard(self, told: OutcomeMessage) -> None:
        if told.node == self.id:
            if told.process == self._process:
                return
            self._give_up_id()
        attempt = Attempt(told.id, told.actor, told.type, b"", None, key=told.key)
        error = errors.error_from_fields(told.error) if told.error else None
        outcome = Outcome(
            attempt, told.at, told.revision, 0, error, told.duplicate, is_from_other_node=True
        )
        self._feed.publish((), (outcome,))

    def _give_up_id(self) -> None:
        """Where a copy of this data directory is a node that could not tell that it is one."""
        if self._double is None:
            self._writer.run_between_commits(lambda _: self._database.delete_meta("node"))
            self._double = (
                f"Another node is called {self.id} as well, from a copy of this data directory: "
                "each of them gets a name of its own when it is started again."
            )


def open_node(
    settings: Settings,
    database: Database,
    blocking: Callable[[Callable[[], None]], None],
    clock: Callable[[], float],
) -> Node | None:
    """The connected node that the setting `engine` asks for; None where the log is local.

    `blocking` runs what waits for the disk. Raises `StoreError` where the data directory belongs
    to another log, or the log cannot be used.
    """
    followed, awaited = database.meta("engine"), database.meta(AWAITED_LOG)
    engine = settings.engine or followed or awaited or "sqlite"
    if engine not in ("sqlite", "memory"):
        address = read_address(engine)
        replica = SqliteEngine(database, blocking, run_in_background)
        shared = shared_log(address)
        shared.requires_durable = settings.require_durable
        return Node(shared, address, database, replica, clock)
    if awaited is not None:
        database.delete_meta(AWAITED_LOG)
    if followed is not None:
        raise StoreError(
            f"This data directory is a replica of the log at {read_address(followed).redacted}. "
            "Leave --engine out to follow it, or bring the log here: signalbox migrate --to sqlite"
        )
    if settings.require_durable and engine == "memory":
        raise StoreError("The engine memory is not durable, which --require-durable demands.")
    return None
