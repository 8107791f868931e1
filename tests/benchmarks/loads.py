"""What one client may ask of a server that holds up nobody else: the loads of `bystander`.

A load is a function that asks and returns once everything has been answered.
"""

import selectors
import socket
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Any, Final, NamedTuple

import breaking
import ndjson
import searching
from support.harness import Server

TIMEOUT_SECONDS: Final = 30.0
"""Seconds after which readers give up."""
IMPORTED: Final = 100_000
_IMPORTS: Final = count(1)
CAUGHT_UP: Final = b"event: caught-up"
DRY_RESTORE: Final = {"type": "restore", "to_revision": 1, "dry_run": True}
SITES: Final = [f"site{number}." for number in range(ndjson.SITES)]
DELETIONS: Final = [{"type": "delete_prefix", "prefix": site} for site in SITES]
DELETE: Final = {"type": "batch", "commands": DELETIONS, "id": "deletion"}
UNDO: Final = {"type": "undo", "of": "deletion"}


class Load(NamedTuple):
    """`what` may name `{keys}`; with `repeats` it is requested again as long as is measured.

    A quick run has only those with `is_quick`.
    """

    what: str
    run: Callable[[Server], None]
    keys: int = 100_000
    repeats: bool = True
    is_quick: bool = False


def reading(path: str, count: int, end: bytes = b"") -> Callable[[Server], None]:
    """`count` readers of `path` at once, each until it has got `end` or the end of the answer."""

    def run(server: Server) -> None:
        request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n"
            f"Authorization: Bearer {server.read_token}\r\n\r\n"
        ).encode()
        with selectors.DefaultSelector() as selector:
            for _ in range(count):
                reader = socket.create_connection(("127.0.0.1", server.port))
                reader.sendall(request)
                selector.register(reader, selectors.EVENT_READ, [b""])
            try:
                _read_to_end(selector, end)
            finally:
                for key in list(selector.get_map().values()):
                    key.fileobj.close()  # type: ignore[union-attr]

    return run


def _read_to_end(selector: selectors.BaseSelector, end: bytes) -> None:
    started = perf_counter()
    while selector.get_map() and perf_counter() - started < TIMEOUT_SECONDS:
        for key, _ in selector.select(1.0):
            reader: socket.socket = key.fileobj  # type: ignore[assignment]
            last = key.data
            data = reader.recv(1 << 20)
            found = bool(end) and end in last[0] + data
            last[0] = data[-len(end) :]
            if found or not data:
                selector.unregister(reader)
                reader.close()


def commanding(*commands: dict[str, Any]) -> Callable[[Server], None]:
    """These commands one after another; each is accepted."""

    def run(server: Server) -> None:
        for command in commands:
            answer = server.post(command)
            assert answer.json()["status"] == "accepted", answer

    return run


def importing(server: Server) -> None:
    """An import of a hundred thousand keys that the store does not have, far apart in key order."""
    ndjson.send(server, ndjson.lines(IMPORTED).replace(b"site", b"new%d.site" % next(_IMPORTS)))


def retaining(server: Server) -> None:
    """A thousand retention keys, the status that lists them, and what they would remove."""
    for first in range(0, 1_000, 500):
        members = [
            {"type": "set", "key": f"_signalbox.retention.p{number}", "value": {"max_age": "10s"}}
            for number in range(first, first + 500)
        ]
        commanding({"type": "batch", "commands": members})(server)
    assert server.get("/queries/status").status == 200
    assert server.request("POST", "/commands/compact?dry_run=1", b"").status == 200


LOADS: Final = (
    Load("50 new streams of {keys} keys", reading("/queries/stream", 50, CAUGHT_UP), is_quick=True),
    Load("one new stream of {keys} keys", reading("/queries/stream", 1, CAUGHT_UP), 1_000_000),
    Load("500 exports of {keys} keys", reading("/queries/export", 500), is_quick=True),
    Load("20 CSV exports of {keys} keys", reading("/queries/export?format=csv", 20)),
    Load("20 env exports of {keys} keys", reading("/queries/export?format=env", 20)),
    Load(
        "20 streams that missed {keys} changes", reading("/queries/stream?after=0", 20, CAUGHT_UP)
    ),
    Load("20 history exports of {keys} changes", reading("/queries/export?history=1", 20)),
    Load("500 pages of 1,000 items", reading("/queries/state?limit=1000", 500)),
    Load(f"an import of {IMPORTED:,} new keys", importing, is_quick=True),
    Load("1,000 retention keys, status and dry run", retaining, is_quick=True),
    Load("a restore of all {keys} keys, dry run", commanding(DRY_RESTORE), is_quick=True),
    Load(
        "a restore of a tenth of {keys} keys, dry run",
        commanding(DRY_RESTORE | {"match": f"{SITES[0]}**"}),
        1_000_000,
    ),
    Load("searches among {keys} keys", searching.every_kind, 1_000_000),
    Load("which of {keys} keys break a rule", breaking.asking, 1_000_000),
    Load("the difference of {keys} keys", reading("/queries/diff?from=0", 1), 1_000_000),
    Load(
        "deleting {keys} keys, and undoing that",
        commanding(DELETE, UNDO),
        repeats=False,
        is_quick=True,
    ),
)
