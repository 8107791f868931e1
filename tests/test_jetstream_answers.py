"""Answers of a NATS server that cannot be decoded are reported like every other failure."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Final

import gevent
import msgspec
import pytest

from signalbox.server.engines.address import read_address
from signalbox.server.engines.engine_interface import AppendIndeterminate
from signalbox.server.engines.jetstream.log import JetStreamLog
from signalbox.server.model.errors import StoreError, Unavailable
from support import brokers
from support.brokers import new_log
from support.jetstream_logs import FOUNDATION, METADATA, SECONDS, asked, made
from support.nodes import log_status, until
from support.raw_http import serving

DEEP: Final = b"[" * 100_000
DEEP_ERROR: Final = b'{"error":' + b'{"a":' * 50_000
FORMS: Final = [DEEP, DEEP_ERROR, b'{"seq":"x"}', b"no json", b"\xff", b"[]"]
GREETING: Final = b'INFO {"server_id":"x","version":"2.15.0","headers":true,"max_payload":1048576}'
STREAM: Final = msgspec.json.encode(
    {
        "config": {
            "subjects": ["signalbox.log.store-a"],
            "retention": "limits",
            "discard": "new",
            "num_replicas": 1,
            "metadata": METADATA,
        },
        "state": {"last_seq": 3},
    }
)


class Fake:
    """A server of one connection, which answers requests by their subjects."""

    def __init__(self, sock: socket.socket, answers: dict[str, bytes]) -> None:
        self._sock, self._answers = sock, answers
        self._subscribed: dict[str, str] = {}

    def serve(self) -> None:
        self._sock.sendall(GREETING + b"\r\n")
        with self._sock, self._sock.makefile("rb") as lines:
            for line in lines:
                verb, *words = line.decode().split()
                if verb == "PING":
                    self._sock.sendall(b"PONG\r\n")
                elif verb == "SUB":
                    self._subscribed[words[0]] = words[-1]
                elif verb in ("PUB", "HPUB"):
                    lines.read(int(words[-1]) + 2)
                    self._answer(words[0], words[1])

    def _answer(self, asked: str, reply: str) -> None:
        answer = next((text for part, text in self._answers.items() if part in asked), None)
        for subject, number in self._subscribed.items():
            form = re.escape(subject).replace(r"\*", "[^.]+")
            if answer is not None and re.fullmatch(form, reply):
                head = f"MSG {reply} {number} {len(answer)}\r\n".encode()
                self._sock.sendall(head + answer + b"\r\n")


@contextmanager
def log_with(**answers: bytes) -> Iterator[JetStreamLog]:
    """A log at a server that answers questions whose subject has one of these names in it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=lambda: Fake(listener.accept()[0], answers).serve())
        thread.start()
        address = f"nats://127.0.0.1:{listener.getsockname()[1]}/signalbox"
        with gevent.Timeout(SECONDS), closing(JetStreamLog(read_address(address))) as log:
            yield log
        thread.join(SECONDS)


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_of_the_stream(form: bytes) -> None:
    with log_with(INFO=form) as log, pytest.raises((Unavailable, StoreError)) as caught:
        log.connect(FOUNDATION)
    assert "a form that Signalbox does not know" in str(caught.value)


@pytest.mark.parametrize("form", FORMS[:4], ids=range(4))
def test_of_an_append_leave_it_unsettled(form: bytes) -> None:

    with log_with(INFO=STREAM, JSZ=form, log=form) as log:
        assert log.connect(FOUNDATION).revision == 3
        with pytest.raises(AppendIndeterminate, match="a form that Signalbox does not know"):
            log.append(made(4), 3)


@pytest.mark.parametrize("form", FORMS[:4], ids=range(4))
def test_of_reading_and_following(form: bytes) -> None:
    with log_with(INFO=STREAM, JSZ=form, MSG=form, CONSUMER=form) as log:
        log.connect(FOUNDATION)
        with pytest.raises(Unavailable, match="a form that Signalbox does not know"):
            next(log.follow(0))


def test_a_message_of_the_log_that_nests_too_deep_stops_the_node(tmp_path: Path) -> None:
    address = new_log("nats")
    stream = address.rpartition("/")[2]
    with serving(tmp_path / "store", "--engine", address) as node:
        node.set("k", 1)
        store = node.get("/queries/status").json()["store"]
        with socket.create_connection(("127.0.0.1", brokers.nats().port)) as plain:
            deep = b"\x91" * 5_000 + b"\xc0"
            head = f"CONNECT {{}}\r\nPUB {stream}.log.{store} {len(deep)}\r\n".encode()
            plain.sendall(head + deep + b"\r\n")
            problem = until(lambda: log_status(node)["problem"])
        assert problem == "What the log has at revision 2 is no transaction."
        assert asked(brokers.nats().port, f"STREAM.INFO.{stream}")["state"]["last_seq"] == 2
        node.stderr.write_text("")  # what it has written there is no error
