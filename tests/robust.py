"""Tools of the robustness tests: a real server process, plain HTTP, raw sockets, event streams."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

PATIENCE = 30.0
"""Seconds after which something that should happen at once has failed."""
ROOT = Path(__file__).resolve().parent.parent


class Answer(NamedTuple):
    """`headers` have lower-case names; of repeated ones the last."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        """The objects of an NDJSON answer."""
        return [json.loads(line) for line in self.body.splitlines()]


class Client:
    """One keep-alive connection; `token` is "read", "write" or None. Not shared by threads."""

    def __init__(self, endpoint: Mapping[str, Any], token: str | None = "write") -> None:
        self.port = int(endpoint["url"].rsplit(":", 1)[1])
        self._authorization = (
            {} if token is None else {"Authorization": f"Bearer {endpoint[token + '_token']}"}
        )
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`headers` are written with `_` for `-`; they replace those that are sent anyway."""
        given = self._authorization | {name.replace("_", "-"): text for name, text in headers.items()}
        self._connection.request(method, path, body, given)
        response = self._connection.getresponse()
        found = {name.lower(): text for name, text in response.getheaders()}
        return Answer(response.status, found, response.read())

    def get(self, path: str, **parameters: Any) -> Answer:
        query = "&".join(f"{name}={quote(str(text), safe='')}" for name, text in parameters.items())
        return self.ask("GET", f"/queries/{path}" + (f"?{query}" if query else ""))

    def send(self, command: dict[str, Any] | bytes) -> Answer:
        body = command if isinstance(command, bytes) else json.dumps(command).encode()
        return self.ask("POST", "/commands", body, Content_Type="application/json")

    def load(self, lines: bytes | Iterator[bytes], parameters: str = "") -> Answer:
        """Import NDJSON; an iterator is sent chunked."""
        kind = {"Content_Type": "application/x-ndjson"}
        return self.ask("POST", f"/commands/import{parameters}", lines, **kind)

    def state(self, match: str = "**") -> dict[str, Any]:
        """Every matching key with its value."""
        return dict(self.get("export", format="json", match=match).json)

    def close(self) -> None:
        self._connection.close()


class Served:
    """A running server process and what it said about itself."""

    def __init__(self, process: "subprocess.Popen[bytes]", data_dir: Path, errors: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.errors = errors
        assert process.stdout is not None
        self.line = process.stdout.readline()
        self.endpoint: dict[str, Any] = json.loads(self.line or b"{}")

    @property
    def port(self) -> int:
        return int(self.endpoint["url"].rsplit(":", 1)[1])

    def client(self, token: str | None = "write") -> Client:
        return Client(self.endpoint, token)

    def send(self, **command: Any) -> Answer:
        """One command over a connection of its own."""
        with self.opened() as client:
            return client.send(command)

    def get(self, path: str, **parameters: Any) -> Answer:
        with self.opened() as client:
            return client.get(path, **parameters)

    @contextmanager
    def opened(self, token: str | None = "write") -> Iterator[Client]:
        client = self.client(token)
        try:
            yield client
        finally:
            client.close()

    def socket(self, receive_buffer: int = 0) -> socket.socket:
        """A plain connection; `receive_buffer` in bytes makes a reader that is soon full."""
        plain = socket.socket()
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.settimeout(PATIENCE)
        plain.connect(("127.0.0.1", self.port))
        return plain

    def head(self, request: str, *headers: str) -> bytes:
        """A request's head with Host and the write token."""
        token = f"Authorization: Bearer {self.endpoint['write_token']}"
        lines = [f"{request} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", token, *headers]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")

    def memory(self) -> int:
        """Resident bytes of the process."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


def start(data_dir: Path, *options: str, stdin: int = subprocess.DEVNULL, **variables: str) -> Served:
    """Start a server; returns once it accepts connections (or has ended without a line)."""
    command = [sys.executable, "-m", "server", "serve", "--json", "--data-dir", str(data_dir)]
    errors = data_dir.with_name(data_dir.name + ".errors")
    with errors.open("ab") as stderr:
        process = subprocess.Popen(
            [*command, *options],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=ROOT,
            env=environment(**variables),
        )
    return Served(process, data_dir, errors)


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of Signalbox, plus `variables`."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SIGNALBOX_")}
    return kept | variables


@contextmanager
def serving(data_dir: Path, *options: str, stdin: int = subprocess.DEVNULL, **variables: str) -> Iterator[Served]:
    """A server for as long as the block lasts; it must not have complained when it ends."""
    served = start(data_dir, *options, stdin=stdin, **variables)
    try:
        yield served
        assert served.end() == 0
    finally:
        with suppress(ProcessLookupError):
            served.process.kill()
        served.process.wait(PATIENCE)
        for pipe in (served.process.stdout, served.process.stdin):
            if pipe is not None:
                pipe.close()
    assert served.errors.read_text() == "", "the server complained"


class Event(NamedTuple):
    """One block of an event stream; `name` is "comment" where it had no event line."""

    name: str
    data: Any
    id: str | None
    retry: str | None = None


class EventStream:
    """A reader of `/queries/stream`."""

    def __init__(self, served: Served, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        token = {"Authorization": f"Bearer {served.endpoint['read_token']}"}
        self._connection.request("GET", f"/queries/stream{query}", headers=token | given)
        self.response = self._connection.getresponse()
        self.status = self.response.status

    def next(self) -> Event | None:
        """The next block, None where the stream has ended."""
        fields: dict[str, str] = {}
        while line := self.response.readline():
            text = line.decode().removesuffix("\n")
            if not text:
                return _event(fields)
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
        return None

    def until(self, wanted: str | Callable[[Event], bool]) -> list[Event]:
        """All events up to and with the first that has this name (or fits)."""
        fits = wanted if callable(wanted) else lambda event: event.name == wanted
        events = []
        while event := self.next():
            events.append(event)
            if fits(event):
                return events
        raise AssertionError(f"the stream ended before {wanted}: {events[-3:]}")

    def close(self) -> None:
        self.response.close()
        self._connection.close()

    def __enter__(self) -> "EventStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _event(fields: dict[str, str]) -> Event:
    data = fields.get("data")
    return Event(
        fields.get("event", "comment" if "" in fields else "bare"),
        None if data is None else json.loads(data),
        fields.get("id"),
        fields.get("retry"),
    )


def exchange(served: Served, request: bytes) -> Answer:
    """Send raw bytes on a connection of its own and read one answer."""
    with served.socket() as plain:
        plain.sendall(request)
        return read_answer(plain)


def read_answer(plain: socket.socket) -> Answer:
    """One HTTP answer from a plain socket."""
    response = http.client.HTTPResponse(plain)
    response.begin()
    found = {name.lower(): text for name, text in response.getheaders()}
    return Answer(response.status, found, response.read())
