"""A Redis master is killed and its replica promoted: what `wait=` has accepted is still there."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from support.harness import Server
from support.nodes import (
    Site,
    address_at,
    assert_equal_when_ended,
    log_status,
    lost,
    post,
    reach,
    refused_start,
    regained,
    until,
)
from support.redis_server import AT_ONCE, DURABLE, RedisServer

FILE: Final = (*DURABLE, *AT_ONCE)


@pytest.fixture
def master(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "master", *FILE) as server:
        yield server


@pytest.fixture
def replica(tmp_path: Path, master: RedisServer) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "replica", *FILE) as server:
        server.replicates(master)
        yield server


def site_at(folder: Path, wait: str, *servers: RedisServer) -> Site:
    """On whichever of them is the master."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return Site(folder, address=f"{address_at(f'redis://{hosts}')}&wait={wait}")


def fail_over(master: RedisServer, replica: RedisServer, *nodes: Server) -> None:
    """The master is killed, the nodes notice, the replica is promoted."""
    master.kill()
    for node in nodes:
        lost(node)
    with closing(replica.client()) as client:
        client.replicaof("NO", "ONE")


def test_nodes_go_on_at_the_replica_that_was_promoted(
    tmp_path: Path, master: RedisServer, replica: RedisServer
) -> None:
    with site_at(tmp_path, "1,1", master, replica) as site:
        one, other = site.nodes(2)
        assert log_status(one)["durable"]
        for number in range(1, 4):
            one.set("k", number)
        reach(3, other)
        fail_over(master, replica, one, other)
        assert [node.value("k") for node in (one, other)] == [3, 3]
        # Nobody replicates from the new master: what `wait=1,1` asks for is not there.
        cut_off = f"{replica.port}/0?stream=store may be cut off: 0 replicas"
        until(lambda: cut_off in lost(one)["problem"])
        refused = post(one, "set", key="k", value=4, id="again")
        assert (refused["status"], refused["code"]) == ("rejected", "unavailable")
        with RedisServer(master.folder, *FILE, port=master.port) as old:
            old.replicates(replica)
            for node in (one, other):
                regained(node)
            again = post(one, "set", key="k", value=4, id="again")
            assert (again["status"], again["revision"]) == ("accepted", 4)
            assert post(other, "set", key="k", value=5)["revision"] == 5
            reach(5, one)
            assert_equal_when_ended(one, other)


def test_a_master_that_comes_back_with_an_older_log_is_not_followed(
    tmp_path: Path, master: RedisServer, replica: RedisServer
) -> None:
    with site_at(tmp_path, "1,0", master, replica) as site:
        node = site.node()
        node.set("k", 1)
        replica.catches_up(master)
        fail_over(master, replica, node)
        regained(node)
        assert node.set("k", 2)["revision"] == 2
        master.start()
        assert node.set("k", 3)["revision"] == 3
        assert node.stop() == 0
        said = refused_start(node.data_dir)
        assert "has lost what it had: it ends at revision 1, and this replica has 3" in said
        with closing(master.client()) as client:
            client.replicaof("127.0.0.1", replica.port)
        assert site.again(node).set("k", 4)["revision"] == 4
