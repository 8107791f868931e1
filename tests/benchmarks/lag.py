"""Time from a POST to its event at another client, beside a relay that keeps nothing."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from programs import result_of, running, serving
from rows import Row, at_most, percentile

RATE: Final = 1_000
TARGET: Final = 10.0
"""Milliseconds that 99 of 100 may take, where the machine is quiet."""


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, seconds = (2, 1.5) if quick else (5, 4.0)
    ours: list[list[float]] = []
    bare: list[list[float]] = []
    with serving(folder / "lag") as server, running("bare.py") as relay:
        for _ in range(rounds):
            tokens = {"write": server.write_token, "read": server.read_token}
            ours.append(_lags(server.port, seconds, tokens))
            bare.append(_lags(relay.ready["port"], seconds, {"write": "t", "read": "t"}))
    for share in (0.5, 0.99):
        mine, other = (
            median(percentile(lags, share) for lags in rounds) for rounds in (ours, bare)
        )
        what = f"POST to event elsewhere at {RATE:,} commands/s: p{share * 100:.0f}"
        target = TARGET if share == 0.99 else None
        yield at_most(what, mine, "ms", target, ("bare relay", other))


def _lags(port: int, seconds: float, tokens: dict[str, str]) -> list[float]:
    """In milliseconds."""
    found: list[float] = result_of("pace.py", port=port, rate=RATE, seconds=seconds, **tokens)[
        "lags"
    ]
    return found
