"""The network between nodes and log fails: each command is done once, and so answered."""

from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from support.harness import Server
from support.nodes import (
    BOUND,
    IMPATIENT,
    LOST,
    Site,
    Watcher,
    acks,
    assert_equal_when_ended,
    log_status,
    post,
    reach,
    regained,
    status,
    until,
    whole,
)
from support.raw_http import assert_sound
from support.retrying_senders import (
    ALLOWED_REFUSALS,
    assert_done_once,
    await_more_accepted,
    start_senders,
    stop_senders,
)


def test_cuts_while_commands_fly_lose_and_double_nothing(site: Site) -> None:
    """Each sender keeps trying the same id until it is accepted, over resets and half closes."""
    remote = [site.remote() for _ in range(2)]
    nodes = [node for node, _ in remote]
    watcher = Watcher(nodes[0])
    over, senders = start_senders(nodes, each=3)
    for turn in range(8):
        await_more_accepted(senders, 5)
        proxy = remote[turn % 2][1]
        if turn % 4 > 1:
            proxy.half_close("client" if turn % 3 else "server")
        else:
            proxy.cut()
            proxy.mend()
    await_more_accepted(senders, 5)
    stop_senders(over, senders)
    assert_done_once(senders, site.log(), nodes[0])
    last = status(nodes[0])["revision"]
    assert [one["revision"] for one in watcher.changes(last)] == list(range(1, last + 1))
    reach(last, nodes[1])
    assert_equal_when_ended(*nodes)


@pytest.mark.parametrize("to", ["client", "server"])
def test_a_half_closed_connection_is_noticed_and_replaced(site: Site, to: str) -> None:
    node, proxy = site.remote()
    other = site.node()
    node.set("k", 1)
    watcher = Watcher(node)
    proxy.half_close("client" if to == "client" else "server")
    last = other.set("k", 2)["revision"]
    assert [one["revision"] for one in watcher.changes(last)] == [last]
    sent = monotonic()
    until(lambda: post(node, "set", key="k", value=3, id="after")["status"] == "accepted")
    assert monotonic() - sent < BOUND
    assert [one.id for one in whole(site.log())].count("after") == 1


def test_a_slow_network_slows_down_and_refuses_nothing(site: Site) -> None:
    node, proxy = site.remote()
    node.set("k", 0)
    proxy.delay(0.3)
    with ThreadPoolExecutor(10) as pool:
        sent = monotonic()
        answers = list(pool.map(lambda turn: node.set(f"k.{turn}", turn), range(10)))
    assert monotonic() - sent >= 0.6
    assert sorted(one["revision"] for one in answers) == list(range(2, 12))
    other = site.node()
    other.set("k", "there")
    reach(12, node)
    assert log_status(node)["stale_since"] is None
    proxy.mend()


def test_a_lost_answer_is_reported_as_unknown_and_found_out_by_the_commands_id(
    site: Site,
) -> None:
    """At one node the log's answer is swallowed, at the other what was sent to the log."""
    site.limits = IMPATIENT
    (one, answers), (other, questions) = site.remote(), site.remote()
    one.set("k", 1)
    reach(1, other)
    watchers = [Watcher(node, acks=True) for node in (one, other)]
    log = site.log()
    answers.hold("client")
    questions.hold("server")
    told = answered_in_time({one: "written", other: "unwritten"})
    assert told[0] == ("unknown", "unavailable")
    assert (
        told[1] in ALLOWED_REFUSALS
    )  # it may have learnt meanwhile that the log went on without it
    assert [each.id for each in whole(log)][1:] == ["written"]
    answers.cut()
    answers.mend()
    questions.release()
    for watcher in watchers:
        assert watcher.ack("written")["status"] == "accepted"
    final = watchers[1].ack("unwritten")
    assert final["status"] == "accepted" or final["code"] == "unavailable"
    assert told[1] == ("unknown", "unavailable") or final["status"] == "rejected"
    for node in (one, other):
        regained(node)
        again = post(node, "add", key="n", id="written")
        assert (again["status"], again["revision"], again["duplicate"]) == ("accepted", 2, True)
        record = node.get("/queries/attempts/written").json()
        assert (record["status"], record["revision"]) == ("accepted", 2)
    assert post(other, "add", key="n", id="unwritten")["revision"] == 3
    for watcher in watchers:
        watcher.changes(3)
        announced = [ack["duplicate"] for ack in acks(watcher.events, "written")]
        assert announced.count(False) == 1
    assert [each.id for each in whole(log)][1:] == ["written", "unwritten"]
    reach(3, one)
    assert (one.value("n"), other.value("n")) == (2, 2)
    assert_equal_when_ended(one, other)


def answered_in_time(ids: dict[Server, str]) -> list[tuple[str, str]]:
    """Send each command to its node; how they are answered."""
    wishes = [{"type": "add", "key": "n", "id": identity} for identity in ids.values()]
    sent = monotonic()
    with ThreadPoolExecutor(len(ids)) as pool:
        told = list(pool.map(Server.post, ids, wishes))
    assert monotonic() - sent < BOUND
    return [(answer.json()["status"], answer.json()["code"]) for answer in told]


def test_a_node_that_is_killed_between_append_and_apply_finds_its_transaction_in_the_log(
    site: Site,
) -> None:
    node, proxy = site.remote()
    node.set("n", 1)
    log = site.log()
    proxy.hold("client")
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(post, node, "add", key="n", by=10, id="between")
        until(lambda: log.last_revision() == 2)
        assert node.value("n") == 1
        node.kill()
        with pytest.raises(LOST):
            sent.result()
    proxy.mend()
    proxy.cut()
    proxy.mend()
    again = site.again(node)
    reach(2, again)
    assert again.value("n") == 11
    answer = post(again, "add", key="n", by=10, id="between")
    assert (answer["revision"], answer["duplicate"]) == (2, True)
    assert again.set("n", 0)["revision"] == 3
    again.stop()
    assert assert_sound(node.data_dir) == 3
