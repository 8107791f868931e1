"""A node: it connects a data directory to its shared log, follows the log, and has a status."""

import logging
from collections.abc import Callable
from random import random
from time import monotonic
from typing import Any, Final

import gevent
from gevent.event import Event

from signalbox.server.cluster.outcome_exchange import OutcomeExchange
from signalbox.server.cluster.shared_log_commit import SharedLogCommit
from signalbox.server.engines.address import Address, read_address
from signalbox.server.engines.replicated_engine import ReplicatedEngine
from signalbox.server.engines.shared_log import (
    LogMetadata,
    LogStatus,
    Partitioned,
    SharedLog,
    not_durable_message,
    shared_log,
)
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.feed import Feed
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.model.times import iso
from signalbox.server.runtime.error_messages import sentence
from signalbox.server.runtime.threads import run_in_background
from signalbox.server.settings import Settings, command_line
from signalbox.server.store import log_table
from signalbox.server.store.database import AWAITED_LOG, Database
from signalbox.server.write.writer import Writer

logger: Final = logging.getLogger(__name__)

GRACE_SECONDS: Final = 2.0
"""For how long after losing the log commands wait for it; after that they are rejected at once."""
CATCH_UP_SECONDS: Final = 5.0
"""How long a start waits for the replica."""
RECONNECT_SECONDS: Final = 0.1
"""The pause before the first reconnection; twice as long before each further one."""
MAX_RECONNECT_SECONDS: Final = 2.0
ELECTION_SECONDS: Final = 30.0
"""How long a new data directory waits for the servers of its log to agree on a leader; an election
of NATS takes up to 9 s, and sometimes a second one is needed."""


class Node:
    """A data directory that is the replica of a shared log.

    `id` is this node's, `engine` what the writer uses, `address` the log's without secrets.
    """

    _is_following = True
    """False from a reconnection until the log gives something to follow."""
    _first_end = 0
    """The log's revision on connecting: the replica has caught up once it has that."""
    _pause = RECONNECT_SECONDS
    _problem: str | None = None
    """Why there is no connection, or the log cannot be followed."""
    _logged_problem: str | None = None
    _stale_since: float | None = None
    """In seconds since 1970, None while the replica is current."""
    _lost_at = 0.0
    """The same in seconds of `monotonic`."""
    _is_durable = False
    _not_durable: str | None = None
    """Why this node must not write, where the log is less durable than is required."""
    _id_in_use: str | None = None
    """What the status says where another node has the same id."""

    def __init__(
        self,
        shared: SharedLog,
        address: Address,
        database: Database,
        replica: SqliteEngine,
        clock: Callable[[], float],
    ) -> None:
        """Connects. A new data directory becomes a replica; an old one follows its log again.

        Raises `StoreError` if the two do not belong together, or where the log is away and
        nothing has been replicated yet.
        """
        self._log = shared
        self._database = database
        self._clock = clock
        self._reader = database.reader()
        self._address, self._stored_address = address.text, database.meta("engine")
        """The log's with secrets; as given, and as the database has it."""
        self._store = database.meta("store") or ""
        self.id = database.node_id()
        self.address = shared.address
        self.engine = ReplicatedEngine(shared, replica, self._wait_for_log)
        self._connected = Event()
        self._caught_up = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._exchange: OutcomeExchange | None = None
        self._connect_first()
        database.relax_durability()

    def run(self, writer: Writer, strategy: SharedLogCommit, feed: Feed) -> None:
        """Follow the log from now on; return when the replica has caught up, or after a while."""
        self._writer, self._strategy, self._feed = writer, strategy, feed
        self._exchange = OutcomeExchange(
            self._log, feed, self.id, self._connected, self._give_up_id
        )
        self._greenlet = gevent.spawn(self._run)
        if self._connected.is_set():
            self._caught_up.wait(CATCH_UP_SECONDS)

    def close(self) -> None:
        """Stop following the shared log, and exchanging outcomes with other nodes."""
        if self._exchange is not None:
            self._exchange.close()
        if self._greenlet is not None:
            self._greenlet.kill()
        self._reader.close()

    def status(self) -> dict[str, Any]:
        """The field `log` of `/queries/status`."""
        stale_since = self._stale_since
        return {
            "node": self.id,
            "address": self.address,
            "connected": stale_since is None,
            "stale_since": iso(int(stale_since * 1000)) if stale_since else None,
            "problem": (
                self._problem or self._not_durable or self._strategy.problem or self._id_in_use
            ),
            "durable": self._is_durable,
            "requires_durable": self._log.requires_durable,
            "conflicts": self._strategy.conflicts,
        }

    # The first connection.

    def _connect_first(self) -> None:
        """Connect to the shared log at the start. Raises `StoreError` for one not to follow."""
        revision = log_table.last_revision(self._reader)
        if self._stored_address is None and revision:
            raise StoreError(
                f"This data directory holds a store of its own, with {revision} revisions. Use "
                f"another --data-dir, or bring it there: {self._migrate_command()}"
            )
        try:
            if self._stored_address is None:
                status = self._become_replica()
            else:
                status = self._log.connect(None)
                self._check_replica(status)
        except Unavailable as error:
            self._set_disconnected(error)
        else:
            if self._log.requires_durable and not status.is_durable:
                raise StoreError(not_durable_message(self.address, status))
            self._store_address()
            self._set_connected(status)

    def _become_replica(self) -> LogStatus:
        """Make a new data directory a replica; it stores the log that it awaits until it is one."""
        self._database.set_meta(AWAITED_LOG, self._address)
        try:
            status = self._connect_after_election()
        except (Unavailable, StoreError) as error:
            raise StoreError(
                f"{error} This new data directory waits for that log: start it again when it is "
                "there, or with another --engine."
            ) from error
        metadata = status.metadata
        self._database.make_replica(metadata.store, self._address, metadata.horizons)
        self._store = metadata.store
        self._check_replica(status)
        return status

    def _connect_after_election(self) -> LogStatus:
        """Connect a new data directory to the log, once its servers have agreed on a leader."""
        end = monotonic() + ELECTION_SECONDS
        while True:
            try:
                return self._log.connect(LogMetadata(self._store))
            except Partitioned:
                if monotonic() > end:
                    raise
                gevent.sleep(MAX_RECONNECT_SECONDS)

    def _store_address(self) -> None:
        """Store the log's address: this data directory follows that log from now on."""
        self._database.set_log_address(self._address)
        self._stored_address = self._address

    def _migrate_command(self) -> str:
        """The command line that brings what this data directory has to the node's shared log."""
        assert self._database.path is not None
        return command_line(self._database.path.parent, "migrate", "--to", self.address)

    def _check_replica(self, status: LogStatus) -> None:
        """Raises `StoreError` unless the replica is an earlier part of the log."""
        revision = log_table.last_revision(self._reader)
        if status.metadata.store != self._store:
            raise StoreError(
                f"The log at {self.address} is that of store {status.metadata.store}; this "
                f"data directory follows store {self._store}. Nothing was merged: use another "
                "--data-dir."
            )
        if status.revision < revision:
            where = f"ends at revision {status.revision}, and this replica has {revision}"
            if self._stored_address != self._address:
                raise StoreError(
                    f"The log at {self.address} {where}: bring the rest there before you follow "
                    f"it, with {self._migrate_command()}"
                )
            raise StoreError(
                f"The log at {self.address} has lost what it had: it {where}. Nothing was merged."
            )
        if status.revision:
            self._compare_transaction(max(revision, 1))

    def _compare_transaction(self, revision: int) -> None:
        """The replica's last transaction, or the first of all, must be the same in the log."""
        in_log = next(iter(self._log.read(revision - 1, 1)), None)
        self._log.read(revision, 1)  # the next one must have a form that can be read
        own = next(iter(log_table.read(self._reader, revision - 1, 1)), in_log)
        if in_log is None or in_log.revision != revision:
            raise StoreError(f"The log at {self.address} has lost its revision {revision}.")
        if own is not None and (own.id, own.at) != (in_log.id, in_log.at):
            raise StoreError(
                f"The log at {self.address} was replaced: its revision {revision} is {in_log.id}, "
                f"this replica's is {own.id}. Nothing was merged."
            )

    # The status.

    def _set_connected(self, status: LogStatus) -> None:
        """The shared log is connected, and checked against the replica."""
        self._set_durability(status)
        self._first_end = status.revision
        if self._is_following:
            self._problem = self._stale_since = None
        self._connected.set()

    def _set_durability(self, status: LogStatus) -> bool:
        """Report the log's durability from now on; whether it has changed."""
        before = self.engine.durability
        self.engine.durability = status.durability
        self._is_durable = status.is_durable
        is_too_weak = self._log.requires_durable and not status.is_durable
        self._not_durable = not_durable_message(self.address, status) if is_too_weak else None
        return status.durability != before

    def _set_disconnected(self, error: Exception) -> None:
        """The shared log cannot be followed; the status says why and since when."""
        self._problem = sentence(error)
        if self._problem != self._logged_problem:
            state = "is away" if isinstance(error, Unavailable) else "cannot be followed"
            logger.warning("The log at %s %s: %s", self.address, state, self._problem)
        self._logged_problem = self._problem
        if self._stale_since is None:
            self._stale_since, self._lost_at = self._clock(), monotonic()
        self._connected.clear()

    def _wait_for_log(self) -> None:
        """Raises `Unavailable` if the log is not connected within the time of grace.

        Also where it is not as durable as is required, for as long as that lasts.
        """
        if not self._connected.is_set():
            seconds_lost = monotonic() - self._lost_at
            if not self._connected.wait(max(GRACE_SECONDS - seconds_lost, 0)):
                raise Unavailable(f"{self._problem} Nothing was written.")
        if self._not_durable is not None:
            raise Unavailable(f"{self._not_durable} Nothing was written.")

    def _give_up_id(self) -> None:
        """Another node has this id, from a copy of this data directory: both get new ones."""
        if self._id_in_use is None:
            self._writer.run_between_commits(lambda _: self._database.delete_meta("node"))
            self._id_in_use = (
                f"Another node is called {self.id} as well, from a copy of this data directory: "
                "each of them gets a name of its own when it is started again."
            )

    # Following the log.

    def _run(self) -> None:
        """Reconnect whenever the connection is lost, and follow the log."""
        while True:
            try:
                if not self._connected.is_set():
                    self._reconnect()
                self._follow()
            except (Unavailable, StoreError) as error:
                self._set_disconnected(error)
            except Exception as error:
                logger.exception("The log at %s cannot be followed.", self.address)
                self._set_disconnected(error)
            self._feed.wake()
            gevent.sleep(self._pause * (0.5 + random()))  # noqa: S311 - no secret
            self._pause = min(self._pause * 2, MAX_RECONNECT_SECONDS)

    def _reconnect(self) -> None:
        """Connect to the shared log again; this data directory goes on only with the same log."""
        status = self._log.connect(None)
        self._check_replica(status)
        if self._stored_address != self._address:
            self._writer.run_between_commits(lambda _: self._store_address())
        self._set_connected(status)
        self._feed.wake()

    def _follow(self) -> None:
        """Hand the log's transactions to the replica, until the connection is lost."""
        self._note_caught_up()
        was_following, self._is_following = self._is_following, False
        for transactions in self._log.follow(
            self._writer.revision, self._strategy.applied_revision
        ):
            self._is_following = True
            self._pause, self._logged_problem = RECONNECT_SECONDS, None
            if not was_following:
                was_following, self._problem, self._stale_since = True, None, None
                self._feed.wake()
            if self._log.status and self._set_durability(self._log.status):
                logger.info("The log at %s: %s.", self.address, self.engine.durability)
                self._feed.wake()
            if transactions:
                self._strategy.log_applier.receive(transactions)
            self._note_caught_up()

    def _note_caught_up(self) -> None:
        """Let the start of the node go on once the replica has what the log had on connecting."""
        if self._writer.revision >= self._first_end:
            self._caught_up.set()


def open_node(
    settings: Settings,
    database: Database,
    blocking: Callable[[Callable[[], None]], None],
    clock: Callable[[], float],
) -> Node | None:
    """The connected node that the setting `engine` asks for; None where the log is local.

    `blocking` runs what waits for the disk. Raises `StoreError` if the data directory belongs
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
