"""Runs the benchmarks: `python tests/benchmarks/run.py [--quick] [NAME…]` prints one table.

Every ratio is measured side by side, in rounds that take turns, because machines are noisy: only
ratios of one run mean something.
"""

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import apsw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for support

import bystander
import client
import engines
import fanout
import http_rates
import imports
import kept
import lag
import past
import ruled
import sizes
import start
from rows import Row, table

DISK = Path("/var/tmp")
"""Where stores are durable: other temporary folders may be memory."""
BENCHMARKS: dict[str, Callable[[Path, bool], Iterator[Row]]] = {
    "http": http_rates.measure,
    "bystander": bystander.measure,
    "import": imports.measure,
    "rules": ruled.measure,
    "streams": fanout.measure,
    "lag": lag.measure,
    "keys": sizes.measure,
    "memory": kept.measure,
    "past": past.measure,
    "start": start.measure,
    "client": client.measure,
    "engines": engines.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller, all within two minutes")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    machine, rows = _machine(), list[Row]()
    try:
        for name in given.names or BENCHMARKS:
            for row in _measured(name, given.quick):
                rows.append(row)
    finally:  # what was measured is printed even if something else failed
        print(f"{machine}; {'--quick' if given.quick else 'full size'}.")
        print("Rates are medians of rounds that took turns, and so are their ratios.\n")
        print("\n".join(table(rows)))
    return 0


def _measured(name: str, quick: bool) -> Iterator[Row]:
    """The rows of one benchmark, each printed on stderr as soon as it is known."""
    started = perf_counter()
    with tempfile.TemporaryDirectory(prefix="signalbox-bench-", dir=DISK) as folder:
        for row in BENCHMARKS[name](Path(folder), quick):
            print(" · ".join(filter(None, row.cells())), file=sys.stderr)
            yield row
    print(f"  {name}: {perf_counter() - started:.1f} s", file=sys.stderr)


def _machine() -> str:
    python, sqlite = platform.python_version(), apsw.sqlite_lib_version()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg()[:2])
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return f"{system} (load before: {load}), Python {python}, SQLite {sqlite}"


if __name__ == "__main__":
    sys.exit(main())
