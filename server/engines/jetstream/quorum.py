"""Whether the leader of a replicated stream still has a majority behind it.

A leader that was cut off goes on answering by itself for ten to twenty seconds, and so does a
server that knows of no leader: only what a majority has confirmed can be believed. A leader tells
of each other copy how long ago that has answered it. Copies answer its heartbeats (one a second, at
times one in two seconds), and elect another leader when they have missed them for four to nine
seconds: `minElectionTimeout` and `hbInterval` in nats-server's `raft.go`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from time import monotonic
from typing import Final

from signalbox.server.engines.jetstream.api import Answer
from signalbox.server.engines.shared_log import Partitioned

HEARD_SECONDS: Final = 3.0
"""A copy that has answered its leader within this time has elected no other leader by itself."""
APART_SECONDS: Final = 0.5
"""Two answers of a copy that were held up come together; those to two heartbeats do not."""
LOOK_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 5.0
"""Within which each copy answers two heartbeats."""
NANOSECONDS: Final = 10**9


def check_majority(answer: Answer, where: str) -> None:
    """Raises `Partitioned` where this is not the answer of a leader that a majority follows."""
    if answer.cluster is None:
        return  # one server, which decides alone
    if not answer.cluster.get("leader"):
        raise Partitioned(f"{where} has no leader now: too few of its servers reach each other.")
    silent = silences(answer)
    heard = sum(seconds <= HEARD_SECONDS for seconds in silent.values())
    if heard + 1 < _majority(silent):
        raise Partitioned(
            f"{where} is cut off: of {len(silent)} other servers with a copy {heard} have answered "
            f"within {HEARD_SECONDS:.0f} seconds."
        )


def silences(answer: Answer) -> dict[str, float]:
    """For how many seconds the leader has not heard from each other copy."""
    copies = (answer.cluster or {}).get("replicas") or []
    return {
        str(one.get("peer") or one.get("name")): (one.get("active") or inf) / NANOSECONDS
        for one in copies
    }


async def confirmed(ask: Callable[[], Awaitable[Answer]], where: str) -> Answer:
    """What `ask` tells, once it is certain that nothing was appended beyond it elsewhere.

    Where all copies have been heard lately nobody can have elected another leader. Where one is
    missing it may be electing, and the others may help it at once: then a majority must be heard
    twice more, which it is not once it follows another. Raises `Partitioned`.
    """
    answer = await ask()
    check_majority(answer, where)
    if all(seconds <= HEARD_SECONDS for seconds in silences(answer).values()):
        return answer
    await _heard_again(ask, answer, where)
    return answer


async def _heard_again(ask: Callable[[], Awaitable[Answer]], first: Answer, where: str) -> None:
    """Return when a majority has answered two of the leader's heartbeats from now on."""
    begun = monotonic()
    once: dict[str, float] = {}
    twice: set[str] = set()
    while len(twice) + 1 < _majority(silences(first)):
        if monotonic() > begun + LONGEST_SECONDS:
            raise Partitioned(f"{where} is cut off: too few of its servers answer its leader.")
        await asyncio.sleep(LOOK_SECONDS)
        asked = monotonic()
        answer = await ask()
        check_majority(answer, where)
        if _leadership(answer) != _leadership(first):
            raise Partitioned(f"{where} has another leader since a moment ago.")
        for copy, seconds in silences(answer).items():
            heard = asked - seconds  # or a little later
            if heard > begun and heard > once.setdefault(copy, heard) + APART_SECONDS:
                twice.add(copy)


def _leadership(answer: Answer) -> tuple[object, object]:
    cluster = answer.cluster or {}
    return cluster.get("leader"), cluster.get("leader_since")


def _majority(others: dict[str, float]) -> int:
    return (len(others) + 1) // 2 + 1
