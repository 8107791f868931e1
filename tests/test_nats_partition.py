"""Three NATS servers, one of them partitioned from the others: what is answered there, and when."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from support.harness import Server
from support.nats_server import NatsCluster
from support.nodes import (
    ELECTION_SECONDS,
    HALF,
    IMPATIENT,
    TOO_LARGE,
    Site,
    lost,
    post,
    reach,
    regained,
    until,
)

pytestmark = pytest.mark.long

NOTICED = 6.0
"""Seconds: three without a majority, and what it takes to ask."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[NatsCluster]:
    with NatsCluster(tmp_path / "cluster") as made:
        made.wait_for_leader()
        yield made


def at_each(site: Site, cluster: NatsCluster, *numbers: int) -> list[Server]:
    """A node at each of these servers, which knows no other."""
    return [
        site.node(address=f"{cluster.servers[number].url}/store?replicas=3") for number in numbers
    ]


def confirmed(node: Server, type: str, **fields: Any) -> dict[str, Any]:
    """The answer, once it is one.

    Where all are slow, the two that are left answer too late for being believed, or elect again.
    """

    def answer() -> dict[str, Any] | None:
        told = post(node, type, **fields)
        return None if told.get("code") == "unavailable" else told

    told = until(answer, ELECTION_SECONDS)
    assert told
    return told


def is_accepted(node: Server) -> bool:
    return bool(post(node, "set", key="x", value="after")["status"] == "accepted")


def test_a_partitioned_leader_confirms_nothing(cluster: NatsCluster, tmp_path: Path) -> None:
    with Site(tmp_path, address=f"{cluster.url}/store?replicas=3") as site:
        near, far = at_each(site, cluster, 0, 1)
        cluster.lead(0, "store")
        near.set("large", HALF)
        last = near.set("x", "before")["revision"]
        reach(last, far)
        cluster.part(0)
        cut = monotonic()
        assert lost(near)["problem"]
        assert monotonic() - cut < NOTICED
        assert "\nsignalbox_log_connected 0\n" in near.get("/queries/metrics").body.decode()
        until(lambda: is_accepted(far), ELECTION_SECONDS)
        until(lambda: "cut off" in (told := lost(near)["problem"]) or "no leader" in told)
        last = far.get("/queries/state/x").json()["revision"]
        for fields in (
            {"type": "set", "value": "before"},
            {"type": "set", "value": "mine", "expect": {"revision": last}},
            {"type": "set", "value": "mine", "expect": "absent"},
            {"type": "delete", "expect": {"revision": last}},
            {"type": "set", "value": "before", "dry_run": True},
            {"type": "set", "value": "mine", "expect": {"revision": last}, "dry_run": True},
            TOO_LARGE,
        ):
            told = near.post({"key": "x", **fields}).json()
            assert (told["status"], told["code"]) == ("rejected", "unavailable"), told
        assert near.value("x") == "before"
        cluster.join()
        regained(near)
        reach(last, near)
        assert near.set("x", "after")["changed"] is False
        assert "\nsignalbox_log_connected 1\n" in near.get("/queries/metrics").body.decode()


def test_while_one_server_is_away_refusals_are_confirmed_by_the_others(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    with Site(tmp_path, address=f"{cluster.url}/store?replicas=3") as site:
        (node,) = at_each(site, cluster, 0)
        cluster.lead(0, "store")
        node.set("x", 1)
        cluster.servers[2].kill()
        told = confirmed(node, "set", key="x", value=2, expect="absent")
        assert (told["code"], told["revision"]) == ("conflict", 1)
        until(lambda: min(cluster.heard("store")) > NOTICED)
        assert confirmed(node, "set", key="x", value=1)["changed"] is False
        told = confirmed(node, "set", key="x", value=2, expect="absent")
        assert (told["code"], told["revision"]) == ("conflict", 1)
        regained(node)


def test_a_new_node_passes_over_a_server_that_is_cut_off(
    cluster: NatsCluster, tmp_path: Path
) -> None:
    with Site(tmp_path, address=f"{cluster.url}/store?replicas=3") as site:
        site.limits = IMPATIENT
        (far,) = at_each(site, cluster, 1)
        far.set("x", "before")
        cluster.lead(0, "store")
        cluster.part(0)
        until(lambda: is_accepted(far), ELECTION_SECONDS)
        new = site.node()
        reach(far.get("/queries/state/x").json()["revision"], new)
        assert new.value("x") == "after"
