"""Three NATS servers hold the log: one of them may die at any moment, also the one that decides."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.nats_server import NatsCluster, NatsServer
from support.nodes import (
    ELECTION_SECONDS,
    Site,
    assert_equal_when_ended,
    log_status,
    post,
    reach,
    regained,
    status,
    until,
)
from support.retrying_senders import (
    assert_done_once,
    await_more_accepted,
    start_senders,
    stop_senders,
)

pytestmark = pytest.mark.long


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path / "cluster") as made:
        made.wait_for_leader()
        yield made


@pytest.fixture
def site(cluster: NatsCluster, tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, address=f"{cluster.url}/store?replicas=3") as made:
        yield made


def any_good_answer(
    cluster: NatsCluster, what: str, is_good: Callable[[dict[str, Any]], bool]
) -> dict[str, Any] | None:
    """The first good answer of the servers that live."""
    for server in cluster.servers:
        if server.process.poll() is None and is_good(answer := server.told(what)):
            return answer
    return None


def leader(cluster: NatsCluster) -> NatsServer:
    """The server that decides on appends to the log."""

    def found() -> str | None:
        answer = any_good_answer(
            cluster,
            "STREAM.INFO.store",
            lambda answer: bool(answer.get("cluster", {}).get("leader")),
        )
        return answer["cluster"]["leader"] if answer else None

    name = until(found, ELECTION_SECONDS)
    assert name is not None
    return cluster.servers[int(name[1:])]


def test_the_durability_of_a_cluster_is_a_quorum(site: Site) -> None:
    node = site.node("--require-durable")
    assert status(node)["durability"] == "on a majority of 3 servers before acknowledged"
    assert log_status(node)["durable"] is True


def test_a_new_node_waits_until_the_servers_have_a_leader_again(
    cluster: NatsCluster, site: Site
) -> None:
    site.node().set("k", 1)
    site.limits = {"signalbox.server.cluster.node.ELECTION_SECONDS": ELECTION_SECONDS}
    left, *others = cluster.servers
    for server in others:
        server.kill()
    with socket.create_server(("127.0.0.1", 0)) as no_broker, ThreadPoolExecutor() as pool:
        hosts = f"127.0.0.1:{left.port},127.0.0.1:{no_broker.getsockname()[1]}"
        new = pool.submit(site.node, address=f"nats://{hosts}/store?replicas=3")
        for _ in range(2):  # it has tried all of its servers, and begun again
            no_broker.accept()[0].close()
        for server in others:
            server.start()
        reach(1, new.result())


def test_a_cluster_that_loses_its_leader_under_load_loses_and_doubles_nothing(
    cluster: NatsCluster, site: Site
) -> None:
    nodes = site.nodes(2)
    over, senders = start_senders(nodes)
    await_more_accepted(senders, 20)
    for _ in range(2):
        dead = leader(cluster)
        dead.kill()
        await_more_accepted(senders, 20)
        assert leader(cluster) is not dead
        dead.start()
    await_more_accepted(senders, 20)
    stop_senders(over, senders)
    assert_done_once(senders, site.log(), nodes[0])
    reach(status(nodes[0])["revision"], nodes[1])
    assert_equal_when_ended(*nodes)


def test_without_a_quorum_commands_are_unavailable_and_reads_go_on_until_it_is_back(
    cluster: NatsCluster, site: Site
) -> None:
    node = site.node()
    node.set("k", 1)
    decides = leader(cluster)
    others = [server for server in cluster.servers if server is not decides]
    for server in others:
        server.kill()
    refused = post(node, "set", key="k", value=2, id="kept")
    assert refused["code"] == "unavailable"
    assert node.value("k") == 1
    until(lambda: status(node)["log"]["problem"])
    for server in others:
        server.start()
    regained(node)
    again = until(
        lambda: (
            (answer := post(node, "set", key="k", value=2, id="kept"))["status"] == "accepted"
            and answer
        )
    )
    assert again["revision"] == status(node)["revision"] == 2
