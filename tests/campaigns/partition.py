"""Three NATS servers that lose each other, stop and die, and three nodes that go on."""

import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from episodes import Episodes
from support.nats_server import NatsCluster, NatsServer
from support.nodes import Site

CALM: Final = 1.0
LONGEST: Final = 20.0
"""Seconds of one disturbance: twice what it takes to elect another leader."""
STREAM: Final = "store"


def campaign(folder: Path, seed: int, seconds: float) -> Counter[str]:
    """Raises `AssertionError` at the first episode after which an answer proves wrong."""
    with NatsCluster(folder / "cluster") as cluster, Site(folder, address=cluster.url) as site:
        cluster.wait_for_leader()
        nodes = [site.node(address=address(cluster, first)) for first in range(3)]
        episodes, end = Episodes(nodes, seed), monotonic() + seconds
        while monotonic() < end:
            episode(cluster, episodes)
        return episodes.figures


def address(cluster: NatsCluster, first: int) -> str:
    """All servers, in an order of its own for each node."""
    ports = [server.port for server in cluster.servers]
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports[first:] + ports[:first])
    return f"nats://{hosts}/{STREAM}?replicas=3"


def episode(cluster: NatsCluster, episodes: Episodes) -> None:
    """One disturbance while commands come, and what they have become in the end."""
    chance = episodes.chance
    leader = cluster.leader(STREAM)
    number = chance.choice([leader, leader, *range(3)])
    name = chance.choice(list(DISTURBANCES))
    episodes.begin()
    sleep(chance.uniform(0, CALM))
    DISTURBANCES[name](cluster, number, chance.uniform(1, LONGEST))
    sleep(chance.uniform(0, CALM))
    episodes.end()
    episodes.figures[name + (" of the leader" if number == leader else "")] += 1


def _cut_off(cluster: NatsCluster, number: int, seconds: float) -> None:
    cluster.part(number)
    sleep(seconds)
    cluster.join()


def _stop(cluster: NatsCluster, number: int, seconds: float) -> None:
    process = cluster.servers[number].process
    process.send_signal(signal.SIGSTOP)
    sleep(seconds)
    process.send_signal(signal.SIGCONT)


def _death(cluster: NatsCluster, number: int, seconds: float) -> None:
    server: NatsServer = cluster.servers[number]
    server.kill()
    sleep(seconds)
    server.start()


DISTURBANCES: Final[Mapping[str, Callable[[NatsCluster, int, float], None]]] = {
    "partition": _cut_off,
    "stop": _stop,
    "death": _death,
}
