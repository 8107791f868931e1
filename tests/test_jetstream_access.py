"""Coming to a log in NATS JetStream: founding, credentials, encryption, how durable it is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
import trustme

from conftest import StartServer
from signalbox.server.engines.engine_interface import AppendIndeterminate
from signalbox.server.engines.jetstream import durability
from signalbox.server.engines.shared_log import LogMetadata
from signalbox.server.model.errors import StoreError, Unavailable
from support import brokers
from support.brokers import new_log
from support.jetstream_logs import (
    FOUNDATION,
    SECONDS,
    Logs,
    asked,
    fake_server,
    in_parallel,
    made,
    stream,
)
from support.nats_credentials import Claims
from support.nats_server import NatsServer
from support.nodes import log_status, until
from support.ports import free_port

PASSWORD = "open-sesame"
USERS = f"""
accounts {{
  SYS {{ users: [{{user: s, password: s}}], exports: [{{service: "$SYS.REQ.SERVER.PING.JSZ"}}] }}
  APP {{
    jetstream: enabled
    users: [
      {{user: ada, password: "{PASSWORD}"}}
      {{user: ron, password: r, permissions: {{publish: ["$JS.API.>"]}}}}
      {{user: kim, password: k, permissions: {{publish: ["Log.>", "$JS.API.STREAM.>"]}}}}
      {{user: eve, password: e, permissions: {{publish: ["$JS.API.STREAM.INFO.>"]}}}}
    ]
    imports: [{{service: {{account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ"}}}}]
  }}
  BARE {{ users: [{{user: bob, password: b}}] }}
}}
system_account: SYS
"""
DAMAGE: dict[str, dict[str, Any]] = {
    "no metadata of ours": {"metadata": {}},
    "damaged metadata": {"metadata": {"signalbox.foundation": "{"}},
    "old messages expire": {"max_age": 10**12},
    "a subject keeps few messages": {"max_msgs_per_subject": 5},
    "old messages make room": {"max_msgs": 5, "discard": "old"},
    "another subject": {"subjects": ["strange.>"]},
    "messages go when they were read": {"retention": "interest"},
}


@pytest.fixture
def logs() -> Iterator[Logs]:
    opened = Logs()
    yield opened
    opened.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[str]:
    """Host and port of a server that wants credentials."""
    with NatsServer(tmp_path / "nats", USERS) as started:
        yield f"127.0.0.1:{started.port}"


# Founding.


def test_of_concurrent_creations_all_get_the_metadata_of_the_winner(logs: Logs) -> None:
    address = new_log("nats")
    founding = [logs.away(address) for _ in range(5)]
    standings = in_parallel(
        *[
            lambda number=number, log=log: log.connect(LogMetadata(f"store-{number}"))
            for number, log in enumerate(founding)
        ]
    )
    assert len({one.metadata.store for one in standings}) == 1
    assert logs.away(address).connect(None).metadata == standings[0].metadata


def test_metadata_is_read_as_it_was_written(logs: Logs) -> None:
    address = new_log("nats")
    logs.at(address)
    logs.at(address, None)
    assert logs.status is not None
    assert (logs.status.metadata, logs.status.revision) == (FOUNDATION, 0)


def test_without_a_foundation_nothing_is_founded(logs: Logs) -> None:
    address = new_log("nats")
    for _ in range(2):
        with pytest.raises(StoreError):
            logs.at(address, None)


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_a_stream_that_cannot_be_a_log_is_refused(logs: Logs, damage: str) -> None:
    name = damage.replace(" ", "-")
    stream(brokers.nats().port, name, **DAMAGE[damage])
    with pytest.raises(StoreError):
        logs.at(f"{brokers.nats().url}/{name}")
    assert asked(brokers.nats().port, f"STREAM.DELETE.{name}")["success"]


def test_a_log_that_has_lost_its_beginning_is_refused(logs: Logs) -> None:
    port = brokers.nats().port
    stream(port, "beheaded")
    log = logs.at(f"{brokers.nats().url}/beheaded")
    log.append(made(1, 3), 0)
    assert asked(port, "STREAM.PURGE.beheaded", seq=2)["success"]
    with pytest.raises(StoreError, match="lost"):
        log.connect(None)


def test_a_transaction_never_gets_into_a_log_that_replaced_its_own(logs: Logs) -> None:
    port, address = brokers.nats().port, f"{brokers.nats().url}/taken-over"
    before = logs.at(address)
    before.append(made(1, 3), 0)
    assert asked(port, "STREAM.DELETE.taken-over")["success"]
    other = logs.at(address, LogMetadata("store-b"))
    other.append(made(1, 3), 0)
    with pytest.raises((Unavailable, AppendIndeterminate)):
        before.append(made(4, 1), 3)
    assert other.last_revision() == 3


def test_a_subject_of_another_stream_is_reported(logs: Logs) -> None:
    stream(brokers.nats().port, "taker", subjects=["taken.log.>"])
    with pytest.raises(StoreError, match="overlap"):
        logs.at(f"{brokers.nats().url}/taken")


def test_three_copies_on_one_server_are_refused(logs: Logs) -> None:
    with pytest.raises(StoreError, match="replicas"):
        logs.at(f"{new_log('nats')}?replicas=3")


# Who is let in.


def test_the_right_password_lets_in_and_others_are_refused_without_naming_them(
    logs: Logs, guarded: str
) -> None:
    logs.at(f"nats://ada:{PASSWORD}@{guarded}/log")
    for userinfo in ("ada:wrong-one@", "token-only@", ""):
        with pytest.raises(StoreError, match="credentials") as caught:
            logs.at(f"nats://{userinfo}{guarded}/log")
        assert "wrong-one" not in str(caught.value)
        assert "token-only" not in str(caught.value)


def test_a_missing_permission_to_write_is_reported(logs: Logs, guarded: str) -> None:
    with pytest.raises(StoreError, match="ermission"):
        logs.at(f"nats://eve:e@{guarded}/log")


def test_a_missing_permission_to_publish_is_reported_on_append(logs: Logs, guarded: str) -> None:
    logs.at(f"nats://ada:{PASSWORD}@{guarded}/Log").append(made(1), 0)
    reader = logs.at(f"nats://ron:r@{guarded}/Log")
    assert reader.read(0, 9) == made(1)
    for size in (1, 3, 200):
        with pytest.raises(Unavailable, match="not let this user write"):
            reader.append(made(2, size), 1)


def test_a_node_without_permission_to_follow_reports_that_and_is_never_current(
    guarded: str, server: StartServer
) -> None:
    node = server("--engine", f"nats://kim:k@{guarded}/Log")
    until(lambda: "CONSUMER.CREATE.Log" in (log_status(node)["problem"] or ""))
    assert node.set("k", 1)["revision"] == 1
    assert not log_status(node)["connected"]


def test_an_account_without_jetstream_is_reported(logs: Logs, guarded: str) -> None:
    with pytest.raises(StoreError, match="JetStream"):
        logs.at(f"nats://bob:b@{guarded}/log")


def test_a_token_lets_in(logs: Logs, tmp_path: Path) -> None:
    with NatsServer(tmp_path, f'authorization {{ token: "{PASSWORD}" }}') as server:
        logs.at(f"nats://{PASSWORD}@127.0.0.1:{server.port}/log")
        logs.close()


def test_a_credentials_file_lets_in_and_one_of_another_operator_does_not(
    logs: Logs, tmp_path: Path
) -> None:
    claims = Claims()
    with NatsServer(tmp_path / "nats", claims.config) as server:
        address = f"nats://127.0.0.1:{server.port}/log"
        log = logs.at(f"{address}?creds={claims.write(tmp_path / 'ours.creds')}")
        log.append(made(1), 0)
        assert log.read(0, 9) == made(1)
        foreign = Claims().write(tmp_path / "foreign.creds")
        for creds in ("", f"?creds={foreign}"):
            with pytest.raises(StoreError, match="credentials"):
                logs.at(address + creds)
        logs.close()


@pytest.mark.parametrize("option", ["creds", "ca"])
def test_a_file_that_is_not_there_is_named_on_connecting(logs: Logs, option: str) -> None:
    address = new_log("nats").replace("nats://", "tls://" if option == "ca" else "nats://")
    with pytest.raises(StoreError, match=option):
        logs.at(f"{address}?{option}=/nowhere/file")


# Encryption.


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    made_up = trustme.CA()
    made_up.cert_pem.write_to_path(tmp_path / "ca.pem")
    for name in ("127.0.0.1", "client@example.org"):
        made_up.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(tmp_path / name)
    return made_up


def encrypting(folder: Path, more: str = "") -> NatsServer:
    files = f'cert_file: "{folder / "127.0.0.1"}", key_file: "{folder / "127.0.0.1"}"'
    return NatsServer(folder / "nats", f"tls {{ {files} {more} }}")


def test_an_encrypted_log_wants_its_authority_known(
    logs: Logs, ca: trustme.CA, tmp_path: Path
) -> None:
    with encrypting(tmp_path) as server:
        address = f"tls://127.0.0.1:{server.port}/log"
        log = logs.at(f"{address}?ca={tmp_path / 'ca.pem'}")
        log.append(made(1), 0)
        assert log.read(0, 9) == made(1)
        with pytest.raises(StoreError, match="trusted"):
            logs.at(address)
        logs.close()


def test_a_server_that_wants_a_certificate_is_shown_one(
    logs: Logs, ca: trustme.CA, tmp_path: Path
) -> None:
    authority, own = tmp_path / "ca.pem", tmp_path / "client@example.org"
    with encrypting(tmp_path, f', ca_file: "{authority}", verify: true') as server:
        address = f"tls://127.0.0.1:{server.port}/log?ca={authority}"
        with pytest.raises((StoreError, Unavailable)):
            logs.at(address)
        logs.at(f"{address}&cert={own}&key={own}").append(made(1), 0)
        logs.close()


@pytest.mark.parametrize("userinfo", [f"ada:{PASSWORD}@", f"{PASSWORD}@", ""])
def test_with_tls_no_secret_is_sent_unencrypted(logs: Logs, userinfo: str) -> None:
    greeting = b'INFO {"server_id":"x","version":"2.15.0","headers":true,"max_payload":9}\r\n'
    with fake_server(greeting) as (port, heard):
        with pytest.raises(StoreError, match="encrypt"):
            logs.at(f"tls://{userinfo}127.0.0.1:{port}/log")
        assert PASSWORD.encode() not in b"".join(heard)


# Where it is, and how safe.


def test_an_older_server_is_refused_by_its_version(logs: Logs) -> None:
    greeting = b'INFO {"server_id":"x","version":"2.10.29","headers":true,"max_payload":9}\r\n'
    with (
        fake_server(greeting) as (port, _),
        pytest.raises(StoreError, match=r"is nats-server 2\.10: Signalbox needs 2\.11 or newer"),
    ):
        logs.at(f"nats://127.0.0.1:{port}/log")


def test_of_several_servers_the_one_that_answers_is_taken(logs: Logs) -> None:
    logs.at(f"nats://127.0.0.1:{free_port()},127.0.0.1:{brokers.nats().port}/several")


def test_a_server_that_does_not_answer_is_unavailable_within_seconds(logs: Logs) -> None:
    with fake_server(b"") as (silent, _), gevent.Timeout(SECONDS):
        for port in (free_port(), silent):
            with pytest.raises(Unavailable):
                logs.at(f"nats://127.0.0.1:{port}/log")


def test_one_server_is_not_durable_unless_it_is_known_to_flush_first(
    logs: Logs, guarded: str, tmp_path: Path
) -> None:
    def log_status(address: str) -> tuple[str, bool]:
        logs.at(address)
        assert logs.status is not None
        return logs.status.durability, logs.status.is_durable

    assert log_status(new_log("nats")) == (
        "on one server, not known to be on its disk",
        False,
    )
    late = "on one server, on its disk only some time later"
    assert log_status(f"nats://ada:{PASSWORD}@{guarded}/log") == (late, False)
    config = f'jetstream {{ store_dir: "{tmp_path / "s"}", sync_interval: always }}\n{USERS}'
    with NatsServer(tmp_path / "sync", config) as server:
        address = f"nats://ada:{PASSWORD}@127.0.0.1:{server.port}/log"
        assert log_status(address) == ("on disk before acknowledged", True)
        logs.close()


def test_a_log_in_memory_is_not_durable(logs: Logs) -> None:
    stream(brokers.nats().port, "forgetful", storage="memory")
    logs.at(f"{brokers.nats().url}/forgetful")
    assert logs.status is not None
    assert (logs.status.durability, logs.status.is_durable) == (
        "in the memory of the server",
        False,
    )


@pytest.mark.parametrize(
    ("config", "is_durable"),
    [
        ({"storage": "file", "num_replicas": 3}, True),
        ({"storage": "file", "num_replicas": 2}, False),
        ({"storage": "memory", "num_replicas": 3}, False),
        ({"storage": "file", "num_replicas": 1, "persist_mode": "async"}, False),
    ],
)
def test_a_quorum_of_disks_is_durable(config: dict[str, Any], is_durable: bool) -> None:
    assert durability.durability(config, None)[1] is is_durable
