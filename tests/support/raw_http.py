"""What the robustness tests need beyond `harness`: kept connections, raw sockets, store checks."""

import http.client
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote, urlencode

from signalbox.server import maintenance
from support.harness import SECONDS, Answer, Server, Stream

JSON: Final = {"Content-Type": "application/json"}
NDJSON: Final = {"Content-Type": "application/x-ndjson"}
CONNECTION_LOST: Final = (ConnectionError, http.client.HTTPException, TimeoutError)
"""What a client sees when the server ends while it waits."""
JSON_HEADER: Final = "Content-Type: application/json"
CHUNKED_HEADER: Final = "Transfer-Encoding: chunked"
SET_COMMAND: Final = b'{"type":"set","key":"k","value":1}'


@contextmanager
def serving(
    data_dir: Path, *options: str, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server for as long as the block lasts, which must end well and without a complaint."""
    server = Server(data_dir, *options, env=env)
    try:
        yield server
        assert server.stop() == 0
        complaints = server.stderr.read_text()
        assert complaints == "", complaints
    finally:
        server.kill()


class Client:
    """One keep-alive connection with a token ("read", "write" or None); not shared by threads."""

    def __init__(self, server: Server, token: str | None = "write") -> None:
        self._authorization = server.authorization(token)
        self._connection = server.connect()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """An iterable body is sent chunked."""
        given = self._authorization | dict(headers or {})
        self._connection.request(method, path, body, given)
        return read(self._connection.getresponse())

    def get(self, path: str, **query: Any) -> Answer:
        return self.ask("GET", f"/queries/{path}" + (f"?{urlencode(query)}" if query else ""))

    def send(self, type: str, **fields: Any) -> Answer:
        """One command."""
        return self.ask("POST", "/commands", json.dumps({"type": type, **fields}).encode(), JSON)

    def value(self, key: str) -> Any:
        answer = self.get(f"state/{quote(key, safe='')}")
        assert answer.status == 200, answer
        return answer.json()["value"]

    def state(self, match: str = "**") -> dict[str, Any]:
        """Every matching key with its value."""
        return dict(self.get("export", format="json", match=match).json())

    def load(self, body: bytes | Iterable[bytes], **query: Any) -> list[dict[str, Any]]:
        """Import NDJSON; the answer's lines, the summary last."""
        path = "/commands/import" + (f"?{urlencode(query)}" if query else "")
        answer = self.ask("POST", path, body, NDJSON)
        assert answer.status == 200, answer
        return [json.loads(line) for line in answer.body.splitlines()]

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def values(client: Client, **query: Any) -> dict[str, Any]:
    """The first page of the state, by key."""
    return {one["key"]: one["value"] for one in client.get("state", **query).json()["items"]}


def refusal(client: Client, path: str, **query: Any) -> tuple[int, str, str]:
    """Status, code and message of a query that is refused."""
    answer = client.get(path, **query)
    body = answer.json()
    return answer.status, body["code"], body["message"]


def lines(*commands: Mapping[str, Any]) -> bytes:
    """Commands as NDJSON."""
    return b"".join(json.dumps(command).encode() + b"\n" for command in commands)


class Block(NamedTuple):
    """One block of an event stream as sent; `comment` is the text behind a colon alone."""

    event: str | None
    data: Any
    id: str | None
    retry: str | None
    comment: str | None


def blocks(stream: Stream) -> Iterator[Block]:
    """Everything that the stream carries, comments too."""
    fields: dict[str, str] = {}
    for line in stream.lines():
        name, _, value = line.partition(":")
        if line:
            fields[name] = value.removeprefix(" ")
        else:
            data = json.loads(fields["data"]) if "data" in fields else None
            yield Block(
                fields.get("event"), data, fields.get("id"), fields.get("retry"), fields.get("")
            )
            fields = {}


def read(response: http.client.HTTPResponse) -> Answer:
    names = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, names, response.read())


def plain_socket(server: Server, receive_buffer: int = 0) -> socket.socket:
    """A connection without HTTP; `receive_buffer` in bytes makes a reader that is soon full."""
    plain = socket.socket()
    if receive_buffer:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    plain.settimeout(SECONDS)
    plain.connect(("127.0.0.1", server.port))
    return plain


def head(server: Server, request: str, *headers: str, token: str | None = "write") -> bytes:
    """A request's head with Host and token; `headers` are lines."""
    given = [f"{name}: {text}" for name, text in server.authorization(token).items()]
    parts = [f"{request} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *given, *headers, "", ""]
    return "\r\n".join(parts).encode("utf-8", "surrogateescape")


def exchange(server: Server, request: bytes) -> Answer:
    """Send raw bytes on a connection of its own and read one answer."""
    with plain_socket(server) as plain:
        plain.sendall(request)
        return read_answer(plain)


def read_answer(plain: socket.socket) -> Answer:
    """One HTTP answer from a plain socket."""
    response = http.client.HTTPResponse(plain)
    response.begin()
    return read(response)


def memory(server: Server) -> int:
    """Resident bytes of the server."""
    pages = Path(f"/proc/{server.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def assert_sound(data_dir: Path) -> int:
    """The file is intact and its read model is the replay of its log; the revision."""
    found = maintenance.verify(data_dir)
    assert found["problems"] == []
    assert found["ok"]
    return int(found["revision"])


def folded(transactions: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The state that `change` events make, in their order."""
    state: dict[str, Any] = {}
    for transaction in transactions:
        for change in transaction["changes"]:
            if change.get("deleted"):
                del state[change["key"]]
            else:
                state[change["key"]] = change["value"]
    return state


def chunk(data: bytes) -> bytes:
    """One chunk of a body (RFC 9112, section 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def post_bytes(box: Server, body: bytes, *headers: str) -> Answer:
    """A command, whose length or framing is in `headers`, over a socket of its own."""
    return exchange(box, head(box, "POST /commands", JSON_HEADER, *headers) + body)
