"""The same store on NATS and on Redis: rates, conflicts, lag and catching up, beside SQLite."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final, NamedTuple

import ndjson
from programs import result_of, running, serving
from rows import Row, at_least, at_most, format_number, percentile
from support.harness import Server
from support.nats_server import NatsServer
from support.redis_server import RedisServer

SINGLE: Final = 0.7
"""Of a client of the engine alone that sends one after the other: for `CONNECTIONS` senders of
single commands, since one alone waits for HTTP and then for the engine."""
NODES: Final = 3
LINES: Final = 20_000
CONNECTIONS: Final = 8
LAG_RATE: Final = 200
LAG_TARGET: Final = 20.0
"""Milliseconds from a command on one node to the window of another."""


class Kind(NamedTuple):
    """An engine with a server that runs, and the program that writes to it without us."""

    name: str
    address: str
    peer: str
    script: str
    given: dict[str, Any]

    def alone(self, seconds: float) -> float:
        did = result_of(self.script, **self.given, seconds=seconds)
        return float(did["requests"] / did["seconds"])


class Beside(NamedTuple):
    """What stands beside every engine: a store of its own, and HTTP that does nothing."""

    local: Server
    bare_port: int


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, seconds = (2, 0.5) if quick else (5, 2.0)
    with ExitStack() as stack:
        nats = stack.enter_context(NatsServer(folder / "nats"))
        redis = stack.enter_context(
            RedisServer(folder / "redis", "--appendonly", "yes", "--appendfsync", "everysec")
        )
        redis_url = f"{redis.url}/0?stream=bench"
        kinds = (
            Kind("NATS", f"{nats.url}/bench", "KV put", "bare_kv.py", {"url": nats.url}),
            Kind("Redis", redis_url, "MULTI", "bare_redis.py", {"port": redis.port}),
        )
        beside = Beside(
            stack.enter_context(serving(folder / "sqlite")),
            int(stack.enter_context(running("bare.py")).ready["port"]),
        )
        for kind in kinds:
            yield from _measured(kind, folder / kind.name, beside, rounds, seconds)


def _measured(
    kind: Kind, folder: Path, beside: Beside, rounds: int, seconds: float
) -> Iterator[Row]:
    folder.mkdir()
    with ExitStack() as stack:
        start = partial(_node, stack, folder, kind)
        first = start(0)
        yield from _rates(kind, first, beside, rounds, seconds)
        yield _imported(kind, first, rounds, seconds)
        yield from _reads(kind, first, beside.local, rounds)
        nodes = [first, *(start(number) for number in range(1, NODES))]
        yield from _together(kind, nodes, seconds * 2)
        yield _lag(kind, nodes[0], nodes[1], seconds)
        yield _catch_up(kind, folder / "new", first)


def _node(stack: ExitStack, folder: Path, kind: Kind, number: int) -> Server:
    return stack.enter_context(serving(folder / f"node-{number}", "--engine", kind.address))


def _rates(kind: Kind, node: Server, beside: Beside, rounds: int, seconds: float) -> Iterator[Row]:
    """One sender, and many, beside the engine's own client that sends one after the other.

    And beside what HTTP alone leaves of that: a server that does nothing with what it is sent.
    """
    for connections, target in ((1, None), (CONNECTIONS, SINGLE), (4 * CONNECTIONS, None)):
        ours, alone, sqlite, nothing = [], [], [], []
        _rate(node, connections, 0.2)
        for _ in range(rounds):
            ours.append(_rate(node, connections, seconds))
            alone.append(kind.alone(seconds))
            sqlite.append(_rate(beside.local, connections, seconds))
            nothing.append(_load(beside.bare_port, "", connections, seconds))
        what = f"{kind.name}: set over HTTP, {connections} at a time"
        yield at_least(what, ours, f"{kind.peer} alone, one by one", alone, "/s", target)
        yield at_least(what, ours, "SQLite", sqlite, "/s")
        yield at_least(what, ours, "gevent + bottle doing nothing", nothing, "/s")


def _imported(kind: Kind, node: Server, rounds: int, seconds: float) -> Row:
    """Many in one request, beside as many one by one."""
    ours, alone = [], []
    for number in range(rounds):
        line = '{{"type":"set","key":"import{}.k{}","value":{}}}\n'
        body = "".join(line.format(number, place, place) for place in range(LINES)).encode()
        started = perf_counter()
        ndjson.send(node, body)
        ours.append(LINES / (perf_counter() - started))
        alone.append(kind.alone(seconds))
    what = f"{kind.name}: import of {LINES:,} lines"
    return at_least(what, ours, f"{kind.peer} alone, one by one", alone, "/s", 1.0)


def _rate(node: Server, connections: int, seconds: float) -> float:
    return _load(node.port, node.write_token, connections, seconds)


def _load(port: int, token: str, connections: int, seconds: float) -> float:
    given = {"port": port, "token": token, "connections": connections, "seconds": seconds}
    did = result_of("load.py", kind="set", **given)
    return float(did["requests"] / did["seconds"])


def _reads(kind: Kind, node: Server, local: Server, rounds: int) -> Iterator[Row]:
    """One key, queried again and again: no query leaves the node."""
    ours, other = ([_asked(side) for _ in range(rounds)] for side in (node, local))
    for share in (0.5, 0.99):
        mine, beside = (
            median(percentile(spent, share) for spent in side) for side in (ours, other)
        )
        what = f"{kind.name}: one key read, p{share * 100:.0f}"
        yield at_most(what, mine, "ms", None, ("SQLite", beside))


def _asked(node: Server, times: int = 300) -> list[float]:
    """In milliseconds."""
    connection, spent = node.connect(), []
    for _ in range(times):
        started = perf_counter()
        connection.request("GET", "/queries/state/bench.k001", headers=node.authorization("read"))
        connection.getresponse().read()
        spent.append((perf_counter() - started) * 1000)
    connection.close()
    return spent


def _together(kind: Kind, nodes: list[Server], seconds: float) -> Iterator[Row]:
    """All nodes write at once, behind the same end of one log."""
    before = [_conflicts(node) for node in nodes]
    with ThreadPoolExecutor(len(nodes)) as pool:
        rates = list(pool.map(lambda node: _rate(node, CONNECTIONS, seconds), nodes))
    lost = sum(_conflicts(node) - one for node, one in zip(nodes, before, strict=True))
    what = f"{kind.name}: {len(nodes)} nodes, {CONNECTIONS} connections each"
    yield Row(what, f"{format_number(sum(rates))} /s")
    shares = "least {:.0%}, most {:.0%}".format(*(pick(rates) / sum(rates) for pick in (min, max)))
    yield Row(f"{what}: a node's share", shares)
    yield Row(f"{what}: appends that came second", f"{lost / seconds:,.0f} /s")


def _conflicts(node: Server) -> int:
    status = node.get("/queries/status").json()
    return int(status["log"]["conflicts"])


def _lag(kind: Kind, here: Server, there: Server, seconds: float) -> Row:
    given = {"port": here.port, "write": here.write_token, "read": there.read_token}
    lags = result_of("pace.py", **given, rate=LAG_RATE, seconds=seconds, at=there.port)["lags"]
    what = f"{kind.name}: POST on one node to event on another, {LAG_RATE} commands/s: p99"
    return at_most(what, percentile(lags, 0.99), "ms", LAG_TARGET)


def _catch_up(kind: Kind, folder: Path, node: Server) -> Row:
    """A new node reads the whole log."""
    last = node.get("/queries/status").json()["revision"]
    started = perf_counter()
    with serving(folder, "--engine", kind.address) as new, new.stream(after=last - 1) as stream:
        stream.until("change")
        spent = perf_counter() - started
    what = f"{kind.name}: a new node catches up on {last:,} transactions"
    return Row(what, f"{format_number(last / spent)} /s")
