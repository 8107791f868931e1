"""An import of many keys, and what it costs: memory, and the patience of whoever asks meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from time import perf_counter, sleep
from typing import Any, Final

import ndjson
from asks import Asker
from programs import memory
from rows import Row, at_most, format_number, percentile
from support.harness import Server

EVERY: Final = 0.01
"""Seconds between two questions."""


def measure(server: Server, keys: int) -> Iterator[Row]:
    """Fills an empty `server`."""
    body = ndjson.lines(keys)
    with ThreadPoolExecutor(1) as pool:
        started = perf_counter()
        sending = pool.submit(ndjson.send, server, body)
        asker, lags = Asker(server), list[float]()
        questions = cycle((asker.ask, *each) for each in _QUESTIONS)
        for number in count(1):
            if sending.done():
                break
            due = started + number * EVERY
            sleep(max(0.0, due - perf_counter()))
            ask, path, query = next(questions)
            ask(path, **query)
            lags.append((perf_counter() - due) * 1000)
        sending.result()
        spent = perf_counter() - started
    what = f"import of {keys:,} lines while queries are asked"
    yield Row(what, f"{format_number(keys / spent)} /s")
    yield at_most(f"{what}: p99 of these", percentile(lags, 0.99), "ms", 50)
    yield at_most(f"{what}: most memory", memory(server.pid, "VmHWM"), "MB", 200)


_QUESTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("/queries/state", {"match": "site4.**", "limit": 50}),
    ("/queries/tree", {}),
    ("/queries/status", {}),
    ("/queries/state", {"after": "site5.device50", "limit": 50}),
)
