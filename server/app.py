"""Composes the server: the only place where its parts are wired together."""

import errno
import gc
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw

from signalbox.server import __version__
from signalbox.server.clock_status import ClockStatus
from signalbox.server.cluster.node import Node, open_node
from signalbox.server.cluster.shared_log_commit import TIMEOUT_SECONDS, SharedLogCommit
from signalbox.server.cluster.unknown_outcomes import reject_left_outcomes
from signalbox.server.engines.engine_interface import Engine
from signalbox.server.engines.sqlite import SqliteEngine
from signalbox.server.feed import Feed
from signalbox.server.formats.text_lines import MAX_LINE
from signalbox.server.http.api.streams import Streams
from signalbox.server.http.routes import Routes, routes
from signalbox.server.http.wire.guard import Guard
from signalbox.server.http.wire.http_server import Server
from signalbox.server.http.wire.request_body import MAX_BODY
from signalbox.server.http.wire.server_proof import directory_identity
from signalbox.server.model import values
from signalbox.server.model.commands import MAX_BATCH
from signalbox.server.model.decide import MAX_CHANGES, MAX_TRANSACTION_BYTES
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.model.keys import MAX_LENGTH
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.error_messages import reason
from signalbox.server.runtime.threads import NativeThread, run_in_background
from signalbox.server.runtime.trusted_clock import Clock, steady_seconds
from signalbox.server.settings import Settings
from signalbox.server.sources.computer import ComputerSource
from signalbox.server.store import clock_records, plain_file
from signalbox.server.store.checks_before_opening import resolve_link
from signalbox.server.store.data_dir import (
    ENDING_SECONDS,
    lock_data_dir,
    lock_file,
)
from signalbox.server.store.database import Database
from signalbox.server.store.file_names import ENDPOINT_FILE, STORE_FILE
from signalbox.server.store.file_watch import OpenFilesWatch
from signalbox.server.store.log_table import last_time
from signalbox.server.store.projection import Projection
from signalbox.server.store.read_only import (
    cannot_create_files,
    is_read_only,
    no_more_files,
    temporary_copy,
)
from signalbox.server.store.tokens import Tokens
from signalbox.server.write.compactor import Compactor, oldest_revision, plan_fields
from signalbox.server.write.retention_plans import Plan
from signalbox.server.write.writer import Writer

logger: Final = logging.getLogger(__name__)

SWITCH_SECONDS: Final = 0.0005
"""How long a native thread may wait for the interpreter; the default is 5 ms."""
GARBAGE: Final = 50_000
"""Objects between two garbage collections; an import keeps thousands until its commit."""
FILES: Final = 65_536
RESTART: Final = "end this server, and start it again. Queries are answered from a copy meanwhile"
PORTS: Final = 10
"""Free ports of 127.0.0.1 that are tried until one is free on ::1 as well."""


Result = TypeVar("Result")


class App:
    """The running server. `start` listens, `stop` lets open requests end.

    `wall` is the computer's clock, in seconds since 1970.
    """

    _last_answers: dict[str, Any]
    """The last answers of queries of the file, for the status."""
    _endpoint_text: str | None = None
    """The content of `endpoint.json`, once the server listens."""

    def __init__(self, settings: Settings, wall: Callable[[], float] = time.time) -> None:
        """Open the store and wire the server's parts; `wall` is the computer's clock (s)."""
        _prepare_process()
        self.data_dir = settings.data_dir
        in_memory, store = settings.engine == "memory", resolve_link(settings.data_dir / STORE_FILE)
        self._lacks_files = not in_memory and self._is_without_files(store)
        self.is_read_only = self._lacks_files or (not in_memory and is_read_only(store))
        self._resources = ExitStack()
        self.database = self._open(self._lock_data_dir(store, settings), in_memory)
        self._native = NativeThread()
        clock = _clock(self.database.writer, wall)
        self.node = self._node(settings, clock)
        self.engine = self._engine()
        self.projection = Projection(self.database)
        self.readmodel = ReadModel(self.database, self.projection)
        self.feed = Feed(steady_seconds)
        self._watch = OpenFilesWatch(self.database.open_files, self.feed.wake, self._keep_endpoint)
        self.clock_status = ClockStatus(clock, self.readmodel, self.feed, self.data_dir)
        self.writer = self._writer(clock)
        self.streams = Streams(self.readmodel, self.feed)
        self.tokens = Tokens.of(self.database)
        self.directory = directory_identity(settings.data_dir)
        self.guard = Guard(self.tokens, self.readmodel.store, self.directory, steady_seconds)
        self._computer = ComputerSource(
            self.readmodel, self.feed, self.writer, self.node.id if self.node else None
        )
        self._compactor = self._compaction(clock)
        if self.is_read_only:
            self._refuse_writes()
        self._settings, self._last_answers = settings, {}
        answers = routes(
            self.guard,
            self.writer,
            self.readmodel,
            self.feed,
            self.streams,
            self.status,
            self.engine_status,
            lambda: self.url,
            self.data_dir,
            clock,
            self._compactor,
        )
        self._server = self._bind(answers)
        self.url = ""

    def _is_without_files(self, store: Path) -> bool:
        """Whether there is a store that cannot be opened: no file can be created beside it."""
        return store.exists() and cannot_create_files(store, lock_file(self.data_dir))

    def _lock_data_dir(self, store: Path, settings: Settings) -> Path:
        """Lock the data directory unless it is read-only; the file to open.

        With `linger`, a client prefers the server of another client to waiting.
        """
        if self.is_read_only:
            return self._resources.enter_context(temporary_copy(store))
        seconds = ENDING_SECONDS if settings.linger is None else 0.0
        self._resources.callback(lock_data_dir(self.data_dir, seconds).release)
        return store

    def _open(self, file: Path, in_memory: bool) -> Database:
        """Open the store's database, and watch the lock that keeps other servers out.

        Raises `StoreError` where a server in memory would begin beside a store.
        """
        if in_memory:
            _check_has_no_store(file)
        database = Database(None if in_memory else file, self.data_dir / STORE_FILE)
        if not self.is_read_only:
            database.forget_previous_place(self.data_dir)
            if not in_memory:
                database.open_files.watch_lock(lock_file(self.data_dir))
        return database

    def _node(self, settings: Settings, clock: Clock) -> Node | None:
        """The node where the settings name a shared log."""
        if self.is_read_only:
            return None
        return open_node(settings, self.database, self._native.run, clock)

    def _engine(self) -> Engine:
        """The engine of the writer: that of the node, else SQLite."""
        if self.node:
            return self.node.engine
        return SqliteEngine(self.database, self._native.run, run_in_background)

    def _refuse_writes(self) -> None:
        """Refuse writes to the temporary copy: they would be acknowledged and then lost."""
        self._computer.close()
        self._compactor.close()
        if self._lacks_files:
            why = no_more_files(resolve_link(self.data_dir / STORE_FILE))
            self.database.open_files.write_problem = (
                f"The store cannot be written: {why}, {RESTART}."
            )
        self.database.writer.pragma("query_only", 1)
        self.engine.durability = "read-only: nothing can be written"

    def _writer(self, clock: Clock) -> Writer:
        """The writer with the strategy of its log: local, or shared with other nodes."""
        last_at = last_time(self.database.writer)
        if self.node is None:
            plain = Writer(self.engine, self.projection, self.feed, clock, last_at)
            if self.database.meta("node") and not self.is_read_only:
                reject_left_outcomes(self.projection, self.feed, plain)
            return plain
        strategy = SharedLogCommit(self.node.engine, self.projection, self.feed, TIMEOUT_SECONDS)
        writer = Writer(self.engine, self.projection, self.feed, clock, last_at, strategy)
        self.node.run(writer, strategy, self.feed)
        return writer

    def _compaction(self, clock: Clock) -> Compactor:
        """The compactor, wired to what it reads and writes."""
        checkpoint = self.database.checkpoint
        return Compactor(
            self.readmodel, self.feed, self.writer, clock, self.clock_status, checkpoint
        )

    def start(self) -> None:
        """Accept connections; then `endpoint.json` says where."""
        port = int(self._server.server_port or 0)
        self.url = f"http://127.0.0.1:{port}"
        self.status()  # kept for when the store cannot be read any more
        self.guard.listen_on(port)
        self._server.start()
        if not self.is_read_only:
            self._store_port(port)
            self._endpoint_text = json.dumps(self.endpoint())
            try:
                _write_private(self._endpoint_file, self._endpoint_text)
            except OSError as error:
                logger.warning(
                    "%s cannot be written (%s): who looks for this server there does not find it.",
                    self._endpoint_file,
                    reason(error),
                )

    def _keep_endpoint(self) -> None:
        """Write `endpoint.json` again where it was removed: clients find the server by it."""
        if self._endpoint_text is not None and not self._endpoint_file.exists():
            with suppress(OSError):
                _write_private(self._endpoint_file, self._endpoint_text)

    def _store_port(self, port: int) -> None:
        """Remember the port, so that the next start of the server has the same address."""
        with suppress(apsw.Error):  # as on a full disk: the next start may take another port
            if self.database.meta("port") != str(port):
                self.database.set_meta("port", str(port))

    def stop(self, seconds: float = 10.0) -> None:
        """End the streams, let open requests end, write what waits."""
        self._watch.close()
        if not self.is_read_only:
            _remove_own(self._endpoint_file)
        self._computer.close()
        self._compactor.close()
        self.streams.close()
        self.feed.close()
        self._server.stop(seconds)
        self.writer.close()
        if self.node:
            self.node.close()
        self._native.close()
        self.readmodel.close()
        self.projection.close()
        self.database.close()
        self._resources.close()

    def endpoint(self) -> dict[str, Any]:
        """What a client needs to find and use this server; `node` where several share a store.

        `directory` identifies the folder, so that a copy of the file is ignored.
        """
        return {
            "url": self.url,
            "read_token": self.tokens.read,
            "write_token": self.tokens.write,
            "pid": os.getpid(),
            "store": self.readmodel.store,
            "version": __version__,
            "directory": self.directory,
            **({"node": self.node.id} if self.node else {}),
        }

    @property
    def _endpoint_file(self) -> Path:
        """The file in which clients find the address of this server."""
        return self.data_dir / ENDPOINT_FILE

    def is_busy(self) -> bool:
        """Whether a request or stream is open."""
        return self._server.is_busy()

    @property
    def last_busy(self) -> float:
        """When one was last open, in seconds of `time.monotonic`."""
        return self._server.last_busy

    def engine_status(self) -> dict[str, Any]:
        """The fields of the status about the engine and the clock."""
        return {
            "engine": self.engine.name,
            "durability": self.engine.durability,
            "problem": self.database.open_files.problem(),
            "log": self.node.status() if self.node else None,
            "clock": self.clock_status(),
        }

    def status(self) -> dict[str, Any]:
        """What `/queries/status` answers."""
        revision = self.readmodel.revision
        nothing: list[Plan] = []
        plans = self._answer_or_last("retention", self._compactor.plans, nothing)
        return {
            "version": __version__,
            "store": self.readmodel.store,
            **self.engine_status(),
            "revision": revision,
            "oldest_revision": oldest_revision(plans, revision),
            "keys": self._answer_or_last("keys", self.readmodel.current.keys, 0),
            "bytes": self.database.bytes_used(),
            "free_bytes": self._answer_or_last("free_bytes", self.readmodel.free_bytes, 0),
            "retention": [plan_fields(plan) for plan in plans],
            "faulty_rules": [
                {"name": rule.name, "problem": rule.fault} for rule in self.projection.rules.faulty
            ],
            "streams": self.streams.open,
            "connections": len(self._server.connections),
            "rates": {"changes_per_second": self.feed.rate()},
            "limits": self._limits(),
        }

    def _answer_or_last(self, name: str, ask: Callable[[], Result], unknown: Result) -> Result:
        """For the app's status: the answer of `ask`, or its last one where the store cannot be
        read any more, which the status reports as `problem`.
        """
        with suppress(Unavailable):
            self._last_answers[name] = ask()
        answer: Result = self._last_answers.get(name, unknown)
        return answer

    def _limits(self) -> dict[str, int]:
        """The limits that `status` reports, as this server and its engine have them."""
        limits = LIMITS | {"connections": self._server.max_connections}
        if (max_bytes := self.engine.max_bytes) is not None:
            limits["transaction_bytes"] = min(max_bytes, MAX_TRANSACTION_BYTES)
        return limits

    def _bind(self, answers: Routes) -> Server:
        """The wanted port, else the last one, else any."""
        chosen, last = self._settings.port, int(self.database.meta("port") or 0)
        why = ""
        for port in [chosen] if chosen else [last, *[0] * PORTS]:
            server = Server(
                port, answers.application, self._settings.max_connections, answers.direct
            )
            try:
                server.init_socket()
            except OSError as error:
                why = _port_problem(error)
                continue
            return server
        raise StoreError(
            f"The port {chosen} {why} on 127.0.0.1 or ::1; choose another or 0."
            if chosen
            else f"No port can be had on both 127.0.0.1 and ::1: the last that was tried {why}."
        )


LIMITS: Final = {
    "body_bytes": MAX_BODY,
    "line_bytes": MAX_LINE,
    "key_length": MAX_LENGTH,
    "value_bytes": values.MAX_BYTES,
    "nesting": values.MAX_DEPTH,
    "batch_commands": MAX_BATCH,
    "transaction_changes": MAX_CHANGES,
    "transaction_bytes": MAX_TRANSACTION_BYTES,
}


def _port_problem(error: OSError) -> str:
    """Why a port cannot be bound, as the predicate of a sentence."""
    if error.errno == errno.EADDRINUSE:
        return "is taken"
    if isinstance(error, PermissionError):
        return "is one that this user has no right to use"
    return f"cannot be listened on ({reason(error)})"


def _check_has_no_store(file: Path) -> None:
    """Raises `StoreError` for a store beside which a server in memory would begin."""
    if file.exists():
        raise StoreError(
            f"{file} is a store, which the engine memory would not use: leave that out, or choose "
            "another folder with --data-dir."
        )


def _prepare_process() -> None:
    """Set thread switches, garbage collection and open files for a server's process."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.freeze()  # what is imported stays; collections need not walk it
    gc.set_threshold(GARBAGE)
    gc.enable()
    if sys.platform != "win32":
        _raise_file_limit()


def _raise_file_limit() -> None:
    """Every connection is a file; the usual soft limit of 1,024 is below `max_connections`."""
    import resource  # noqa: PLC0415 - there is none on Windows

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _remove_own(endpoint: Path) -> None:
    """Remove the file unless another server has written it, where the folder was replaced."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        if json.loads(plain_file.read(endpoint))["pid"] == os.getpid():
            endpoint.unlink()


def _write_private(path: Path, text: str) -> None:
    """Write a file for its owner; on a full disk, over an existing one. Raises `OSError`."""
    temporary = path.with_suffix(".new")
    try:
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(text)


def _clock(database: apsw.Connection, wall: Callable[[], float]) -> Clock:
    """The server's clock, which continues from what the store knows of earlier runs."""
    return Clock(
        clock_records.last_use_seconds(database, wall()),
        wall,
        unconfirmed_leap=clock_records.recorded_leap(database),
        highest=clock_records.highest_use_seconds(database),
    )
