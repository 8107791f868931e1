"""Whatever was imported before under its id: a preview gets the answer of the import."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.import_upload import upload
from support.raw_http import Client, serving

FILES = 120
ROWS = [
    b'{"type": "set", "key": "a", "value": 1}',
    b'{"type": "set", "key": "b", "value": "text"}',
    b'{"type": "set", "key": "a", "value": 2, "expect": "absent"}',
    b'{"type": "set", "key": "b", "value": 2, "expect": "absent"}',
    b'{"type": "set", "key": "a..b", "value": 1}',
    b'{"type": "add", "key": "n"}',
    b'{"type": "add", "key": "b"}',
    b'{"type": "delete", "key": "a"}',
    b'{"type": "delete_prefix", "prefix": "n."}',
    b'{"type": "undo"}',
    b"no",
    b"\xff",
    b"",
]
MEMBERS = [b'"a": 1,', b'"b": "text",', b'"a..b": 1,', b'"c": nul,', b'"a": 2,', b""]
KINDS = {"ndjson": (ROWS, b"", b""), "json": (MEMBERS, b"{", b'"z": 1}')}
TOLD = ("status", "format", "code", "message", "key", "duplicates")
COUNTED = ("lines", "accepted", "rejected", "changes")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path: Path = tmp_path_factory.mktemp("random")
    with serving(path / "store") as server, Client(server) as made:
        made.send("set", key="b", value="text")
        yield made


def comparable(answer: list[dict[str, Any]], atomic: int) -> dict[str, Any]:
    """But for what an import counts that ends early, or that has sent its changes before."""
    summary = answer[-1]
    names = set(TOLD)
    if atomic or summary["status"] == "accepted":
        names |= {*COUNTED}
    if summary["duplicates"]:
        names -= {"changes"}
    bad = sorted((one["line"], one["code"]) for one in answer if one["type"] == "rejected")
    return {name: summary.get(name) for name in names} | {"bad": bad if "lines" in names else []}


def other(rows: list[bytes], chance: random.Random, pool: list[bytes]) -> list[bytes]:
    """The same file, or one that differs a little, or one of its own."""
    return chance.choice(
        [
            rows,
            rows,
            rows[:-1],
            [*rows, chance.choice(pool)],
            [*rows[:-1], chance.choice(pool)],
            chance.choices(pool, k=chance.randint(0, 4)),
        ]
    )


def test_a_preview_predicts_the_answer_of_the_import(client: Client) -> None:
    chance = random.Random(7)
    codes = set[Any]()
    for number in range(FILES):
        kind = chance.choice(["ndjson", "ndjson", "json"])
        pool, begin, end = KINDS[kind]
        rows = chance.choices(pool, k=chance.randint(0, 4))
        files = [rows, other(rows, chance, pool)]
        ends = [chance.choice([end, end, b""]) for _ in files]
        sent = [
            begin + b"\n".join(lines) + last + b"\n"
            for lines, last in zip(files, ends, strict=True)
        ]
        under: list[dict[str, Any]] = [
            {"format": kind, "id": f"file-{number}", "atomic": atomic}
            for atomic in chance.choice([(1, 1), (1, 1), (1, 1), (0, 0), (0, 1), (1, 0)])
        ]
        upload(client, sent[0], **under[0])
        preview = upload(client, sent[1], dry_run=1, **under[1])
        imported = upload(client, sent[1], **under[1])
        atomic = under[1]["atomic"]
        assert comparable(preview, atomic) == comparable(imported, atomic), (sent, under)
        codes.add(imported[-1].get("code"))
    assert codes == {None, "conflict", "id_reused", "invalid", "malformed", "type"}
