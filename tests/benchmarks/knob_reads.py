"""A program: reads a knob's value, and an attribute, in rounds that take turns; its own CPU time.

Given {"port", "token", "times", "rounds"}, prints {"knob", "attribute"}: nanoseconds of CPU for one
read, the median of the rounds, with what the loop itself takes.
"""

import json
import sys
from statistics import median
from time import process_time
from types import SimpleNamespace
from typing import Any

import signalbox


def main() -> None:
    given = json.loads(sys.argv[1])
    box = signalbox.connect(url=f"http://127.0.0.1:{given['port']}", token=given["token"])
    sides = {"knob": box.knob("bench.knob", 0.5), "attribute": SimpleNamespace(value=0.5)}
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given["rounds"]):
        for name, one in sides.items():
            spent[name].append(cpu_of_reads(one, given["times"]))
    print(json.dumps({name: median(each) for name, each in spent.items()}), flush=True)


def cpu_of_reads(one: Any, times: int) -> float:
    """Nanoseconds of CPU for one read of `one.value`."""
    started = process_time()
    for _ in range(times):
        one.value  # noqa: B018 - the read is what is measured
    return (process_time() - started) / times * 1e9


if __name__ == "__main__":
    main()
