"""A program: what a good developer would write with Starlette and uvicorn for the same promise.

A `set` is acknowledged once it is on disk, in the same tables with the same durability, and what
waits meanwhile shares the next commit. It has no rejections, idempotency, streams or undo.

Given {"path", "token"} and uvicorn's {"loop", "http"}, prints {"port"} and serves until it is
killed.
"""

import asyncio
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_hex
from time import time
from typing import Any, Final, Literal

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from signalbox.server.store.database import Database

TURNS = 3
"""Of the event loop before a commit: those who were just answered send again and share it."""


class Set(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["set"]
    key: str
    value: msgspec.Raw
    actor: str = "script"


Waiting = tuple[Set, str, "asyncio.Future[int]"]


class Store:
    """Writes groups of commands in a thread, one commit for each group."""

    def __init__(self, path: Path) -> None:
        self._connection = Database(path).writer
        self._thread = ThreadPoolExecutor(1)
        self._waiting: list[Waiting] = []
        self._work = asyncio.Event()
        self._revision = 0
        self._task = asyncio.create_task(self._run())

    async def set(self, command: Set, identity: str) -> int:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((command, identity, future))
        self._work.set()
        revision: int = await future
        return revision

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            for _ in range(TURNS):
                await asyncio.sleep(0)
            self._work.clear()
            group, self._waiting = self._waiting, []
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write, group)
            for number, (_, _, future) in enumerate(group, start=self._revision + 1):
                future.set_result(number)
            self._revision += len(group)

    def _write(self, group: list[Waiting]) -> None:
        at = int(time() * 1000)
        numbered = list(enumerate(group, start=self._revision + 1))
        values = [
            (revision, command.key, bytes(command.value).decode())
            for revision, (command, _, _) in numbered
        ]
        with self._connection as connection:
            connection.executemany(
                "INSERT INTO transactions VALUES (?, 1, ?, x'00', 'set', ?, ?, 1, NULL)",
                [(revision, identity, one.actor, at) for revision, (one, identity, _) in numbered],
            )
            for statement in _CHANGE, _STATE:
                connection.executemany(statement, values)


_CHANGE: Final = """
INSERT INTO changes (revision, key, value, is_new)
VALUES (?1, ?2, ?3, NOT EXISTS (SELECT 1 FROM state WHERE key = ?2))
"""
_STATE: Final = """
INSERT INTO state (revision, born, key, value) VALUES (?1, ?1, ?2, ?3)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision
"""


def application(path: Path, token: str) -> Starlette:
    bearer, decoder, stores = f"Bearer {token}", msgspec.json.Decoder(Set), list[Store]()

    async def commands(request: Request) -> Response:
        if request.headers.get("authorization") != bearer:
            return Response(b'{"status":"rejected"}', 401)
        command, identity = decoder.decode(await request.body()), token_hex(8)
        if not stores:
            stores.append(Store(path))  # made here, where the loop runs
        ack: dict[str, Any] = {"id": identity, "status": "accepted"}
        ack["revision"] = await stores[0].set(command, identity)
        ack |= {"changed": True, "changes": 1, "duplicate": False}
        return Response(msgspec.json.encode(ack), media_type="application/json")

    return Starlette(routes=[Route("/commands", commands, methods=["POST"])])


def main() -> None:
    given = json.loads(sys.argv[1])
    # asyncio sets TCP_NODELAY only where the protocol is named: answers would wait 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    app = application(Path(given["path"]), given["token"])
    config = uvicorn.Config(
        app, loop=given["loop"], http=given["http"], log_level="warning", access_log=False
    )
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
