"""Writing under rules, beside the same server without any."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import psutil

import ndjson
from http_rates import Side
from programs import serving
from rows import Row, at_least
from support.harness import Server

RULES: Final = "_signalbox.rules."
NUMBER: Final = {"type": "integer", "minimum": 0, "title": "A counter", "unit": "1"}
LEAST: Final = {10: 0.95, 1_000: 0.85}
"""The least ratio of the rate under so many rules to that without."""
ONE_SCHEMA: Final = 0.7
DISTINCT: Final = 100_000
"""The keys that are set, so that what is remembered of keys does not help."""


def rules(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and records: one about every key, the others of many kinds about few or none."""
    yield "all", {"match": "bench.**", "schema": NUMBER}
    kinds = ("bench.g{:02}.k{:03}", "bench.*.k{:03}", "**.k{:03}", "bench.g{:02}.*", "other.{}.*")
    for number in range(1, count):
        text = kinds[number % len(kinds)]
        match = text.format(*[number % 100] * text.count("{"))
        yield f"r{number}", {"match": match, "schema": NUMBER}


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds, seconds = (5, 0.5) if quick else (15, 1.0)
    with ExitStack() as stack:
        servers = {
            count: stack.enter_context(serving(folder / f"rules-{count}")) for count in (0, *LEAST)
        }
        for count, server in servers.items():
            ndjson.send(server, as_lines(rules(count)) if count else b"")
        sides = {count: _side(server) for count, server in servers.items()}
        load = {"kind": "spread", "connections": 8}
        for side in sides.values():
            side.measure(0.2, **load, least=DISTINCT // 10)
        samples: dict[int, list[float]] = {count: [] for count in sides}
        for _ in range(rounds):
            for count, side in sides.items():
                samples[count].append(side.measure(seconds, **load).rate)
    for count, least in LEAST.items():
        what = f"durable set of {DISTINCT:,} keys, {count:,} rules"
        yield at_least(what, samples[count], "no rule", samples[0], "/s", least)
    yield _imports(folder, quick)


def as_lines(made: Iterator[tuple[str, dict[str, Any]]]) -> bytes:
    commands = ({"type": "set", "key": RULES + name, "value": rule} for name, rule in made)
    return b"".join(json.dumps(command).encode() + b"\n" for command in commands)


def _side(server: Server) -> Side:
    given = {"port": server.port, "token": server.write_token}
    return Side(psutil.Process(server.pid), "load.py", given)


def _imports(folder: Path, quick: bool) -> Row:
    """Imports under one schema for every key, and without."""
    rounds, count = (3, 50_000) if quick else (5, 200_000)
    body = ndjson.lines(count)
    rates: dict[bool, list[float]] = {True: [], False: []}
    for number in range(rounds):
        for is_ruled, found in rates.items():
            with serving(folder / f"import-{number}-{is_ruled}") as server:
                if is_ruled:
                    schema = {"type": ["number", "string", "boolean"], "maximum": count}
                    one = [("all", {"match": "**", "schema": schema})]
                    ndjson.send(server, as_lines(iter(one)))
                started = perf_counter()
                ndjson.send(server, body)
                found.append(count / (perf_counter() - started))
    what = f"import of {count:,} lines, one schema"
    return at_least(what, rates[True], "no rule", rates[False], "/s", ONE_SCHEMA)
