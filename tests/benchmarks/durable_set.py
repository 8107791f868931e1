"""Durable `set` over HTTP, beside a handler that does nothing and beside a fair peer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from programs import fsync_milliseconds, outcome, running, serving
from rows import Row, at_least

CONNECTIONS: Final = {8: 0.6, 32: 0.9}
"""With the least ratio to the handler that does nothing."""


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, seconds = (3, 0.8) if quick else (9, 2.0)
    yield Row("fsync of 4 KiB, median", f"{fsync_milliseconds(folder):.3f} ms")
    with (
        serving(folder / "ours") as server,
        running("bare.py") as bare,
        running("peer.py", path=str(folder / "peer.db"), token="t") as peer,
    ):
        sides = {
            "ours": (server.port, server.write_token),
            "bare": (bare.told["port"], "t"),
            "peer": (peer.told["port"], "t"),
        }
        for connections, target in CONNECTIONS.items():
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for number in range(rounds + 1):
                for name, (port, token) in sides.items():
                    rate = _rate(port, token, connections, seconds if number else 0.3)
                    if number:  # the first round warms up
                        rates[name].append(rate)
            what = f"durable set over HTTP, {connections} connections, beside"
            yield at_least(f"{what} bare", rates["ours"], rates["bare"], "/s", target)
            yield at_least(f"{what} Starlette", rates["ours"], rates["peer"], "/s", 1)


def _rate(port: int, token: str, connections: int, seconds: float) -> float:
    did = outcome("load.py", port=port, token=token, connections=connections, seconds=seconds)
    return float(did["requests"] / did["seconds"])
