"""Several nodes on one log: real servers, each with a data directory, and what is awaited."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPException
from itertools import count
from pathlib import Path
from threading import Condition, Thread
from time import monotonic, sleep
from typing import Any, Final, Self, TypeVar

import apsw

from signalbox.server.engines.address import read_address
from signalbox.server.engines.shared_log import SharedLog, shared_log
from signalbox.server.model.events import Change, Transaction
from signalbox.server.store.file_names import STORE_FILE
from support.brokers import new_log
from support.harness import ROOT, SECONDS, Event, Server
from support.nats_server import NatsServer
from support.raw_http import Client
from support.redis_server import DURABLE, RedisServer
from support.tcp_proxy import Proxy

KINDS: Final = ["nats", "redis"]
BOUND: Final = 12.0
"""Seconds within which a command is answered, whatever has become of the engine."""
CANNOT_OPEN: Final = 4
EQUAL: Final = {
    "transactions": "revision",
    "changes": "revision, key",
    "state": "key",
    "lives": "key, born",
    "reversals": "revision, target",
}
"""The tables that all replicas have in common, and their order."""

HALF: Final = {"a": "x" * 200_000}
TOO_LARGE: Final = {"type": "merge", "key": "large", "value": {"b": "x" * 200_000}}
"""A command that the state alone makes too large, where `large` is HALF."""

LOST: Final = (OSError, HTTPException)
"""What a client sees whose node ends while it waits."""

IMPATIENT: Final = {"signalbox.server.app.TIMEOUT_SECONDS": 3.0}
"""Limits of a node that soon answers that it does not know."""

ELECTION_SECONDS: Final = 90.0
"""Within which servers of NATS agree on a leader.

An election takes up to 9 s, and is repeated where two of them stand at once, as they do on a slow
machine.
"""

Broker = NatsServer | RedisServer
Found = TypeVar("Found")


def broker(kind: str, folder: Path) -> Broker:
    """A server of the engine for one test alone, which writes to disk first where it can."""
    if kind == "nats":
        return NatsServer(folder)
    return RedisServer(folder, *DURABLE)


def address_at(url: str, name: str = "store") -> str:
    """The address of a log on the server at `url`."""
    return f"{url}/0?stream={name}" if url.startswith("redis") else f"{url}/{name}"


class Site:
    """One log and the nodes on it, which end with the `with` block."""

    def __init__(self, folder: Path, kind: str = "", address: str = "") -> None:
        """On the tests' common server of that kind, or at `address`."""
        self.folder = folder
        self.limits: Mapping[str, float] = {}
        """Of the nodes that are started from now on, see `Server`."""
        self.address = address or new_log(kind)
        self._numbers = count(1)
        self._started: list[Server] = []
        self._logs: list[SharedLog] = []
        self._proxies: list[Proxy] = []

    def node(self, *options: str, folder: Path | None = None, address: str = "") -> Server:
        """A node with a new data directory or `folder`; `address` leads to the log another way."""
        where = folder or self.folder / f"node-{next(self._numbers)}"
        return self._start(where, "--engine", address or self.address, *options)

    def nodes(self, number: int) -> list[Server]:
        return [self.node() for _ in range(number)]

    def remote(self) -> tuple[Server, Proxy]:
        """A node and the network between it and the log, which is its own."""
        port = read_address(self.address).hosts[0][1]
        self._proxies.append(proxy := Proxy(port))
        return self.node(address=self.address.replace(f":{port}", f":{proxy.port}")), proxy

    def again(self, node: Server) -> Server:
        """A node that has ended, started on what it left, to follow what it followed."""
        return self._start(node.data_dir)

    def _start(self, folder: Path, *options: str) -> Server:
        self._started.append(Server(folder, *options, limits=self.limits))
        return self._started[-1]

    def log(self) -> SharedLog:
        """The log itself, without a node; somebody must have founded it."""
        log = shared_log(read_address(self.address))
        self._logs.append(log)
        log.connect(None)
        return log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._started:
            server.kill()
        for log in self._logs:
            log.close()
        for proxy in self._proxies:
            proxy.close()


class Watcher(Thread):
    """Gathers what a node's stream carries, until the node ends."""

    def __init__(self, server: Server, **query: Any) -> None:
        """Returns when the stream is open and has caught up."""
        super().__init__(daemon=True)
        self._stream = server.stream(**query)
        self._changed = Condition()
        self._events: list[Event] = []
        self.start()
        self.until(lambda events: any(event.name == "caught-up" for event in events))

    @property
    def events(self) -> list[Event]:
        with self._changed:
            return list(self._events)

    def run(self) -> None:
        try:
            for event in self._stream:
                with self._changed:
                    self._events.append(event)
                    self._changed.notify_all()
        except OSError:
            pass  # the node was killed
        finally:
            self._stream.close()

    def until(self, check: Callable[[list[Event]], Found], seconds: float = SECONDS) -> Found:
        """What `check` finds, once it finds something in all events so far."""
        with self._changed:
            found = self._changed.wait_for(lambda: check(self._events), seconds)
            assert found, f"not within {seconds} s; last: {self._events[-3:]}"
            return found

    def changes(self, last: int) -> list[dict[str, Any]]:
        """The changes, as soon as they have come up to revision `last`."""
        self.until(lambda events: any(event.data.get("revision", 0) >= last for event in events))
        return [event.data for event in self.events if event.name == "change"]

    def ack(self, identity: str, seconds: float = SECONDS) -> dict[str, Any]:
        """The first acknowledgement of that command."""
        return self.until(lambda events: acks(events, identity), seconds)[0]


def whole(log: SharedLog) -> Iterator[Transaction]:
    """All that the log has."""
    after = 0
    while piece := log.read(after, 500):
        yield from piece
        after = piece[-1].revision


def acks(events: Iterable[Event], identity: str | None = None) -> list[dict[str, Any]]:
    """The acknowledgements, of all or of one command."""
    found = (event.data for event in events if event.name == "ack")
    return [ack for ack in found if identity in (None, ack["id"])]


def until(check: Callable[[], Found], seconds: float = SECONDS) -> Found:
    """What `check` answers, asked again until it is something."""
    end = monotonic() + seconds
    while not (found := check()):
        assert monotonic() < end, f"not within {seconds} s: {check}"
        sleep(0.02)  # between two questions to a server that has no event for their answer
    return found


def status(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = server.get("/queries/status").json()
    return answer


def log_status(server: Server) -> dict[str, Any]:
    """What the node says of its log."""
    log: dict[str, Any] = status(server)["log"]
    return log


def lost(server: Server) -> dict[str, Any]:
    """What the node says of its log, once that is away."""
    until(lambda: not log_status(server)["connected"])
    return log_status(server)


def assert_lately(since: str) -> None:
    """A time as all answers have it, within this test."""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
    assert 0 <= seconds < 120


def regained(server: Server) -> None:
    """Return once the node has its log again."""
    until(lambda: log_status(server)["connected"])


def reach(revision: int, *servers: Server, seconds: float = SECONDS) -> None:
    """Return once each node has that revision."""
    until(lambda: all(status(server)["revision"] >= revision for server in servers), seconds)


def post(server: Server, type: str, **fields: Any) -> dict[str, Any]:
    """One command's answer, whatever it is."""
    with Client(server) as client:
        answer: dict[str, Any] = client.send(type, **fields).json()
        return answer


def rows(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What a node that has ended has in the tables that are the same everywhere."""
    with closing(apsw.Connection(str(folder / STORE_FILE))) as connection:
        return {
            table: list(connection.execute(f"SELECT * FROM {table} ORDER BY {order}"))
            for table, order in EQUAL.items()
        }


def assert_equal_when_ended(*servers: Server) -> None:
    """End the nodes; their replicas are the same, row by row."""
    for server in servers:
        assert server.stop() == 0
    first, *others = [rows(server.data_dir) for server in servers]
    assert all(other == first for other in others)


def sets(first: int, number: int, at: int = 1_800_000_000_000) -> Sequence[Transaction]:
    """Transactions from revision `first` on that each set one key, as a node would write them."""
    return [
        Transaction(
            revision,
            f"made-{revision}",
            "maker",
            at,
            "set",
            b"made",
            [Change(f"made.k{revision % 1000:03}", str(revision), is_new=revision < 1001)],
        )
        for revision in range(first, first + number)
    ]


def refused_start(folder: Path, *options: str) -> str:
    """The one line with which a node refuses to start on `folder`."""
    command = [
        sys.executable,
        "-m",
        "signalbox.server",
        "serve",
        "--json",
        "--data-dir",
        str(folder),
    ]
    ended = subprocess.run(
        [*command, *options], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (CANNOT_OPEN, ""), ended
    (line,) = ended.stderr.splitlines()
    return line
