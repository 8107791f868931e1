"""Compare-and-set at several nodes, over networks that delay and cut, is as if done one by one."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Final

import pytest

from support.harness import Server
from support.linearizability import History, LoggedWrite, Observed
from support.nodes import KINDS, Site, regained, whole
from support.raw_http import Client
from support.tcp_proxy import Proxy

KEYS: Final = ["a", "b", "c"]
SECONDS: Final = 6.0
DELAY: Final = 0.02
CALM: Final = 0.4
"""Seconds between two disturbances."""


def sent(client: Client, identity: str, key: str, expected: int | None) -> Observed:
    expect = "any" if expected is None else {"revision": expected} if expected else "absent"
    begun = monotonic()
    answer = client.send("set", id=identity, key=key, value=identity, expect=expect).json()
    return Observed(
        identity,
        key,
        expected,
        begun,
        monotonic(),
        answer["status"],
        answer.get("code", ""),
        answer.get("revision", 0),
    )


def wishes(node: Server, number: int) -> list[Observed]:
    """What one client sends and is answered; it expects the revision of the last answer."""
    chance, known, told = random.Random(number), dict.fromkeys(KEYS, 0), list[Observed]()
    end = monotonic() + SECONDS
    with Client(node) as client:
        while monotonic() < end:
            key = chance.choice(KEYS)
            expected = known[key] if chance.random() < 0.8 else None
            told.append(one := sent(client, f"c{number}-{len(told)}", key, expected))
            if one.status == "accepted" or one.code == "conflict":
                known[key] = one.revision
    return told


def disturbed(proxies: list[Proxy], over: Event) -> None:
    """Delays and cuts, in turn, until it is over."""
    turn = 0
    while not over.wait(CALM):
        proxy = proxies[turn % len(proxies)]
        if turn % 3:
            proxy.cut()
            proxy.mend()
        else:
            proxy.delay(DELAY)
        turn += 1


@pytest.mark.parametrize("kind", KINDS)
def test_compare_and_set_at_three_nodes_is_linearizable(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    over = Event()
    with Site(tmp_path, kind) as site, ThreadPoolExecutor(8) as pool:
        remote = [site.remote() for _ in range(2)]
        nodes = [site.node(), *(node for node, _ in remote)]
        unrest = pool.submit(disturbed, [proxy for _, proxy in remote], over)
        clients = [pool.submit(wishes, nodes[n % 3], n) for n in range(6)]
        told = [one for client in clients for one in client.result()]
        over.set()
        unrest.result()
        for node in nodes:
            regained(node)
            node.set("z", node.pid)  # behind it nothing is in doubt any more
        log = [LoggedWrite(one.id, one.changes[0].key) for one in whole(site.log())]
    problems = list(History(told, log).problems())
    assert problems == []
    outcomes = Counter(one.code or one.status for one in told if one.status != "unknown")
    outcomes["unknown"] = sum(one.status == "unknown" for one in told)
    with capsys.disabled():
        print(f"\n  {kind}: {dict(outcomes)}")
    assert set(outcomes) <= {"accepted", "conflict", "unavailable", "unknown"}
    assert min(outcomes["accepted"], outcomes["conflict"]) >= 100


FIRST = Observed("one", "k", 0, 1.0, 2.0, "accepted", revision=1)
SECOND = Observed("two", "k", 1, 3.0, 4.0, "accepted", revision=2)
LOSER = Observed("three", "k", 1, 3.0, 5.0, "rejected", "conflict", 2)
LOST = Observed("four", "k", 2, 5.0, 6.0, "unknown")
LOG = [LoggedWrite("one", "k"), LoggedWrite("two", "k"), LoggedWrite("four", "k")]


def test_the_checker_finds_nothing_where_all_is_well() -> None:
    assert list(History([FIRST, SECOND, LOSER, LOST], LOG).problems()) == []
    assert list(History([FIRST, SECOND, LOSER, LOST], LOG[:2]).problems()) == []


@pytest.mark.parametrize(
    ("told", "log", "problem"),
    [
        ([FIRST], [], "was told 1 and is at None"),
        ([FIRST, SECOND], [LOG[1], LOG[0]], "was told 1 and is at 2"),
        ([FIRST], [LOG[0], LOG[0]], "in the log twice"),
        ([FIRST, LOSER], [LOG[0], LoggedWrite("three", "k")], "was rejected and is in the log"),
        ([FIRST, SECOND._replace(expected=0)], LOG[:2], "expected 0 and follows 1"),
        ([FIRST, SECOND, LOST._replace(expected=1)], LOG, "expected 1 and follows 2"),
        ([FIRST._replace(sent=5.0, answered=6.0), SECOND], LOG[:2], "1 was sent after 2"),
        ([FIRST, LOSER._replace(revision=1)], LOG[:1], "no reason"),
        ([FIRST, LOSER._replace(revision=7)], LOG[:1], "no reason"),
        ([FIRST, SECOND, LOSER._replace(answered=2.5)], LOG[:2], "before that was sent"),
        (
            [FIRST, SECOND, LOSER._replace(expected=9, revision=1, sent=4.5)],
            LOG[:2],
            "over before it was sent",
        ),
    ],
)
def test_the_checker_finds_each_planted_violation(
    told: list[Observed], log: list[LoggedWrite], problem: str
) -> None:
    found = list(History(told, log).problems())
    assert any(problem in one for one in found), found
