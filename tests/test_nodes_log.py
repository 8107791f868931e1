"""A log that was replaced is reported and never merged; so is a log that is less durable."""

import json
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from signalbox.server.engines.address import read_address
from signalbox.server.engines.shared_log import LogMetadata, shared_log
from support.frozen_processes import freeze, thaw
from support.harness import Server
from support.nats_server import NatsServer
from support.nodes import (
    Broker,
    Site,
    Watcher,
    address_at,
    assert_lately,
    log_status,
    post,
    reach,
    refused_start,
    sets,
    status,
    until,
)
from support.raw_http import JSON, assert_sound
from support.redis_server import DURABLE, RedisServer

pytestmark = pytest.mark.long


def remove_log(engine: Broker) -> None:
    """As an operator does who takes the wrong one."""
    if isinstance(engine, RedisServer):
        with closing(engine.client()) as client:
            client.flushall()
        return
    assert engine.told("STREAM.DELETE.store")["success"]


def found_another(site: Site, number: int, store: str = "0" * 32) -> None:
    """A log of another store at the same place, with so many revisions."""
    log = shared_log(read_address(site.address))
    try:
        log.connect(LogMetadata(store))
        log.append(sets(1, number), 0)
    finally:
        log.close()


def assert_stands_apart(node: Server, site: Site, *words: str, had: int = 10) -> None:
    """The node says so, serves what it had and writes nothing; it does not start anew either."""
    until(lambda: all(word in (log_status(node)["problem"] or "") for word in words))
    assert_lately(log_status(node)["stale_since"])
    until(lambda: all(word in node.stderr.read_text() for word in words))
    answer = post(node, "set", key="k", value="lost", id="lost-too")
    assert (answer["status"], answer["code"]) == ("rejected", "unavailable"), answer
    assert (status(node)["revision"], node.value("k")) == (had, had)
    with node.stream() as stream:
        assert stream.until("caught-up")[-1].data["revision"] == had
    assert node.stop() == 0
    line = refused_start(node.data_dir)
    assert all(word in line for word in words), line
    assert assert_sound(node.data_dir) == had
    ends = [transaction.id for transaction in site.log().read(0, 100)]
    assert not any(identity.startswith("lost") for identity in ends)


def written(node: Server, first: int, last: int) -> None:
    for turn in range(first, last + 1):
        assert node.set("k", turn, id=f"mine-{turn}")["revision"] == turn


def test_a_removed_log_is_reported_and_not_created_again(
    own_engine: Broker, own_site: Site
) -> None:
    node = own_site.node()
    written(node, 1, 10)
    remove_log(own_engine)
    until(lambda: not log_status(node)["connected"])
    until(lambda: "no log" in (log_status(node)["problem"] or ""))
    assert post(node, "set", key="k", value="lost")["code"] == "unavailable"
    assert (status(node)["revision"], node.value("k")) == (10, 10)
    assert "no log" in node.stderr.read_text()
    assert node.stop() == 0
    assert "no log" in refused_start(node.data_dir)


def test_a_log_restored_from_an_older_copy_is_reported(
    own_engine: Broker, own_site: Site, tmp_path: Path
) -> None:
    node = own_site.node()
    written(node, 1, 5)
    copied(own_engine, own_engine.folder, tmp_path / "older")
    written_after_restart(node, 6, 10)
    copied(own_engine, tmp_path / "older", own_engine.folder)
    assert_stands_apart(node, own_site, "has lost what it had", "revision 5", "10")


def test_a_restored_log_with_other_appends_is_reported_and_never_merged(
    own_engine: Broker, own_site: Site, tmp_path: Path
) -> None:
    node = own_site.node()
    written(node, 1, 5)
    copied(own_engine, own_engine.folder, tmp_path / "older")
    written_after_restart(node, 6, 10)
    copied(own_engine, tmp_path / "older", own_engine.folder)
    new = own_site.node()
    reach(5, new)
    for turn in range(6, 15):
        new.set("k", f"other {turn}", id=f"other-{turn}")
    assert_stands_apart(node, own_site, "was replaced", "revision 10", "mine-10", "other-10")
    assert new.value("k") == "other 14"


def copied(engine: Broker, source: Path, target: Path) -> None:
    """Copy the engine's directory while it is not running."""
    engine.kill()
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    engine.start()


def written_after_restart(node: Server, first: int, last: int) -> None:
    until(lambda: log_status(node)["connected"])
    written(node, first, last)


def test_another_stores_log_at_the_address_is_reported_and_never_merged(
    own_engine: Broker, own_site: Site
) -> None:
    node = own_site.node()
    written(node, 1, 10)
    remove_log(own_engine)
    until(lambda: not log_status(node)["connected"])
    found_another(own_site, 20)
    assert_stands_apart(node, own_site, "0" * 32, node.store, "Nothing was merged")


def test_a_log_that_is_replaced_behind_an_open_connection_is_never_merged(
    own_engine: Broker, own_site: Site
) -> None:
    node = own_site.node()
    watcher = Watcher(node)
    written(node, 1, 10)
    watcher.changes(10)
    remove_log(own_engine)
    found_another(own_site, 20)
    assert_stands_apart(node, own_site, "0" * 32)
    assert [change["id"] for change in watcher.changes(10)][-1] == "mine-10"


def test_a_frozen_node_does_not_write_into_a_log_that_has_taken_its_logs_place(
    own_engine: Broker, own_site: Site
) -> None:
    """The other one ends at the same revision, so that an expectation of its end holds in it."""
    node = own_site.node()
    written(node, 1, 10)
    freeze(node.pid)
    remove_log(own_engine)
    found_another(own_site, 10)
    connection = node.connect()
    body = json.dumps({"type": "set", "key": "k", "value": "lost", "id": "lost"})
    connection.request("POST", "/commands", body, node.authorization() | JSON)
    thaw(node.pid)
    assert connection.getresponse().status == 503
    connection.close()
    assert_stands_apart(node, own_site, "0" * 32)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (("--appendonly", "no"), "not durable"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), "up to a second may be lost"),
        (("--appendonly", "yes", "--appendfsync", "no"), "may be lost"),
        ((*DURABLE, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"), "evicted"),
    ],
)
def test_a_redis_that_is_not_durable_is_reported_and_refused_if_required(
    tmp_path: Path, settings: tuple[str, ...], says: str
) -> None:
    with RedisServer(tmp_path / "redis", *settings) as redis:
        address = address_at(redis.url)
        with Site(tmp_path, address=address) as site:
            node = site.node()
            node.set("k", 1)
            assert says in status(node)["durability"]
            assert log_status(node)["durable"] is False
        new = tmp_path / "new"
        line = refused_start(new, "--engine", address, "--require-durable")
        assert says in line
        assert "--require-durable" in line
        refused_start(tmp_path / "first", "--engine", f"{address}-2", "--require-durable")
        with closing(redis.client()) as client:
            assert not client.exists("{store-2}:meta")


def test_a_redis_that_syncs_before_it_answers_is_durable(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path / "redis", *DURABLE) as redis,
        Site(tmp_path, address=address_at(redis.url)) as site,
    ):
        node = site.node("--require-durable")
        assert node.set("k", 1)["revision"] == 1
        assert status(node)["durability"] == "on disk before acknowledged"
        assert log_status(node)["durable"] is True


def test_a_single_nats_server_is_not_durable_and_refused_if_required(
    tmp_path: Path,
) -> None:
    with NatsServer(tmp_path / "nats") as nats:
        address = address_at(nats.url)
        with Site(tmp_path, address=address) as site:
            node = site.node()
            assert "one server" in status(node)["durability"]
            assert log_status(node)["durable"] is False
        line = refused_start(tmp_path / "new", "--engine", address, "--require-durable")
        assert "one server" in line
        assert "--require-durable" in line
        refused_start(tmp_path / "first", "--engine", f"{address}-2", "--require-durable")
        assert nats.told("STREAM.INFO.store-2")["error"]["code"] == 404
