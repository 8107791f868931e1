"""Running `signalbox migrate`, and the answers that a store and its copy must have in common."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from support.command_line import Shell
from support.raw_http import Client, lines, serving

QUERIES: Final[tuple[tuple[str, Mapping[str, Any]], ...]] = (
    ("export", {"history": 1}),
    ("export", {"format": "json", "match": "_signalbox.**"}),
    ("state", {"sort": "changed"}),
    ("tree", {}),
    ("attempts", {"status": "accepted"}),
    ("attempts", {"actor": "tester", "status": "accepted"}),
    ("attempts/first", {}),
    ("attempts/compacted-2", {}),
    ("history/a", {}),
    ("history/n", {}),
    *(("state", {"at": at, "limit": 1000}) for at in range(1, 12)),
    *(("diff", {"from": at, "limit": 1000}) for at in range(1, 12)),
    ("state", {"at": "2002-01-01T00:00:00Z"}),
    ("state", {"at": "2002-01-01T00:00:00Z", "strict": 1}),
)
"""What a store and its copy answer alike."""


@contextmanager
def queried(data_dir: Path) -> Iterator[tuple[Client, list[tuple[int, bytes]]]]:
    """What the store answers."""
    with serving(data_dir) as server, Client(server) as client:
        yield client, [client.get(path, **query)[::2] for path, query in QUERIES]


def exported_history(data_dir: Path) -> bytes:
    with serving(data_dir) as server, Client(server) as client:
        return client.get("export", history=1).body


def migrate(shell: Shell, *options: str) -> dict[str, Any]:
    done = shell("migrate", "--json", *options)
    assert (done.status, done.err) == (0, ""), done
    found: dict[str, Any] = done.json()
    assert found["verified"]
    assert found["differences"] == []
    return found


def refused_migration(shell: Shell, *options: str) -> tuple[int, str]:
    done = shell("migrate", *options)
    assert done.out == ""
    return done.status, done.err


def write_varied_history(client: Client) -> None:
    """Something of everything that a log can hold."""
    odd = {"x": [1, 1.0, -0.0, 10**30, int("7" * 400), None, 'ü\u2028"\\\n']}
    client.send("set", key="a", value=odd, id="first", actor="tester")
    client.send("set", key="b", value="told")
    client.send("delete", key="b")
    client.load(lines(*({"type": "add", "key": f"k.{n}"} for n in range(3000))), id="many")
    client.send("undo", of="many", actor="tester")
    client.send("redo", actor="tester")
    client.send("rename", key="k.", to="kept.")
    client.send("set", key="_signalbox.retention.k", value={"max_age": None})
    client.send("undo", of="first", actor="tester")
