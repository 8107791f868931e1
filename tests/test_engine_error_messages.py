"""Errors of an engine's server, its client, TLS and the network get messages of our own."""

import inspect
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final

import gevent
import nats.errors
import psutil
import pytest
import redis.exceptions
import trustme

from signalbox.server.engines.address import AddressError, read_address
from signalbox.server.engines.jetstream.api import Answer
from signalbox.server.engines.redis import connection
from signalbox.server.engines.redis.errors import redis_reason
from signalbox.server.engines.shared_log import LogMetadata, shared_log
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.runtime.error_messages import reason
from support import brokers
from support.command_line import Shell
from support.nats_server import NatsServer
from support.nodes import KINDS, Site, address_at, broker, lost, post, refused_start, until
from support.ports import free_port
from support.redis_server import RedisServer
from support.tcp_proxy import Proxy

FOREIGN: Final = (
    "Errno",
    "nats: ",
    "[SSL",
    "_ssl.c",
    "Error ",
    "Connection refused",
    "timed out",
    "Traceback",
    "Protocol Error",
    "NOAUTH",
    "WRONGPASS",
    "Violation",
)
"""Words of the system, OpenSSL, nats-py, redis-py and their servers."""
SECONDS: Final = 10.0


def connection_error(address: str) -> str:
    """Why the log at an address cannot be joined."""
    with (
        closing(shared_log(read_address(address))) as log,
        gevent.Timeout(SECONDS),
        pytest.raises((StoreError, Unavailable)) as caught,
    ):
        log.connect(LogMetadata("s"))
    text = str(caught.value)
    assert not [word for word in FOREIGN if word in text], text
    assert text.endswith(".")
    return text


@contextmanager
def speaking(words: bytes, greets: bool) -> Iterator[int]:
    """A port on which somebody says this to the first who comes, or to what that one says."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                if greets:
                    sock.sendall(words)
                while sock.recv(4096):
                    if not greets:
                        sock.sendall(words)

        thread = Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(SECONDS)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Path:
    """Certificates of a server at another name than the tests call it by."""
    folder = tmp_path_factory.mktemp("papers")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued = authority.issue_cert("other.example").private_key_and_cert_chain_pem
    issued.write_to_path(str(folder / "server.pem"))
    return folder


@pytest.fixture(scope="module")
def encrypting_nats(tmp_path_factory: pytest.TempPathFactory, papers: Path) -> Iterator[NatsServer]:
    file = papers / "server.pem"
    config = f'tls {{ cert_file: "{file}", key_file: "{file}" }}'
    with NatsServer(tmp_path_factory.mktemp("nats"), config) as server:
        yield server


@pytest.fixture(scope="module")
def encrypting_redis(papers: Path) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(papers / "server.pem")
    with Proxy(brokers.redis().port, context) as proxy:
        yield proxy.port


@pytest.mark.parametrize("scheme", ["nats", "tls", "redis", "rediss"])
def test_a_port_where_nobody_listens(scheme: str) -> None:
    assert "cannot be reached: nobody listens there." in connection_error(
        f"{scheme}://127.0.0.1:{free_port()}"
    )


@pytest.mark.parametrize("scheme", ["nats", "redis"])
def test_a_name_that_is_not_known(scheme: str) -> None:
    assert "its name is not known" in connection_error(f"{scheme}://no-such-host.invalid")


@pytest.mark.parametrize("host", ["a..b", ".", "x" * 64, "ä" * 60])
def test_what_can_be_no_name(host: str) -> None:
    with pytest.raises(AddressError, match="is no name: allowed are"):
        read_address(f"nats://h,{host}:4222")


@pytest.mark.parametrize(
    ("scheme", "words", "expected"),
    [
        ("nats", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as a NATS server does"),
        ("nats", b"INFO {no json\r\n", "does not answer as a NATS server does"),
        ("nats", b"INFO " + b"[" * 5_000 + b"\r\n", "does not answer as a NATS server does"),
        ("redis", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as Redis does"),
        ("redis", b"-WEIRD what is this\r\n", "answers with the error WEIRD"),
        ("redis", b"-Strange words\r\n", "answers with the error ERR"),
        ("redis", b"-ERR max number of clients reached\r\n", "as many connections as it allows"),
    ],
)
def test_somebody_else_who_answers(scheme: str, words: bytes, expected: str) -> None:
    with speaking(words, greets=scheme == "nats") as port:
        assert expected in connection_error(f"{scheme}://127.0.0.1:{port}")


def test_a_wrong_password(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", 'authorization { user: "ada", password: "right" }') as nats,
        RedisServer(tmp_path / "redis", "--requirepass", "right") as redis,
    ):
        places = [f"nats://{{}}127.0.0.1:{nats.port}", f"redis://{{}}127.0.0.1:{redis.port}"]
        for place in places:
            for given in ("ada:wrong@", ""):
                text = connection_error(place.format(given))
                assert "refuses these credentials" in text
                assert "wrong@" not in text


def test_tls_to_a_port_that_does_not_encrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SECONDS", 0.3)  # it waits for the end of a line
    assert "does not encrypt" in connection_error(brokers.nats().url.replace("nats://", "tls://"))
    assert "If it does not encrypt, say redis://." in connection_error(
        f"rediss://127.0.0.1:{brokers.redis().port}"
    )


def test_plain_words_to_a_port_that_encrypts(
    encrypting_nats: NatsServer, encrypting_redis: int
) -> None:
    assert "is not of an authority that is trusted" in connection_error(encrypting_nats.url)
    text = connection_error(f"redis://127.0.0.1:{encrypting_redis}")
    assert "does not answer as Redis does" in text or "broken off" in text


@pytest.mark.parametrize("scheme", ["tls", "rediss"])
def test_a_certificate_that_cannot_be_trusted(
    encrypting_nats: NatsServer, encrypting_redis: int, papers: Path, scheme: str
) -> None:
    port = encrypting_nats.port if scheme == "tls" else encrypting_redis
    address = f"{scheme}://127.0.0.1:{port}"
    assert "certificate is not of an authority that is trusted" in connection_error(address)
    known = f"{address}?ca={papers / 'ca.pem'}"
    assert "certificate is for another name" in connection_error(known)


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_says_in_its_status_why_the_log_is_away(kind: str, tmp_path: Path) -> None:
    with (
        broker(kind, tmp_path / kind) as engine,
        Site(tmp_path, address=address_at(engine.url)) as site,
    ):
        node = site.node()
        engine.kill()
        until(lambda: "nobody listens there" in (lost(node)["problem"] or ""))
        connection_error = [lost(node)["problem"], post(node, "set", key="k", value=1)["message"]]
        connection_error += node.stderr.read_text().splitlines()
    assert not [word for word in FOREIGN for text in connection_error if word in text], (
        connection_error
    )


@pytest.mark.parametrize("address", ["nats://127.0.0.1:{}/log", "redis://127.0.0.1:{}/0"])
def test_a_start_and_a_move_say_why_they_cannot_be(address: str, tmp_path: Path) -> None:
    where = address.format(free_port())
    said = refused_start(tmp_path / "new", "--engine", where)
    assert "cannot be reached: nobody listens there. This new data directory waits" in said
    shell = Shell(tmp_path / "old")
    shell.ok("set", "k", "1")
    done = shell("migrate", "--to", where)
    assert (done.status, done.out) == (4, "")
    assert "cannot be reached: nobody listens there." in done.err
    assert not [word for word in FOREIGN if word in said + done.err]


@pytest.mark.parametrize("scheme", ["tls", "rediss"])
def test_files_of_an_address_that_cannot_be_read_are_named(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "junk").write_text("junk")
    address, none, junk = (
        f"{scheme}://127.0.0.1:{free_port()}",
        tmp_path / "none",
        tmp_path / "junk",
    )
    missing, broken = "there is no such file or folder", "needed are PEM files that belong together"
    for options, text in (
        (f"ca={none}", f"The option ca, {none}, cannot be read: {missing}."),
        (f"ca={junk}", f"The option ca, {junk}, cannot be read: {broken}."),
        (
            f"cert={junk}&key={none}",
            f"The options cert and key, {junk} and {none}, cannot be read: {broken}.",
        ),
    ):
        assert connection_error(f"{address}?{options}") == text


def test_a_database_that_redis_does_not_have() -> None:
    text = connection_error(f"redis://127.0.0.1:{brokers.redis().port}/999")
    assert "cannot hold the log: it has no database of that number." in text


def exceptions(module: Any) -> list[type[Exception]]:
    found = [one for one in vars(module).values() if inspect.isclass(one)]
    return [one for one in found if issubclass(one, Exception)]


@pytest.mark.parametrize(
    "kind",
    [*exceptions(nats.errors), *exceptions(redis.exceptions), *exceptions(psutil), ssl.SSLError],
    ids=lambda kind: f"{kind.__module__}.{kind.__name__}",
)
def test_nothing_that_a_library_says_is_passed_on(kind: type[Exception]) -> None:
    error = kind.__new__(kind)
    error.args = ("strange words of xyz",)
    for tell in [reason, *([redis_reason] if kind.__module__ == "redis.exceptions" else [])]:
        text = tell(error)
        assert "xyz" not in text
        assert text[0].islower()
        assert not text.endswith(".")


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        ConnectionResetError(),
        TimeoutError(),
        OSError("xyz"),
    ],
)
def test_nothing_that_the_network_says_is_passed_on(error: OSError) -> None:
    assert not {"xyz", "service"} & set(reason(error).split())


def test_a_server_that_refuses_is_reported_by_its_number() -> None:
    known = Answer(error_={"code": 503, "err_code": 10047, "description": "xyz exceeded"})
    assert known.error == "its storage is full, or used up for this account"
    new = Answer(error_={"code": 400, "err_code": 19999, "description": "xyz"})
    assert new.error == "it refuses with error 19999"
