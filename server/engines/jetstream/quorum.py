"""Whether a majority of servers still follows the leader of a replicated JetStream stream.

A partitioned leader goes on answering for ten to twenty seconds, and so does a server that knows of
no leader: only what a majority has confirmed can be trusted. The stream's info has, for each other
copy, how long ago it answered the leader. Copies answer the leader's heartbeats (one a second, at
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
HEARTBEAT_GAP_SECONDS: Final = 0.5
"""Delayed answers of a copy arrive together; answers to two heartbeats are so far apart."""
POLL_SECONDS: Final = 0.1
CONFIRM_SECONDS: Final = 5.0
"""The time in which each copy answers two heartbeats."""
NANOSECONDS: Final = 10**9


def check_majority(answer: Answer, where: str) -> None:
    """Raises `Partitioned` if this is not the answer of a leader that a majority follows."""
    if answer.cluster is None:
        return  # one server, which decides alone
    if not answer.cluster.get("leader"):
        raise Partitioned(f"{where} has no leader now: too few of its servers reach each other.")
    silent = seconds_silent(answer)
    heard = sum(seconds <= HEARD_SECONDS for seconds in silent.values())
    if heard + 1 < _majority(silent):
        raise Partitioned(
            f"{where} is cut off: of {len(silent)} other servers with a copy {heard} have answered "
            f"within {HEARD_SECONDS:.0f} seconds."
        )


def seconds_silent(answer: Answer) -> dict[str, float]:
    """For how many seconds the leader has not heard from each other copy."""
    copies = (answer.cluster or {}).get("replicas") or []
    return {
        str(copy.get("peer") or copy.get("name")): (copy.get("active") or inf) / NANOSECONDS
        for copy in copies
    }


async def confirmed_answer(fetch: Callable[[], Awaitable[Answer]], where: str) -> Answer:
    """The stream's info by `fetch`, once it is certain that no other leader has a later sequence.

    Where all copies have answered lately, no other leader can have been elected. Where one is
    missing it may begin an election, and the others may vote at once: then a majority must answer
    two more heartbeats, which it does not once it follows another leader. Raises `Partitioned`.
    """
    answer = await fetch()
    check_majority(answer, where)
    if all(seconds <= HEARD_SECONDS for seconds in seconds_silent(answer).values()):
        return answer
    await _wait_for_heartbeats(fetch, answer, where)
    return answer


async def _wait_for_heartbeats(
    fetch: Callable[[], Awaitable[Answer]], first: Answer, where: str
) -> None:
    """Return when a majority has answered two of the leader's heartbeats from now on."""
    begun = monotonic()
    first_heard: dict[str, float] = {}
    heard_twice: set[str] = set()
    while len(heard_twice) + 1 < _majority(seconds_silent(first)):
        if monotonic() > begun + CONFIRM_SECONDS:
            raise Partitioned(f"{where} is cut off: too few of its servers answer its leader.")
        await asyncio.sleep(POLL_SECONDS)
        fetched_at = monotonic()
        answer = await fetch()
        check_majority(answer, where)
        if _leadership(answer) != _leadership(first):
            raise Partitioned(f"{where} has another leader since a moment ago.")
        for copy, seconds in seconds_silent(answer).items():
            heard = fetched_at - seconds  # or a little later
            if (
                heard > begun
                and heard > first_heard.setdefault(copy, heard) + HEARTBEAT_GAP_SECONDS
            ):
                heard_twice.add(copy)


def _leadership(answer: Answer) -> tuple[object, object]:
    """The stream's leader and since when it is that: another pair is another leader."""
    cluster = answer.cluster or {}
    return cluster.get("leader"), cluster.get("leader_since")


def _majority(others: dict[str, float]) -> int:
    """How many copies of the stream are a majority; `others` are those besides the leader."""
    return (len(others) + 1) // 2 + 1
