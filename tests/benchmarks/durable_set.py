"""Durable `set` over HTTP, beside a handler that does nothing and beside fair peers."""

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from programs import fsync_milliseconds, outcome, running, serving
from rows import Row, at_least, shown

PEERS: Final = {
    "Starlette + uvicorn": {"loop": "asyncio", "http": "h11"},
    "the same + uvloop, httptools": {"loop": "uvloop", "http": "httptools"},
}
"""With uvicorn's settings: what it brings itself, and what it takes where that is installed."""
CONNECTIONS: Final = {8: 0.6, 32: 0.9}
"""With the least ratio to the handler that does nothing."""
OURS: Final = "Signalbox"
BARE: Final = "bare"


class Side(NamedTuple):
    """Where to send commands, and the token that goes with them."""

    port: int
    token: str = "t"


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, seconds = (3, 0.5) if quick else (9, 2.0)
    yield Row("fsync of 4 KiB, median", f"{fsync_milliseconds(folder):.3f} ms")
    with ExitStack() as stack:
        load = Side(stack.enter_context(running("unread.py")).told["port"])
        sides = _sides(stack, folder)
        for connections, target in CONNECTIONS.items():
            rates = _rates(sides, connections, rounds, seconds)
            ours = rates.pop(OURS)
            what = f"durable set over HTTP, {connections} connections"
            for name, others in rates.items():
                yield at_least(what, ours, name, others, "/s", target if name == BARE else 1)
            limit = _rate(load, connections, seconds)
            yield Row(f"{what}: the load itself, answered at once", f"{shown(limit)} /s")


def _sides(stack: ExitStack, folder: Path) -> dict[str, Side]:
    """Everything that is measured, running."""
    server = stack.enter_context(serving(folder / "ours"))
    sides = {
        OURS: Side(server.port, server.write_token),
        BARE: Side(stack.enter_context(running("bare.py")).told["port"]),
    }
    for number, (name, settings) in enumerate(PEERS.items()):
        if all(map(find_spec, set(settings.values()) - {"asyncio"})):
            given = {"path": str(folder / f"peer-{number}.db"), "token": "t", **settings}
            sides[name] = Side(stack.enter_context(running("peer.py", **given)).told["port"])
    return sides


def _rates(
    sides: dict[str, Side], connections: int, rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Commands a second of each side in each round."""
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        _rate(side, connections, 0.2)  # warm up
    for _ in range(rounds):
        for name, side in sides.items():
            rates[name].append(_rate(side, connections, seconds))
    return rates


def _rate(side: Side, connections: int, seconds: float) -> float:
    given = {**side._asdict(), "connections": connections, "seconds": seconds}
    did = outcome("load.py", **given)
    return float(did["requests"] / did["seconds"])
