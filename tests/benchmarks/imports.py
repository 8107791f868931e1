"""Import over HTTP, beside the same rows written with apsw alone."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import ndjson
from programs import result_of, serving
from rows import Row, at_least


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, count = (3, 50_000) if quick else (5, 200_000)
    body = ndjson.lines(count)
    ours, raw = [], []
    for number in range(rounds):
        with serving(folder / f"import-{number}") as server:
            started = perf_counter()
            ndjson.send(server, body)
            ours.append(count / (perf_counter() - started))
        did = result_of("raw_import.py", path=str(folder / f"raw-{number}.db"), count=count)
        raw.append(count / did["seconds"])
    yield at_least(f"import of {count:,} lines over HTTP", ours, "apsw alone", raw, "/s", 0.5)
