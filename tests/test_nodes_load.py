"""Nodes under load: exact sums, fair shares, and transactions that fit into messages."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from time import monotonic
from typing import Final

import pytest

from support.harness import Server
from support.nats_server import NatsServer
from support.nodes import Site, assert_equal_when_ended, log_status, post, reach, status
from support.raw_http import Client, lines

CLIENTS: Final = 6
"""At each node."""
HAMMERED: Final = 2.0
LEAST_SHARE: Final = 0.05


def hammered(nodes: list[Server]) -> Counter[int]:
    """How many clients of each node added one, all at once, each as fast as it was answered."""
    ready = Barrier(CLIENTS * len(nodes))

    def hammer(number: int) -> Counter[int]:
        done: Counter[int] = Counter()
        place = number % len(nodes)
        with Client(nodes[place]) as client:
            ready.wait()
            end = monotonic() + HAMMERED
            while monotonic() < end:
                answer = client.send("add", key="n", actor=f"node-{place}").json()
                assert answer["status"] == "accepted", answer
                done[place] += 1
        return done

    with ThreadPoolExecutor(CLIENTS * len(nodes)) as pool:
        return sum(pool.map(hammer, range(CLIENTS * len(nodes))), Counter[int]())


@pytest.mark.parametrize("number", [2, 3])
def test_adds_at_many_nodes_all_count_once_and_no_node_starves(
    site: Site,
    number: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nodes = site.nodes(number)
    done = hammered(nodes)
    reach(done.total(), *nodes)
    assert [status(node)["revision"] for node in nodes] == [done.total()] * number
    assert [node.value("n") for node in nodes] == [done.total()] * number
    with nodes[0].stream(after=0) as stream:
        changes = [event.data for event in stream.until("caught-up")[:-1]]
    assert [one["revision"] for one in changes] == list(range(1, done.total() + 1))
    assert [one["changes"][0]["value"] for one in changes] == list(range(1, done.total() + 1))
    shares = [done[place] / done.total() for place in range(number)]
    conflicts = [log_status(node)["conflicts"] for node in nodes]
    rate = sum(conflicts) / done.total()
    with capsys.disabled():
        said = ", ".join(f"{share:.0%}" for share in shares)
        per_second = done.total() / HAMMERED
        print(
            f"\n  {number} nodes: {per_second:.0f}/s, shares {said}, conflicts {rate:.2f} a commit"
        )
    assert min(shares) >= LEAST_SHARE
    assert_equal_when_ended(*nodes)


def test_a_transaction_larger_than_the_engines_messages_is_too_large_and_says_the_limit(
    tmp_path: Path,
) -> None:
    with (
        NatsServer(tmp_path / "nats", "max_payload: 65536") as nats,
        Site(tmp_path, address=f"{nats.url}/small") as site,
    ):
        one, other = site.nodes(2)
        limit = status(one)["limits"]["transaction_bytes"]
        assert 60_000 < limit <= 65_536
        fits = "x" * (limit - 300)
        revision = one.set("k", fits)["revision"]
        refused = post(one, "set", key="k", value=fits + "y" * 300)
        assert (refused["status"], refused["code"]) == ("rejected", "too_large")
        assert refused["limit"] == limit
        reach(revision, other)
        assert other.value("k") == fits
        assert one.set("k", "small")["revision"] == revision + 1


def test_an_imports_batches_fit_into_the_engines_messages(tmp_path: Path) -> None:
    with (
        NatsServer(tmp_path / "nats", "max_payload: 65536") as nats,
        Site(tmp_path, address=f"{nats.url}/small") as site,
    ):
        one, other = site.nodes(2)
        wishes = ({"type": "set", "key": f"k.{n}", "value": "v" * 500} for n in range(3_000))
        with Client(one) as client:
            summary = client.load(lines(*wishes), id="load")[-1]
        assert (summary["status"], summary["accepted"]) == ("accepted", 3_000)
        assert summary["rejected"] == 0
        reach(summary["revision"], other)
        assert other.get("/queries/tree", prefix="k.").json()["total"] == 3_000
        with Client(other) as client:
            huge = {"type": "set", "key": "huge", "value": "v" * 100_000}
            answer = client.load(lines({"type": "set", "key": "last", "value": 1}, huge))
        (left_out,) = (line for line in answer if line["type"] == "rejected")
        assert (left_out["line"], left_out["code"]) == (2, "too_large")
        assert other.value("last") == 1
