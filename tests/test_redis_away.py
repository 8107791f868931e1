"""A Redis that is killed, hangs, comes back or is partitioned: what is certain, and what is not."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from signalbox.server.engines.engine_interface import AppendIndeterminate, LogConflict
from signalbox.server.engines.redis.connection import SECONDS
from signalbox.server.engines.redis.log import RedisLog
from signalbox.server.model.errors import StoreError, Unavailable
from support.redis_logs import (
    OURS,
    Background,
    admin,
    flat,
    joined,
    log_at,
    once,
    transaction,
    transactions,
)
from support.redis_server import DURABLE, RedisServer
from support.tcp_proxy import Proxy

NOTICED: Final = 2 * SECONDS + 1
"""Seconds within which silence is noticed."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", *DURABLE) as made:
        yield made


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as made:
        yield made


@pytest.fixture
def log(proxy: Proxy) -> Iterator[RedisLog]:
    """Connected through the proxy, with revision 1."""
    with joined(f"redis://127.0.0.1:{proxy.port}") as made:
        made.append([transaction(1)], 0)
        yield made


# Appends.


def test_an_append_whose_answer_is_lost_is_unsettled_and_conflicts_with_itself(
    log: RedisLog, proxy: Proxy
) -> None:
    proxy.hold("client")
    with once(lambda: log.append(transactions(2, 4), 1)) as append:
        assert proxy.held.wait(NOTICED)  # the server has answered
        proxy.cut()
        assert isinstance(append.error(), AppendIndeterminate)
    proxy.mend()
    with pytest.raises(LogConflict) as caught:
        log.append(transactions(2, 4), 1)
    assert caught.value.actual == 4
    assert log.read(0, 10) == transactions(1, 4)


def test_an_append_that_never_arrives_is_unsettled_and_may_be_tried_again(
    log: RedisLog, proxy: Proxy
) -> None:
    proxy.hold("server")
    with once(lambda: log.append([transaction(2)], 1)) as append:
        assert proxy.held.wait(NOTICED)
        proxy.cut()
        assert isinstance(append.error(), AppendIndeterminate)
    proxy.mend()
    log.append([transaction(2)], 1)
    assert log.read(0, 10) == transactions(1, 2)


def test_a_late_answer_is_never_taken_for_that_of_another_call(log: RedisLog, proxy: Proxy) -> None:
    proxy.hold("client")
    began = monotonic()
    with pytest.raises(AppendIndeterminate):
        log.append([transaction(2)], 1)
    assert monotonic() - began < NOTICED
    proxy.release()
    assert log.last_revision() == 2
    log.append([transaction(3)], 2)
    with pytest.raises(LogConflict) as caught:
        log.append([transaction(3)], 2)
    assert caught.value.actual == 3
    assert log.read(0, 10) == transactions(1, 3)


def test_a_late_append_never_follows_another_nodes(
    log: RedisLog, server: RedisServer, proxy: Proxy
) -> None:
    proxy.hold("server")
    with pytest.raises(AppendIndeterminate):
        log.append([transaction(2, '"late"')], 1)
    with joined(server.url) as other:
        other.append([transaction(2, '"first"')], 1)
        proxy.release()
        assert log.read(1, 10) == [transaction(2, '"first"')]
        other.append([transaction(3)], 2)
    assert [one.revision for one in log.read(0, 10)] == [1, 2, 3]


def test_without_a_connection_nothing_was_written(log: RedisLog, proxy: Proxy) -> None:
    proxy.cut()
    calls = (
        lambda: log.append([transaction(2)], 1),
        lambda: log.read(0, 1),
        log.last_revision,
        lambda: log.publish(b"x"),
        lambda: next(log.follow(1)),
        lambda: next(log.subscribe()),
    )
    for call in calls:
        with pytest.raises(Unavailable) as caught:
            call()
        assert log.address in str(caught.value)
    proxy.mend()
    log.append([transaction(2)], 1)


def test_a_slow_network_is_only_slow(log: RedisLog, server: RedisServer, proxy: Proxy) -> None:
    proxy.delay(0.1)
    with Background(log.follow(0)) as follower:
        with joined(server.url) as other:
            other.append(transactions(2, 5), 1)
        follower.until(lambda pieces: flat(pieces) == [1, 2, 3, 4, 5])
        log.append([transaction(6)], 5)
        follower.until(lambda pieces: flat(pieces)[-1] == 6)
        log.close()
        assert isinstance(follower.error(), Unavailable)


# Those who listen.


def listeners(log: RedisLog, server: RedisServer) -> list[Background[object]]:
    """A follower and a hearer, at work."""
    follower: Background[object] = Background(iter(log.follow(0)))
    follower.until(len)
    hearer: Background[object] = Background(iter(log.subscribe()))
    with admin(server) as at:
        while at.pubsub_numsub("{log}:told") != [(b"{log}:told", 1)]:
            pass
    return [follower, hearer]


def test_kill_9_ends_subscribers_at_once(log: RedisLog, server: RedisServer) -> None:
    running = listeners(log, server)
    server.kill()
    began = monotonic()
    for each in running:
        assert isinstance(each.error(), Unavailable)
    assert monotonic() - began < SECONDS


def test_a_silent_server_is_noticed(log: RedisLog, server: RedisServer, proxy: Proxy) -> None:
    running = listeners(log, server)
    proxy.hold("client")
    began = monotonic()
    for each in running:
        assert isinstance(each.error(), Unavailable)
    assert monotonic() - began < NOTICED


def test_a_half_closed_connection_ends_subscribers_at_once(
    log: RedisLog, server: RedisServer, proxy: Proxy
) -> None:
    running = listeners(log, server)
    proxy.half_close("client")
    began = monotonic()
    for each in running:
        assert isinstance(each.error(), Unavailable)
    assert monotonic() - began < SECONDS


def test_closing_ends_subscribers_at_once(log: RedisLog, server: RedisServer) -> None:
    running = listeners(log, server)
    began = monotonic()
    log.close()
    for each in running:
        assert isinstance(each.error(), Unavailable)
    assert monotonic() - began < SECONDS
    with pytest.raises(Unavailable):
        log.last_revision()


def test_closing_leaves_an_append_that_is_under_way_unsettled(log: RedisLog, proxy: Proxy) -> None:
    proxy.hold("client")
    with once(lambda: log.append([transaction(2)], 1)) as append:
        assert proxy.held.wait(NOTICED)
        began = monotonic()
        log.close()
        assert isinstance(append.error(), AppendIndeterminate)
    assert monotonic() - began < SECONDS
    proxy.release()
    assert log.connect(None).revision == 2


# Restarts.


def test_after_a_restart_of_the_server_a_new_connect_is_needed(
    log: RedisLog, server: RedisServer
) -> None:
    server.kill()
    server.start()
    with pytest.raises(Unavailable, match="started anew"):
        log.append([transaction(2)], 1)
    assert log.connect(None).revision == 1
    log.append([transaction(2)], 1)
    assert log.read(0, 10) == transactions(1, 2)


def test_with_fsync_before_every_answer_kill_9_loses_nothing_that_was_acknowledged(
    log: RedisLog, server: RedisServer
) -> None:
    acknowledged = [1]

    def append_on() -> None:
        while True:
            first = acknowledged[-1] + 1
            log.append(transactions(first, first + 2), first - 1)
            acknowledged.append(first + 2)

    for _ in range(3):
        goal = len(acknowledged) + 100
        with once(append_on) as appender:
            while len(acknowledged) < goal:
                pass
            server.kill()
            assert isinstance(appender.error(), (AppendIndeterminate, Unavailable))
        server.start()
        found = log.connect(OURS).revision
        # What was under way is there as a whole or not at all.
        assert found in (acknowledged[-1], acknowledged[-1] + 3)
        assert log.last_revision() == found
        acknowledged.append(found)
    follow = log.follow(0)
    revisions: list[int] = []
    while len(revisions) < acknowledged[-1]:
        revisions += flat([next(follow)])
    assert revisions == list(range(1, acknowledged[-1] + 1))


def test_a_server_without_a_file_comes_back_without_the_log(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, joined(server.url) as log:
        log.append([transaction(1)], 0)
        server.kill()
        server.start()
        with pytest.raises(StoreError, match="no log"):
            log.connect(None)


def test_a_server_that_still_loads_is_unavailable(tmp_path: Path) -> None:
    loading = (
        *DURABLE,
        "--key-load-delay",
        "5000",
        "--loading-process-events-interval-bytes",
        "1024",
    )
    with RedisServer(tmp_path, *loading) as server:
        with joined(server.url) as log, admin(server) as at:
            log.append([transaction(1)], 0)
            for number in range(300):
                at.set(f"k{number}", "x" * 100)
        server.kill()
        server.launch()
        with closing(log_at(server.url)) as again:
            with pytest.raises(Unavailable):
                again.connect(OURS)
            server.wait()
            assert again.connect(OURS).revision == 1


def test_a_large_append_over_a_slow_network_arrives(log: RedisLog, proxy: Proxy) -> None:
    size = 4 * 1024 * 1024
    proxy.slow_down(size / (SECONDS + 1))
    log.append([transaction(2, '"' + "x" * size + '"')], 1)
    proxy.mend()
    assert log.last_revision() == 2
