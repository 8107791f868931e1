"""The engine goes away and comes back: reads go on, commands wait a little, nothing is guessed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from conftest import StartServer
from signalbox.server.engines.address import read_address
from signalbox.server.engines.shared_log import LogMetadata, SharedLog, shared_log
from support.frozen_processes import freeze, thaw
from support.nodes import (
    BOUND,
    HALF,
    IMPATIENT,
    KINDS,
    TOO_LARGE,
    Broker,
    Site,
    Watcher,
    acks,
    address_at,
    assert_equal_when_ended,
    assert_lately,
    log_status,
    lost,
    post,
    reach,
    refused_start,
    regained,
    status,
    whole,
)
from support.ports import free_port
from support.raw_http import Client, assert_sound
from support.tcp_proxy import Proxy


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
        assert (log_status(node)["stale_since"], log_status(node)["problem"]) == (None, None)
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
    node.set("large", HALF)
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
        {"type": "delete", "key": "k", "dry_run": True},
        {"type": "set", "key": "k", "value": 1, "expect": "absent", "dry_run": True},
        TOO_LARGE,
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
    assert not log_status(again)["connected"]
    assert_lately(log_status(again)["stale_since"])
    own_engine.start()
    regained(again)
    reach(2, again)
    assert again.value("k") == "newer"
    assert again.set("k", "on")["revision"] == 3


@pytest.mark.parametrize("scheme", KINDS)
def test_a_new_data_directory_waits_for_its_log_and_says_so_in_one_line(
    tmp_path: Path, scheme: str, server: StartServer
) -> None:
    place = f"{scheme}://127.0.0.1:{free_port()}"
    for options in (("--engine", address_at(place)), ()):
        line = refused_start(tmp_path, *options)
        assert line.startswith("signalbox: ")
        assert place in line
        assert "new data directory" in line
    server("--engine", "sqlite", data_dir=tmp_path).stop()
    assert status(server(data_dir=tmp_path))["engine"] == "SQLite"


@contextmanager
def moved(engine: Broker, store: str) -> Iterator[tuple[SharedLog, str]]:
    """Another log of the same store, still empty, and its address."""
    address = address_at(engine.url, "moved")
    with closing(shared_log(read_address(address))) as log:
        log.connect(LogMetadata(store))
        yield log, address


def test_a_folder_that_is_to_follow_another_log_does_so_from_when_it_is_there(
    own_engine: Broker, own_site: Site
) -> None:
    node = own_site.node()
    node.set("k", 1)
    node.stop()
    with moved(own_engine, node.store) as (log, address), Proxy(own_engine.port) as proxy:
        log.append(list(whole(own_site.log())), 0)
        proxy.cut()
        there = address.replace(str(own_engine.port), str(proxy.port))
        again = own_site.node(folder=node.data_dir, address=there)
        assert not log_status(again)["connected"]
        proxy.mend()
        regained(again)
        again.stop()
        assert log_status(own_site.again(again))["address"] == there


def test_a_replica_that_has_more_than_the_log_it_is_to_follow_says_how_to_bring_it(
    own_engine: Broker, own_site: Site
) -> None:
    node = own_site.node()
    node.set("k", 1)
    node.stop()
    with moved(own_engine, node.store) as (_, address):
        line = refused_start(node.data_dir, "--engine", address)
    assert f"signalbox --data-dir {node.data_dir} migrate --to" in line
    assert "lost" not in line


def test_an_import_whose_outcome_is_not_known_says_so_and_can_be_sent_again(
    own_engine: Broker, own_site: Site
) -> None:
    own_site.limits = IMPATIENT
    node = own_site.node()
    node.set("n", 1)
    freeze(own_engine.process.pid)
    body = b'{"type": "add", "key": "n"}\n' * 3
    with Client(node) as client:
        *_, summary = client.load(body, id="again")
        assert (summary["status"], summary["code"]) == ("unknown", "unavailable")
        thaw(own_engine.process.pid)
        regained(node)
        *_, summary = client.load(body, id="again")
        assert summary["status"] == "accepted", summary
    assert node.value("n") == 4


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
