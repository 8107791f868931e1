"""What is special about a log in NATS JetStream, on real servers: appending, reading, following."""

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from signalbox.server.engines.address import read_address
from signalbox.server.engines.engine_interface import AppendIndeterminate, LogConflict
from signalbox.server.engines.jetstream.asyncio_greenlet import AsyncioGreenlet
from signalbox.server.engines.jetstream.connection import open_connection
from signalbox.server.engines.jetstream.log import JetStreamLog
from signalbox.server.model.errors import Unavailable
from support import brokers
from support.brokers import new_log
from support.jetstream_logs import (
    SECONDS,
    Logs,
    asked,
    flat,
    followed,
    in_parallel,
    made,
    stream,
    whole,
)
from support.nats_server import NatsServer
from support.tcp_proxy import Proxy

SIZES = [1, 3, 200]
"""Of appends: a single message, a chain, an atomic batch."""
MIB = 1024 * 1024


@pytest.fixture
def logs() -> Iterator[Logs]:
    opened = Logs()
    yield opened
    opened.close()


@pytest.fixture
def log(logs: Logs) -> JetStreamLog:
    return logs.at(new_log("nats"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    """One that may be killed."""
    with NatsServer(tmp_path / "nats", "max_payload: 8MB") as started:
        yield started


def chained(logs: Logs, name: str) -> JetStreamLog:
    """A log as servers before 2.12 have it, without atomic batches."""
    stream(brokers.nats().port, name)
    return logs.at(f"{brokers.nats().url}/{name}")


# Appending.


@pytest.mark.parametrize("size", SIZES)
def test_behind_a_foreign_message_nothing_of_an_append_is_stored(
    log: JetStreamLog, size: int
) -> None:
    log.append(made(1, by="other"), 0)
    with pytest.raises(LogConflict) as caught:
        log.append(made(1, size), 0)
    assert caught.value.actual == 1
    assert [one.id for one in whole(log)] == ["other-1"]


@pytest.mark.parametrize("size", [*SIZES, 1_000])
def test_an_append_of_any_size_is_there_whole_and_in_order(log: JetStreamLog, size: int) -> None:
    log.append(made(1), 0)
    log.append(made(2, size), 1)
    assert whole(log) == made(1, size + 1)


def test_more_than_a_batch_takes_is_a_mistake_of_the_caller(log: JetStreamLog) -> None:
    with pytest.raises(ValueError, match="1001"):
        log.append(made(1, 1_001), 0)
    assert log.last_revision() == 0


def test_without_atomic_batches_a_chain_stores_all_in_order(logs: Logs) -> None:
    log = chained(logs, "chain-order")
    log.append(made(1, 500), 0)
    assert whole(log) == made(1, 500)


def test_without_atomic_batches_nothing_is_stored_behind_a_link_that_was_refused(
    logs: Logs,
) -> None:
    log = chained(logs, "chain-refused")
    log.append(made(1, by="other"), 0)
    with pytest.raises(LogConflict):
        log.append(made(1, 200), 0)
    assert [one.id for one in whole(log)] == ["other-1"]


@pytest.mark.parametrize("size", SIZES)
def test_an_append_that_is_tried_again_is_not_there_twice(log: JetStreamLog, size: int) -> None:
    log.append(made(1, size), 0)
    with pytest.raises(LogConflict) as caught:
        log.append(made(1, size), 0)
    assert caught.value.actual == size
    assert whole(log) == made(1, size)


@pytest.mark.parametrize("size", [1, 3])
def test_the_rest_of_a_chain_of_which_a_part_is_there_follows_it_once(
    log: JetStreamLog, size: int
) -> None:
    log.append(made(1, size), 0)
    for _ in range(2):
        with pytest.raises((LogConflict, AppendIndeterminate)):
            log.append(made(1, 5), 0)
    assert whole(log) == made(1, 5)


@pytest.mark.parametrize("size", SIZES)
def test_an_append_whose_answer_is_lost_is_unsettled_and_a_retry_settles_it(
    logs: Logs, log: JetStreamLog, size: int
) -> None:
    with Proxy(brokers.nats().port) as proxy:
        cut_off = logs.at(f"nats://127.0.0.1:{proxy.port}/{log.address.rpartition('/')[2]}")
        proxy.hold("client")
        with pytest.raises(AppendIndeterminate):
            cut_off.append(made(1, size), 0)
        proxy.cut()
        with pytest.raises(LogConflict) as caught:
            log.append(made(1, size), 0)
        cut_off.close()
    assert caught.value.actual == size
    assert whole(log) == made(1, size)


def test_of_concurrent_appends_one_wins_each_revision(logs: Logs) -> None:
    """Of a chain perhaps only the first was stored: the outcome is then found out from the log."""
    address = new_log("nats")
    nodes = [logs.at(address) for _ in range(4)]

    def work(number: int) -> int:
        won = 0
        while (end := nodes[number].last_revision()) < 100:
            try:
                nodes[number].append(made(end + 1, 2, by=f"n{number}"), end)
                won += 2
            except LogConflict:
                gevent.sleep(0)
            except AppendIndeterminate:
                won += sum(one.actor == f"n{number}" for one in nodes[number].read(end, 2))
        return won

    won = in_parallel(*[lambda number=number: work(number) for number in range(4)])
    there = whole(nodes[0])
    assert sum(won) == len(there)
    assert [one.revision for one in there] == list(range(1, len(there) + 1))


def test_a_batch_larger_than_any_buffer_arrives(server: NatsServer, logs: Logs) -> None:
    log = logs.at(f"{server.url}/large")
    log.append(made(1, 500, 50_000), 0)
    assert log.last_revision() == 500


# Reading.


def test_read_returns_about_a_mebibyte_at_once_and_continues_after_it(log: JetStreamLog) -> None:
    log.append(made(1, 60, 60_000), 0)
    first = log.read(0, 1_000)
    assert len(first) * 60_000 < 2 * MIB
    assert whole(log) == made(1, 60, 60_000)


def test_a_message_larger_than_a_piece_is_read_and_followed(server: NatsServer, logs: Logs) -> None:
    log = logs.at(f"{server.url}/log")
    written = [*made(1, 1, 6_000_000), *made(2), *made(3, 1, 5_000_000)]
    for one in written:
        log.append([one], one.revision - 1)
    assert whole(log) == written
    assert flat(followed(log, 3)) == written


# Following.


def test_a_long_log_is_followed_in_bounded_pieces_without_gaps(log: JetStreamLog) -> None:
    for after in range(0, 900, 300):
        log.append(made(after + 1, 300, 20_000), after)
    pieces = followed(log, 900)
    assert flat(pieces) == made(1, 900, 20_000)
    assert all(sum(len(one.changes[0].raw or "") for one in piece) < 2 * MIB for piece in pieces)


def test_follow_gives_later_appends_from_its_position_on(logs: Logs) -> None:
    address = new_log("nats")
    writer, reader = logs.at(address), logs.at(address)
    writer.append(made(1, 5), 0)
    follower = gevent.spawn(followed, reader, 8, 3)
    for after in range(5, 8):
        writer.append(made(after + 1), after)
    assert flat(follower.get(timeout=SECONDS)) == made(4, 5)


def test_follow_leaves_out_what_the_caller_has_applied(logs: Logs) -> None:
    address = new_log("nats")
    writer, reader = logs.at(address), logs.at(address)
    is_asked = Event()

    def known() -> int:
        is_asked.set()
        return 1

    follower = gevent.spawn(followed, reader, 3, 0, known)
    writer.append(made(1), 0)
    assert is_asked.wait(SECONDS)
    writer.append(made(2, 2), 1)
    assert flat(follower.get(timeout=SECONDS)) == made(2, 2)


def test_a_published_message_reaches_all_subscribers(logs: Logs) -> None:
    address = new_log("nats")
    one, other = logs.at(address), logs.at(address)
    heard = [gevent.spawn(next, log.subscribe()) for log in (one, other)]
    while not all(each.ready() for each in heard):  # what is published before they listen is lost
        one.publish(b"\x00ding")
        gevent.joinall(heard, timeout=0.05)
    assert [each.get(timeout=SECONDS) for each in heard] == [b"\x00ding"] * 2


def test_a_queue_keeps_the_newest_messages_and_ends_with_unsubscribing() -> None:
    loop = AsyncioGreenlet.of_hub()
    client = loop.run(open_connection(read_address(new_log("nats"))))
    try:
        queue = loop.run(client.open_queue("told", max_length=2))
        for number in range(5):
            loop.run(client.publish("told", b"%d" % number))
        loop.run(client.flush())
        assert [loop.run(queue.next(SECONDS)).data for _ in range(2)] == [b"3", b"4"]
        loop.run(queue.unsubscribe())
        loop.run(client.publish("told", b"5"))
        loop.run(client.flush())
        assert not queue
    finally:
        loop.run(client.close())
        loop.close()


# Ends.


def test_a_log_that_is_not_connected_takes_and_gives_nothing(logs: Logs) -> None:
    log = logs.away(new_log("nats"))
    for call in (
        lambda: log.append(made(1), 0),
        lambda: log.read(0, 1),
        log.last_revision,
        lambda: next(log.follow(0)),
        lambda: next(log.subscribe()),
        lambda: log.publish(b"x"),
    ):
        with pytest.raises(Unavailable):
            call()


def test_closing_ends_followers_and_subscribers(log: JetStreamLog) -> None:
    waiting: list[gevent.Greenlet[..., object]] = [
        gevent.spawn(list, log.follow(0)),
        gevent.spawn(list, log.subscribe()),
    ]
    gevent.idle()
    log.close()
    for one in waiting:
        with pytest.raises(Unavailable):
            one.get(timeout=SECONDS)


def test_killing_a_waiting_greenlet_disturbs_no_other(log: JetStreamLog) -> None:
    for wait in (log.follow(0), log.subscribe()):
        waiting = gevent.spawn(next, wait)
        gevent.idle()
        waiting.kill(timeout=SECONDS)
    log.append(made(1), 0)
    assert flat(followed(log, 1)) == made(1)


def test_a_killed_server_ends_all_that_waits_within_seconds(server: NatsServer, logs: Logs) -> None:
    log = logs.at(f"{server.url}/log")
    log.append(made(1), 0)
    follower = gevent.spawn(followed, log, 99, 1)
    hearer = gevent.spawn(list, log.subscribe())
    gevent.idle()
    server.kill()
    for one in (follower, hearer):
        with pytest.raises(Unavailable):
            one.get(timeout=SECONDS)
    with pytest.raises(Unavailable):
        log.append(made(2), 1)


@pytest.mark.parametrize("size", [1, 40, 400])
def test_killing_the_server_loses_nothing_that_was_acknowledged_nor_hangs(
    server: NatsServer, logs: Logs, size: int
) -> None:
    log = logs.at(f"{server.url}/log")
    acknowledged = [0]

    def append() -> None:
        while True:
            log.append(made(acknowledged[0] + 1, size, 10_000), acknowledged[0])
            acknowledged[0] += size

    appender = gevent.spawn(append)
    while acknowledged[0] < 3 * size:
        gevent.sleep(0.001)
    server.kill()
    with pytest.raises((Unavailable, AppendIndeterminate)):
        appender.get(timeout=SECONDS)
    server.start()
    log.connect(None)
    there = whole(log)
    assert len(there) >= acknowledged[0]
    assert there == made(1, len(there), 10_000)


def test_a_deleted_stream_ends_its_followers(server: NatsServer, logs: Logs) -> None:
    log = logs.at(f"{server.url}/log")
    follower = gevent.spawn(followed, log, 99)
    gevent.idle()
    assert asked(server.port, "STREAM.DELETE.log")["success"]
    with pytest.raises(Unavailable):
        follower.get(timeout=SECONDS)
    with pytest.raises(Unavailable):
        log.append(made(1), 0)
