"""Engines that are encrypted and let in only whom they know; nothing secret is ever shown."""

import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import trustme

from signalbox.server.engines.address import read_address
from signalbox.server.engines.shared_log import LogMetadata, shared_log
from signalbox.server.model.errors import StoreError, Unavailable
from support.nats_server import NatsServer
from support.raw_http import Client, serving
from support.redis_server import RedisServer
from support.tcp_proxy import Proxy

SECRET: Final = "s3cret-word"
USER: Final = "lovelace"
"""No number in hexadecimal has it."""
WRONG: Final = "wr0ng-word"


class Papers(NamedTuple):
    """Certificates as files: of the authority, the server, and a client."""

    authority: Path
    server: Path
    client: Path


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder, authority = tmp_path_factory.mktemp("papers"), trustme.CA()
    found = Papers(folder / "ca.pem", folder / "server.pem", folder / "client.pem")
    authority.cert_pem.write_to_path(str(found.authority))
    server = authority.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(str(found.server))
    client = authority.issue_cert("client.example")
    client.private_key_and_cert_chain_pem.write_to_path(str(found.client))
    return found


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[str]:
    """Where it is, without the scheme. It wants a client's certificate and a password."""
    tls = (
        f'tls {{ cert_file: "{papers.server}", key_file: "{papers.server}", '
        f'ca_file: "{papers.authority}", verify: true }}\n'
        f'authorization {{ user: "{USER}", password: "{SECRET}" }}'
    )
    with NatsServer(tmp_path_factory.mktemp("nats"), tls) as server:
        yield f"127.0.0.1:{server.port}/safe"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    (folder / "users").write_text(f"user {USER} on >{SECRET} ~* &* +@all\nuser default off\n")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=papers.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(papers.server)
    # The wheel's server has no TLS: somebody in front of it has, as stunnel would be.
    with (
        RedisServer(folder, "--aclfile", str(folder / "users")) as server,
        Proxy(server.port, context) as proxy,
    ):
        yield f"127.0.0.1:{proxy.port}/0"


@pytest.fixture(params=["nats", "redis"])
def place(request: pytest.FixtureRequest) -> str:
    """The address of an encrypted engine, with `{}` where user and password go."""
    where = request.getfixturevalue(request.param)
    return f"{'tls' if request.param == 'nats' else 'rediss'}://{{}}@{where}"


def options(papers: Papers, *names: str) -> str:
    given = {"ca": papers.authority, "cert": papers.client, "key": papers.client}
    return "?" + "&".join(f"{name}={given[name]}" for name in names)


def test_a_node_writes_and_follows_over_an_encrypted_connection(
    place: str, papers: Papers, tmp_path: Path
) -> None:
    address = place.format(f"{USER}:{SECRET}") + options(papers, "ca", "cert", "key")
    with (
        serving(tmp_path / "one", "--engine", address) as one,
        serving(tmp_path / "two", "--engine", address) as two,
        two.stream() as stream,
        Client(one, "read") as client,
    ):
        revision = one.set("k", "over there")["revision"]
        while (event := stream.until("change")[-1]).data["revision"] != revision:
            pass
        assert event.data["changes"] == [{"key": "k", "value": "over there"}]
        redacted = client.get("status").body.decode()
        assert SECRET not in redacted
        assert USER not in redacted


@pytest.mark.parametrize(
    ("user", "names", "expected"),
    [
        (f"{USER}:{WRONG}", ("ca", "cert", "key"), StoreError),
        (f"eve:{SECRET}", ("ca", "cert", "key"), StoreError),
        (f"{USER}:{SECRET}", (), (StoreError, Unavailable)),
        (f"{USER}:{SECRET}", ("ca",), (StoreError, Unavailable)),
    ],
    ids=["wrong password", "unknown user", "unknown authority", "no certificate"],
)
def test_wrong_credentials_are_refused_and_no_secret_is_repeated(
    place: str, papers: Papers, user: str, names: tuple[str, ...], expected: type[Exception]
) -> None:
    address = read_address(place.format(user) + options(papers, *names))
    with closing(shared_log(address)) as log, pytest.raises(expected) as caught:
        log.connect(LogMetadata("s"))
    said = str(caught.value)
    assert address.redacted in said
    assert not [word for word in (SECRET, WRONG) if word in said]


def test_a_start_with_wrong_credentials_ends_with_one_line_and_exit_4(
    place: str, papers: Papers, tmp_path: Path
) -> None:
    address = place.format(f"{USER}:{WRONG}") + options(papers, "ca", "cert", "key")
    with pytest.raises(AssertionError) as caught, serving(tmp_path / "s", "--engine", address):
        pass
    said = str(caught.value)
    assert "credentials" in said
    assert WRONG not in said
    assert "Traceback" not in said
