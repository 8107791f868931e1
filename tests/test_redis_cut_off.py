"""A Redis that does not decide any more is not believed, and one that is no store is not joined."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.ui import views
from support.harness import Server
from support.nodes import (
    HALF,
    TOO_LARGE,
    Site,
    address_at,
    log_status,
    lost,
    post,
    reach,
    refused_start,
    regained,
    status,
    until,
)
from support.ports import free_port
from support.redis_logs import OURS, admin, joined, log_at, transaction
from support.redis_server import AT_ONCE, DURABLE, RedisServer

FILE: Final = (*DURABLE, *AT_ONCE)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A master and its replica."""
    with (
        RedisServer(tmp_path / "one", *FILE) as one,
        RedisServer(tmp_path / "other", *FILE) as other,
    ):
        other.replicates(one)
        yield one, other


def promote(replica: RedisServer) -> None:
    with admin(replica) as at:
        at.replicaof("NO", "ONE")


def test_the_end_of_a_log_is_confirmed_by_the_replicas_that_wait_asks_for(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    master, replica = pair
    with joined(master.url, options="&wait=0,1") as log:
        log.append([transaction(1)], 0)
        assert log.confirmed_revision() == 1
        promote(replica)
        with pytest.raises(Unavailable, match="not yet on as many disks as wait= asks"):
            log.confirmed_revision()
    with (
        closing(log_at(master.url, options="&wait=0,1")) as log,
        pytest.raises(Unavailable, match=r"may be cut off: 0 replicas .* and 1 must have"),
    ):
        log.connect(None)


@pytest.mark.parametrize("wait", ["", "&wait=1,0"], ids=["no wait", "wait"])
def test_a_master_that_has_become_a_replica_confirms_nothing(
    pair: tuple[RedisServer, RedisServer], wait: str
) -> None:
    master, replica = pair
    with joined(master.url, options=wait) as log:
        log.append([transaction(1)], 0)
        replica.catches_up(master)
        promote(replica)
        master.replicates(replica)
        with pytest.raises(Unavailable, match="it is a replica"):
            log.confirmed_revision()


def test_a_master_without_the_replicas_of_its_own_settings_confirms_nothing(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    master, replica = pair
    with admin(master) as at, joined(master.url) as log:
        at.config_set("min-replicas-to-write", 1)
        log.append([transaction(1)], 0)
        assert log.confirmed_revision() == 1
        promote(replica)
        with pytest.raises(Unavailable, match="fewer replicas than its min-replicas-to-write"):
            log.confirmed_revision()
        with pytest.raises(Unavailable, match="may be cut off"):
            for _ in log.follow(1):
                pass


def test_a_node_at_an_old_master_reports_that_and_rejects_by_no_old_state(
    pair: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    _, new = pair
    hosts = [f"redis://127.0.0.1:{server.port}" for server in pair]
    with (
        RedisServer(tmp_path / "third", *FILE) as third,
        Site(tmp_path, address=f"{address_at(hosts[0])}&wait=1,1") as site,
    ):
        left = site.node()
        left.set("large", HALF)
        last = left.set("x", "before")["revision"]
        other = site.node(address=f"{address_at(hosts[0])}&wait=1,0")
        reach(last, other)
        assert other.stop() == 0
        promote(new)
        third.replicates(new)
        moved = Server(other.data_dir, "--engine", f"{address_at(hosts[1])}&wait=1,1")
        try:
            last = moved.set("x", "after")["revision"]
            for fields in (
                {"type": "set", "value": "before"},
                {"type": "set", "value": "mine", "expect": {"revision": last}},
                {"type": "set", "value": "before", "dry_run": True},
                {"type": "set", "value": "mine", "expect": {"revision": last}, "dry_run": True},
                TOO_LARGE,
            ):
                told = left.post({"key": "x", **fields}).json()
                assert (told["status"], told["code"]) == ("rejected", "unavailable"), told
            assert "may be cut off" in lost(left)["problem"]
        finally:
            moved.kill()


# How durable it is, which is read again and again.


def test_a_log_that_is_durable_no_longer_is_reported_and_refused_if_required(
    tmp_path: Path,
) -> None:
    with (
        RedisServer(tmp_path / "redis", *FILE) as server,
        admin(server) as at,
        Site(tmp_path, address=address_at(server.url)) as site,
    ):
        strict, lenient = site.node("--require-durable"), site.node()
        strict.set("k", 1)
        at.config_set("appendonly", "no")
        until(lambda: not log_status(strict)["durable"] and not log_status(lenient)["durable"])
        told = post(strict, "set", key="k", value=2)
        assert (told["status"], told["code"]) == ("rejected", "unavailable")
        assert "not durable: no append-only file" in told["message"]
        assert "--require-durable" in str(log_status(strict)["problem"])
        assert log_status(strict)["connected"] is True
        last = lenient.set("k", 3)["revision"]
        reach(last, strict)
        told = status(strict)
        assert told["durability"].startswith("not durable")
        foot = views.status_bar(engine=told, revision=last, keys=1, rate=None)
        assert "<b>Nothing is written.</b> The log at" in foot
        at.config_set("appendonly", "yes")
        until(lambda: log_status(strict)["durable"])
        assert strict.set("k", 4)["revision"] == last + 1
        assert log_status(strict)["problem"] is None


@pytest.mark.parametrize(
    ("end", "settings"),
    [
        (RedisServer.stop, ("--appendonly", "yes")),
        (RedisServer.kill, ("--appendonly", "yes", "--appendfsync", "no")),
    ],
    ids=["stopped", "killed"],
)
def test_a_server_that_returns_less_durable_is_followed_but_not_written(
    tmp_path: Path, end: Callable[[RedisServer], None], settings: tuple[str, ...]
) -> None:
    with (
        RedisServer(tmp_path / "redis", *FILE) as server,
        Site(tmp_path, address=address_at(server.url)) as site,
    ):
        node = site.node("--require-durable")
        node.set("k", 1)
        end(server)
        lost(node)
        with RedisServer(server.folder, *settings, port=server.port):
            regained(node)
            until(lambda: "is not durable" in str(log_status(node)["problem"]))
            assert log_status(node)["durable"] is False
            assert post(node, "set", key="k", value=2)["code"] == "unavailable"
            assert node.value("k") == 1
            assert node.stop() == 0
            assert "--require-durable" in refused_start(node.data_dir, "--require-durable")


# What is no store, or only a part of one.


def test_a_sentinel_is_recognized(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis") as watched:
        config = tmp_path / "sentinel.conf"
        config.write_text(f"sentinel monitor team 127.0.0.1 {watched.port} 1\n")
        with (
            RedisServer(tmp_path / "sentinel", first=(str(config), "--sentinel")) as sentinel,
            closing(log_at(sentinel.url)) as log,
            pytest.raises(StoreError, match=r"is a Sentinel, which holds no data\. Name"),
        ):
            log.connect(OURS)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Two servers, each with half of the slots."""
    ports = [free_port() for _ in range(2)]
    settings = "--appendonly", "yes", "--cluster-enabled", "yes", "--cluster-port"
    servers = [
        RedisServer(tmp_path / f"c{port}", *settings, str(free_port()), port=port) for port in ports
    ]
    try:
        with admin(servers[0]) as one, admin(servers[1]) as other:
            one.execute_command("CLUSTER ADDSLOTSRANGE", 0, 8191)
            other.execute_command("CLUSTER ADDSLOTSRANGE", 8192, 16383)
            bus = other.config_get("cluster-port")["cluster-port"]
            one.execute_command("CLUSTER MEET", "127.0.0.1", servers[1].port, bus)
            until(lambda: is_whole(one) and is_whole(other))
        yield servers
    finally:
        for server in servers:
            server.kill()


def is_whole(at: Any) -> bool:
    return b"cluster_state:ok" in at.execute_command("CLUSTER", "INFO")


def test_of_a_cluster_the_server_that_has_the_log_is_found_where_all_are_named(
    cluster: list[RedisServer],
) -> None:
    answers = []
    for server in cluster:
        try:
            with joined(server.url) as log:
                log.append([transaction(1)], 0)
        except Unavailable as error:
            answers.append(str(error))
    (said,) = answers
    assert "it is one server of a Redis Cluster" in said
    assert "name all servers of the Cluster in the address" in said
    for order in (cluster, cluster[::-1]):
        with joined("redis://" + ",".join(f"127.0.0.1:{one.port}" for one in order)) as log:
            assert log.confirmed_revision() == 1
            assert next(log.follow(0)) == [transaction(1)]
