"""A preview under an id that was imported before gets the answer of that import."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from signalbox.server.http.commands.import_batches import BATCH_LINES
from support.harness import Server
from support.import_upload import upload
from support.raw_http import Client, serving

NUMBERS = count(1)
FIRST = b'{"type": "set", "key": "a", "value": 1}\n\nno\n{"type": "add", "key": "n"}\n'
CHANGED = FIRST.replace(b"1}", b"2}")
MORE = FIRST + b'{"type": "set", "key": "b", "value": 1}\n'
REFUSED = b'{"type": "set", "key": "a", "value": 1, "expect": "absent"}\n'
GOOD = b'{"type": "set", "key": "g", "value": 1}\n'
INVALID = b'{"type": "set", "key": "a..b", "value": 1}\n'
BAD = b"no\n"
NUMBER = BATCH_LINES + 500
TOLD = ("status", "code", "message", "key", "duplicates")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("ids") / "store") as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        made.send("set", key="a", value=1)
        yield made


def comparable(answer: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: answer[-1][name] for name in TOLD if name in answer[-1]}


@pytest.mark.parametrize(
    ("before", "now", "atomic", "ends"),
    [
        (FIRST, FIRST, 0, None),
        (FIRST, CHANGED, 0, "id_reused"),
        (FIRST, FIRST[:-1], 0, None),
        (FIRST, FIRST[:60], 0, "id_reused"),
        (FIRST, MORE, 0, None),
        (MORE, FIRST, 0, "id_reused"),
        (REFUSED, REFUSED, 0, None),
        (REFUSED, REFUSED, 1, "conflict"),
        (REFUSED, MORE, 1, "malformed"),
        (REFUSED, REFUSED * 2, 1, "id_reused"),
        (REFUSED * 2, REFUSED, 1, "id_reused"),
        (FIRST, FIRST, 1, "malformed"),
        (FIRST, MORE, 1, "malformed"),
        (INVALID + GOOD + BAD, INVALID + GOOD + BAD, 1, "invalid"),
        (INVALID + GOOD + BAD, INVALID + BAD, 1, "id_reused"),
        (GOOD, FIRST, 1, "malformed"),
        (GOOD, BAD + INVALID, 1, "malformed"),
        (GOOD, INVALID + BAD, 1, "id_reused"),
        (GOOD, b"\n", 1, None),
        (BAD, REFUSED + BAD, 1, "malformed"),
    ],
    ids=count(),
)
def test_a_preview_gets_the_answer_of_the_import(
    client: Client, before: bytes, now: bytes, atomic: int, ends: str | None
) -> None:
    under: dict[str, Any] = {"format": "ndjson", "id": f"file-{next(NUMBERS)}", "atomic": atomic}
    upload(client, before, **under)
    preview = upload(client, now, dry_run=1, **under)
    assert comparable(preview) == comparable(upload(client, now, **under))
    assert preview[-1].get("code") == ends


def test_of_a_file_in_several_batches_those_that_were_sent_are_known(client: Client) -> None:
    lines = [b'{"type":"set","key":"k%d","value":%d}\n' % (n % 50, n) for n in range(NUMBER)]
    under: dict[str, Any] = {"format": "ndjson", "id": f"file-{next(NUMBERS)}"}
    sent = upload(client, b"".join(lines), **under)
    assert sent[-1]["batches"] > 1
    more = [*lines, b'{"type":"set","key":"new","value":1}\n']
    preview = upload(client, b"".join(more), dry_run=1, **under)[-1]
    assert (preview["duplicates"], preview["accepted"], preview["new"]) == (NUMBER, 1, 1)
    other = [*lines[:-1], b'{"type":"set","key":"other","value":1}\n']
    assert upload(client, b"".join(other), dry_run=1, **under)[-1]["code"] == "id_reused"
