"""A Redis master is killed under load, its replica promoted, and the old one becomes a replica."""

from collections import Counter
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Final

from episodes import Episodes
from support.nodes import Site, address_at
from support.redis_server import AT_ONCE, DURABLE, RedisServer

FILE: Final = (*DURABLE, *AT_ONCE)
CALM: Final = 2.0
"""Seconds before and behind a death, at most."""


def campaign(folder: Path, seed: int, failovers: int) -> Counter[str]:
    """Raises `AssertionError` at the first one after which an answer proves wrong."""
    with (
        RedisServer(folder / "one", *FILE) as one,
        RedisServer(folder / "other", *FILE) as other,
    ):
        other.replicates(one)
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in (one, other))
        address = f"{address_at(f'redis://{hosts}')}&wait=1,1"
        with Site(folder, address=address) as site:
            episodes = Episodes(site.nodes(2), seed)
            for turn in range(failovers):
                fail_over(episodes, *((other, one) if turn % 2 else (one, other)))
            return episodes.figures


def fail_over(episodes: Episodes, master: RedisServer, replica: RedisServer) -> None:
    """What was accepted is on both, so that the death of one loses nothing."""
    chance = episodes.chance
    episodes.begin()
    sleep(chance.uniform(0.2, CALM))
    master.kill()
    sleep(chance.uniform(0, CALM))
    with closing(replica.client()) as client:
        client.replicaof("NO", "ONE")
    sleep(chance.uniform(0, CALM))
    master.start()
    sleep(chance.uniform(0, CALM))  # as a master without a replica, which nobody may believe
    master.replicates(replica)
    sleep(chance.uniform(0, CALM))
    episodes.end()
    episodes.figures["failovers"] += 1
