"""The real server as a process of its own, and plain HTTP and server-sent events to it."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Final, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from support.forked_server import ForkedServer

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 60.0
"""How long any one answer or event may take before the test fails: it only ends what hangs."""


AFRESH: Final = ("-m", "signalbox.server")
"""The program of a server which the process table shall show as anybody's."""


class Answer(NamedTuple):
    """One HTTP answer; `headers` are named in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Event(NamedTuple):
    """One server-sent event; `data` is its decoded JSON."""

    name: str
    data: Any
    id: str


def started_afresh(
    arguments: Sequence[str],
    env: Mapping[str, str],
    stderr: IO[bytes],
    limits: Mapping[str, float],
    program: Sequence[str] = AFRESH,
) -> subprocess.Popen[bytes]:
    """`python -m signalbox.server` as anybody starts it, with the limits that everybody has."""
    assert not limits
    return subprocess.Popen(
        [sys.executable, *program, *arguments],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )


class Server:
    """A running server; `url`, `read_token`, `write_token`, `pid`, `store` as it announced them."""

    launch: ClassVar[Callable[..., subprocess.Popen[bytes] | ForkedServer]] = started_afresh
    """How its process is started; `support.run_processes` knows a quicker way for tests."""

    def __init__(
        self,
        data_dir: Path,
        *options: str,
        env: Mapping[str, str] | None = None,
        program: Sequence[str] = (),
        limits: Mapping[str, float] | None = None,
    ) -> None:
        """Start it on `data_dir` and wait until it accepts connections.

        `limits` are seconds that no test lives through, by the names of the program's constants.
        `program` is what Python runs instead of the server as it is. Raises `AssertionError` with
        what it wrote to stderr where it ends instead.
        """
        self.data_dir = data_dir
        self.stderr = data_dir.with_name(data_dir.name + ".stderr")
        arguments = ["serve", "--json", "--data-dir", str(data_dir), *options]
        with self.stderr.open("ab") as stderr:
            environ = {**os.environ, **(env or {})}
            self.process: subprocess.Popen[bytes] | ForkedServer
            if program:
                self.process = started_afresh(arguments, environ, stderr, limits or {}, program)
            else:
                self.process = type(self).launch(arguments, environ, stderr, limits or {})
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.kill()
            raise AssertionError(f"The server ended: {self.stderr.read_text()}")
        self.endpoint: dict[str, Any] = json.loads(line)
        self.url: str = self.endpoint["url"]
        self.read_token: str = self.endpoint["read_token"]
        self.write_token: str = self.endpoint["write_token"]
        self.pid: int = self.endpoint["pid"]
        self.store: str = self.endpoint["store"]

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def connect(self, timeout: float = SECONDS) -> http.client.HTTPConnection:
        """A connection of its own, for keep-alive or odd requests; the caller closes it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = "write",
    ) -> Answer:
        """One request on a connection of its own; `token` is "read", "write", a token or None."""
        connection = self.connect()
        try:
            connection.request(method, path, body, {**self.authorization(token), **(headers or {})})
            response = connection.getresponse()
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def authorization(self, token: str | None = "write") -> dict[str, str]:
        """The header for `token` as in `request`."""
        known = {"read": self.read_token, "write": self.write_token}
        return {} if token is None else {"Authorization": f"Bearer {known.get(token, token)}"}

    def post(
        self,
        command: Mapping[str, Any] | bytes,
        token: str | None = "write",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """`POST /commands`; bytes are sent as they are."""
        body = command if isinstance(command, bytes) else json.dumps(command).encode()
        kind = {"Content-Type": "application/json"}
        return self.request("POST", "/commands", body, {**kind, **(headers or {})}, token)

    def set(self, key: str, value: Any, **fields: Any) -> dict[str, Any]:
        """Set a key and return its acknowledgement, which must be `accepted`."""
        answer = self.post({"type": "set", "key": key, "value": value, **fields})
        assert answer.status == 200, answer
        outcome: dict[str, Any] = answer.json()
        return outcome

    def get(self, path: str, token: str | None = "read", **query: Any) -> Answer:
        """`GET path` with the query's parameters."""
        return self.request("GET", path + (f"?{urlencode(query)}" if query else ""), token=token)

    def value(self, key: str) -> Any:
        """The value of a key that must be there."""
        answer = self.get(f"/queries/state/{quote(key, safe='')}")
        assert answer.status == 200, answer
        return answer.json()["value"]

    def stream(
        self,
        match: str | None = None,
        after: str | int | None = None,
        acks: bool = False,
        last_event_id: str | None = None,
        token: str | None = "read",
    ) -> "Stream":
        """Open `/queries/stream`; use it in a `with` block."""
        given = {"match": match, "after": after, "acks": "1" if acks else None}
        query = urlencode({name: value for name, value in given.items() if value is not None})
        headers = self.authorization(token)
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        return Stream(self.connect(), f"/queries/stream?{query}", headers)

    def stop(self) -> int:
        """End it as a user does, with SIGTERM; its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it without a word, as a crash does; its exit status."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        try:
            self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.wait()


class Stream:
    """The events of one SSE connection; `last_id` is where a reader would resume."""

    def __init__(
        self, connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str]
    ) -> None:
        self._connection = connection
        connection.request("GET", path, headers=dict(headers))
        self.response = connection.getresponse()
        self.last_id = ""
        if self.response.status != 200:
            body = self.response.read()
            self.close()
            raise AssertionError(f"The stream was refused: {self.response.status} {body!r}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        """Every event until the server ends the stream; raises TimeoutError when it is silent."""
        name, data = "message", list[str]()
        for line in self.lines():
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.last_id = value
            elif not line and data:
                yield Event(name, json.loads("\n".join(data)), self.last_id)
                name, data = "message", []

    def lines(self) -> Iterator[str]:
        """The lines as sent, without their ends."""
        while line := self.response.readline():
            yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")

    def until(self, name: str) -> list[Event]:
        """The events up to and with the next one of that name."""
        events: list[Event] = []
        for event in self:
            events.append(event)
            if event.name == name:
                return events
        raise AssertionError(f"The stream ended without {name}: {events}")

    def close(self) -> None:
        self.response.close()
        self._connection.close()
