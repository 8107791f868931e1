"""A program: the same promise by the fastest means that Python has, and nothing else.

A bare ASGI application on uvicorn with uvloop and httptools, which are written in C. A `set` is
acknowledged once it is on disk; those that arrive during a commit share the next one. Queries of
one key and of a page get their JSON from SQLite. It checks nothing: no tokens, no limits; it has no
rejections, idempotency, totals, streams, history or undo.

Given {"path"}, the file of its store, prints {"port"} and serves until it is killed.
"""

import asyncio
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qs

import apsw
import uvicorn

_SCHEMA: Final = """
PRAGMA journal_mode = wal;
PRAGMA synchronous = full;
CREATE TABLE log (
    revision INTEGER PRIMARY KEY, id TEXT UNIQUE, key TEXT, value TEXT, at TEXT, actor TEXT
);
CREATE INDEX log_by_key ON log (key, revision);
CREATE TABLE state (
    key TEXT PRIMARY KEY, value TEXT, revision INTEGER, at TEXT, actor TEXT
) WITHOUT ROWID;
"""
_LOG: Final = "INSERT INTO log VALUES (?1, 'x' || ?1, ?2, ?3, ?4, 'script')"
_STATE: Final = """
INSERT INTO state VALUES (?2, ?3, ?1, ?4, 'script')
ON CONFLICT (key) DO UPDATE SET value = ?3, revision = ?1, at = ?4
"""
_ITEM: Final = """
'{"key":' || json_quote(key) || ',"value":' || value || ',"revision":' || revision
    || ',"at":"' || at || '","actor":' || json_quote(actor) || '}'
"""
_ONE: Final = f"SELECT {_ITEM} FROM state WHERE key = ?"
_PAGE: Final = f"""
SELECT '{{"items":[' || group_concat({_ITEM}) || '],"next":' || json_quote(max(key)) || '}}'
FROM (SELECT * FROM state ORDER BY key LIMIT ?)
"""
_ACK: Final = (
    b'{"id":"x","status":"accepted","revision":%d,"changed":true,"changes":1,"duplicate":false}'
)

Waiting = tuple[dict[str, Any], "asyncio.Future[int]"]


class Application:
    """`queue` are the commands that wait for the next commit."""

    def __init__(self, path: str) -> None:
        self._writer, self._reader = apsw.Connection(path), apsw.Connection(path)
        self._writer.execute(_SCHEMA).fetchall()
        self._revisions = count(1)
        self._queue: list[Waiting] = []
        self._thread = ThreadPoolExecutor(1)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request (ASGI 3.0); uvicorn is told to send no other events."""
        if scope["method"] == "POST":
            body = await self._set(await _read(receive))
        else:
            body = self._query(scope["path"], scope["query_string"])
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _set(self, command: bytes) -> bytes:
        future = asyncio.get_running_loop().create_future()
        self._queue.append((json.loads(command), future))
        self._work.set()
        revision: int = await future
        return _ACK % revision

    def _query(self, path: str, query: bytes) -> bytes:
        """One item for a path with a key, else a page."""
        if key := path.removeprefix("/queries/state").removeprefix("/"):
            answer: str = self._reader.execute(_ONE, (key,)).get
        else:
            answer = self._reader.execute(_PAGE, (int(parse_qs(query)[b"limit"][0]),)).get
        return answer.encode()

    async def run(self) -> None:
        """Commit what waits, again and again."""
        self._work = asyncio.Event()
        loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            self._work.clear()
            group, self._queue = self._queue, []
            revisions = await loop.run_in_executor(self._thread, self._commit, group)
            for (_, future), revision in zip(group, revisions, strict=True):
                future.set_result(revision)

    def _commit(self, group: list[Waiting]) -> list[int]:
        """Write the commands durably in one commit; their revisions. In the thread."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        rows = [
            (revision, command["key"], json.dumps(command["value"]), at)
            for revision, (command, _) in zip(self._revisions, group, strict=False)
        ]
        with self._writer:
            self._writer.executemany(_LOG, rows)
            self._writer.executemany(_STATE, rows)
        return [row[0] for row in rows]


async def _read(receive: Any) -> bytes:
    """The body of a request."""
    body: bytes = b""
    while True:
        message: dict[str, Any] = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def serve(path: str) -> None:
    application = Application(path)
    # asyncio sets TCP_NODELAY only where the protocol is named: answers would wait 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        application, http="httptools", lifespan="off", log_level="warning", access_log=False
    )
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(application.run())
        tasks.create_task(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(json.loads(sys.argv[1])["path"]))
