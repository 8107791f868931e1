"""The engine goes away and comes back: reads go on, commands wait a little, nothing is guessed."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic

from nodes import (
    BOUND,
    KINDS,
    Broker,
    Site,
    Watcher,
    acks,
    address_at,
    assert_equal_when_ended,
    assert_lately,
    lost,
    post,
    reach,
    refused_start,
    regained,
    standing,
    status,
)
from redis_server import free_port
from robust import assert_sound


def test_reads_and_streams_outlive_the_engine_and_go_on_without_a_gap(
    own_engine: Broker, own_site: Site
) -> None:
    one, other = own_site.nodes(2)
    reach(one.set("k", 1)["revision"], other)
    watchers = [Watcher(node, acks=True) for node in (one, other)]
    own_engine.kill()
    for node in (one, other):
        assert_lately(lost(node)["stale_since"])
        assert node.value("k") == 1
        with node.stream() as stream:
            (snapshot, _) = stream.until("caught-up")
        assert snapshot.data["items"][0]["value"] == 1
    own_engine.start()
    for number, node in enumerate((one, other), start=2):
        regained(node)
        assert (standing(node)["stale_since"], standing(node)["problem"]) == (None, None)
        assert node.set("k", number, id=f"after-{number}")["revision"] == number
    for watcher in watchers:
        assert [change["revision"] for change in watcher.changes(3)] == [2, 3]
        watcher.ack("after-3")
        assert [ack["id"] for ack in acks(watcher.events)] == ["after-2", "after-3"]
    assert_equal_when_ended(one, other)


def test_a_command_at_the_moment_of_the_loss_is_answered_unavailable_in_time_and_never_lost(
    own_engine: Broker, own_site: Site
) -> None:
    node = own_site.node()
    node.set("n", 1)
    own_engine.kill()
    sent = monotonic()
    first = post(node, "add", key="n", id="first")
    assert monotonic() - sent < BOUND
    assert first["code"] == "unavailable"
    assert first["status"] in ("rejected", "unknown")
    own_engine.start()
    regained(node)
    assert post(node, "add", key="n", id="first")["status"] == "accepted"
    assert node.value("n") == 2
    assert status(node)["revision"] == 2


def test_while_the_engine_is_away_nothing_is_refused_for_what_may_be_outdated(
    own_engine: Broker, own_site: Site
) -> None:
    node = own_site.node()
    revision = node.set("k", "text")["revision"]
    own_engine.kill()
    lost(node)
    wishes = [
        {"type": "set", "key": "k", "value": "new"},
        {"type": "set", "key": "k", "value": "text"},
        {"type": "add", "key": "k"},
        {"type": "set", "key": "k", "value": 1, "expect": "absent"},
        {"type": "set", "key": "k", "value": 1, "expect": {"revision": revision + 1}},
        {"type": "undo", "actor": "nobody"},
        {"type": "batch", "commands": [{"type": "delete", "key": "k"}]},
    ]
    sent = monotonic()
    with ThreadPoolExecutor(len(wishes)) as pool:
        answers = list(pool.map(lambda wish: post(node, **wish), wishes))
    assert monotonic() - sent < BOUND
    assert {(one["status"], one["code"]) for one in answers} == {("rejected", "unavailable")}
    sent = monotonic()
    assert post(node, "delete", key="k")["code"] == "unavailable"
    assert monotonic() - sent < 1
    assert status(node)["revision"] == revision
    assert post(node, "delete", key="k", dry_run=True)["changes"] == 1


def test_a_short_loss_is_waited_out(own_engine: Broker, own_site: Site) -> None:
    node = own_site.node()
    node.set("k", 1)
    own_engine.kill()
    lost(node)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, node, "set", key="k", value=2)
        own_engine.start()
        assert waiting.result()["status"] == "accepted"


def test_a_node_of_a_known_log_starts_while_it_is_away_and_serves_what_it_has(
    own_engine: Broker, own_site: Site
) -> None:
    node, other = own_site.nodes(2)
    reach(node.set("k", "kept")["revision"], other)
    node.stop()
    other.set("k", "newer")
    own_engine.kill()
    again = own_site.again(node)
    assert (again.store, again.value("k")) == (node.store, "kept")
    assert not standing(again)["connected"]
    assert_lately(standing(again)["stale_since"])
    own_engine.start()
    regained(again)
    reach(2, again)
    assert again.value("k") == "newer"
    assert again.set("k", "on")["revision"] == 3


def test_a_new_data_directory_needs_the_log_once_and_says_so_in_one_line(tmp_path: Path) -> None:
    for scheme in KINDS:
        place = f"{scheme}://127.0.0.1:{free_port()}"
        line = refused_start(tmp_path / scheme, "--engine", address_at(place))
        assert line.startswith("signalbox: ")
        assert place in line
        assert "new data directory" in line


def test_a_data_directory_stays_with_its_log_and_says_so(
    own_engine: Broker, own_site: Site
) -> None:
    node = own_site.node()
    node.set("k", 1)
    node.stop()
    assert "replica" in refused_start(node.data_dir, "--engine", "sqlite")
    elsewhere = address_at(own_engine.url, "another")
    assert "no log" in refused_start(node.data_dir, "--engine", elsewhere)
    assert own_site.again(node).value("k") == 1


def test_a_node_that_is_killed_and_the_engine_too_go_on_with_all_that_was_accepted(
    own_engine: Broker, own_site: Site
) -> None:
    one, other = own_site.nodes(2)
    for turn in range(20):
        one.set(f"k.{turn}", turn)
    one.kill()
    own_engine.stop()
    own_engine.start()
    again = own_site.again(one)
    regained(other)
    reach(20, again, other)
    assert other.set("k", 1)["revision"] == 21
    reach(21, again)
    assert_equal_when_ended(again, other)
    assert assert_sound(one.data_dir) == 21
