"""What Redis does before it acknowledges is reported as it is; and which credentials it takes."""

import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
import trustme

from signalbox.server.engines.engine_interface import AppendIndeterminate, LogConflict
from signalbox.server.model.errors import StoreError, Unavailable
from support.redis_logs import (
    OURS,
    Background,
    admin,
    flat,
    joined,
    log_at,
    transaction,
    transactions,
)
from support.redis_server import AT_ONCE, RedisServer
from support.tcp_proxy import Proxy

FILE: Final = ("--appendonly", "yes")
SECRET: Final = "s3cret-and-long"


@pytest.mark.parametrize(
    ("settings", "wait", "phrase", "is_durable"),
    [
        ([*FILE, "--appendfsync", "always"], "", "on disk before acknowledged", True),
        ([*FILE, "--appendfsync", "everysec"], "", "up to a second may be lost", False),
        ([*FILE, "--appendfsync", "no"], "", "what the system has not flushed may be lost", False),
        ([], "", "not durable: no append-only file", False),
        ([*FILE, "--appendfsync", "everysec"], "1,0", "on disk before acknowledged", True),
        ([*FILE, "--appendfsync", "always"], "0,0", "on disk before acknowledged", True),
        (
            [*FILE, "--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"],
            "",
            "may be lost while the server rewrites its file",
            False,
        ),
        (
            [*FILE, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"],
            "1,0",
            "the log may be evicted: maxmemory-policy is allkeys-lru",
            False,
        ),
        (
            [*FILE, "--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"],
            "1,0",
            "on disk before acknowledged",
            True,
        ),
        (
            [*FILE, "--appendfsync", "always", "--maxmemory", "100mb"],
            "",
            "on disk before acknowledged",
            True,
        ),
        (
            [*FILE, "--appendfsync", "always", "--rename-command", "CONFIG", ""],
            "",
            "when it is on disk is not known",
            False,
        ),
    ],
)
def test_durability_follows_the_servers_settings(
    tmp_path: Path, settings: list[str], wait: str, phrase: str, is_durable: bool
) -> None:
    options = f"&wait={wait}" if wait else ""
    with (
        RedisServer(tmp_path, *settings) as server,
        closing(log_at(server.url, options=options)) as log,
    ):
        log_status = log.connect(OURS)
    assert (log_status.durability, log_status.is_durable) == (phrase, is_durable)


def test_with_replicas_durability_names_their_number(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path / "master", *FILE, *AT_ONCE) as master,
        RedisServer(tmp_path / "one") as one,
        RedisServer(tmp_path / "two") as two,
    ):
        told = {}
        for wait, replica in (("0,1", one), ("1,2", two)):
            replica.replicates(master)
            with closing(log_at(master.url, options=f"&wait={wait}")) as log:
                log_status = log.connect(OURS)
            told[wait] = (log_status.durability, log_status.is_durable)
    assert told == {
        "0,1": ("a replica before acknowledged", True),
        "1,2": ("on disk and 2 replicas before acknowledged", True),
    }


@pytest.mark.parametrize(
    ("settings", "wait"),
    [([], "1,0"), ([*FILE, "--appendfsync", "no"], "1,0"), (FILE, "2,0")],
    ids=["no file", "never flushed", "more than one disk"],
)
def test_an_impossible_wait_is_refused_at_once(
    tmp_path: Path, settings: list[str], wait: str
) -> None:
    with (
        RedisServer(tmp_path, *settings) as server,
        closing(log_at(server.url, options=f"&wait={wait}")) as log,
        pytest.raises(StoreError, match=f"wait={wait}"),
    ):
        log.connect(OURS)


def test_with_wait_kill_9_behind_the_answer_loses_nothing(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path, *FILE, "--appendfsync", "everysec") as server,
        joined(server.url, options="&wait=1,0") as log,
    ):
        log.append(transactions(1, 3), 0)
        server.kill()
        server.start()
        assert log.connect(OURS).revision == 3


def test_an_append_that_a_replica_lacks_is_unsettled_until_the_replica_has_it(
    tmp_path: Path,
) -> None:
    with (
        RedisServer(tmp_path / "master", *FILE, *AT_ONCE) as master,
        RedisServer(tmp_path / "replica", *FILE) as replica,
    ):
        replica.replicates(master)
        with joined(master.url, options="&wait=0,1") as log:
            with admin(replica) as at:
                at.replicaof("NO", "ONE")
            with pytest.raises(AppendIndeterminate):
                log.append([transaction(1)], 0)
            with pytest.raises(LogConflict):
                log.append([transaction(1)], 0)
            with pytest.raises(Unavailable):
                log.last_revision()
            replica.replicates(master)
            assert log.last_revision() == 1
            log.append([transaction(2)], 1)


def test_an_append_is_indeterminate_if_the_server_stops_its_file_meanwhile(
    tmp_path: Path,
) -> None:
    with (
        RedisServer(tmp_path, *FILE) as server,
        admin(server) as at,
        joined(server.url, options="&wait=1,0") as log,
    ):
        at.config_set("appendonly", "no")
        with pytest.raises(AppendIndeterminate):
            log.append([transaction(1)], 0)
        assert log.read(0, 1) == [transaction(1)]


# Who is let in.


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path, "--requirepass", SECRET) as made:
        yield made


def test_only_the_right_password_is_accepted_and_none_is_repeated(guarded: RedisServer) -> None:
    place = f"127.0.0.1:{guarded.port}"
    for wrong in ("", ":wrong-and-long@", "nobody:wrong-and-long@"):
        with closing(log_at(f"redis://{wrong}{place}")) as log:
            with pytest.raises(StoreError, match="credentials") as caught:
                log.connect(OURS)
            assert place in str(caught.value)
            assert "wrong-and-long" not in str(caught.value)
    for right in (f":{SECRET}@", f"default:{SECRET}@"):
        with joined(f"redis://{right}{place}") as log:
            assert log.last_revision() == 0
            assert SECRET not in log.address


def test_missing_permissions_are_reported(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, admin(server) as at:
        at.acl_setuser("joe", enabled=True, passwords=[f"+{SECRET}"], keys="*")
        with (
            closing(log_at(f"redis://joe:{SECRET}@127.0.0.1:{server.port}")) as log,
            pytest.raises(StoreError, match="permissions"),
        ):
            log.connect(OURS)


def test_the_least_permissions_are_enough(tmp_path: Path) -> None:
    needed = (
        "info eval hget hset exists xinfo|stream xadd xread xrange "
        "publish subscribe unsubscribe ping waitaof"
    ).split()
    with RedisServer(tmp_path, *FILE) as server, admin(server) as at:
        at.acl_setuser(
            "log",
            enabled=True,
            passwords=[f"+{SECRET}"],
            keys=["{team}:*"],
            channels=["{team}:*"],
            commands=[f"+{each}" for each in needed],
        )
        with joined(f"redis://log:{SECRET}@127.0.0.1:{server.port}", "team", "&wait=1,0") as log:
            log.append(transactions(1, 3), 0)
            assert [one.revision for one in next(log.follow(0))] == [1, 2, 3]
            log.publish(b"x")


# Encrypted.


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def encrypted(tmp_path: Path, authority: trustme.CA) -> Iterator[str]:
    """The address of a server that wants a certificate of its clients, too."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    mine = authority.issue_cert("client")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    with RedisServer(tmp_path) as server, Proxy(server.port, tls) as proxy:
        yield f"rediss://localhost:{proxy.port}"


def test_an_encrypted_log_is_joined_with_certificates(tmp_path: Path, encrypted: str) -> None:
    given = "".join(f"&{name}={tmp_path}/{name}.pem" for name in ("ca", "cert", "key"))
    with joined(encrypted, options=given) as log:
        log.append(transactions(1, 3), 0)
        with Background(log.follow(0)) as follower, Background(log.subscribe()) as hearer:
            follower.until(lambda pieces: flat(pieces) == [1, 2, 3])
            log.close()
            for each in (follower, hearer):
                assert isinstance(each.error(), Unavailable)


def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path, encrypted: str) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with (
        closing(log_at(encrypted, options=f"&ca={tmp_path}/other.pem")) as log,
        pytest.raises(Unavailable, match="not of an authority that is trusted"),
    ):
        log.connect(OURS)
