"""The log in a Redis stream: one script decides, foreign hands are noticed, nothing is merged."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from signalbox.server.engines.engine_interface import LogConflict
from signalbox.server.engines.redis.log import READ_BYTES, RedisLog
from signalbox.server.engines.shared_log import LogMetadata, nothing_applied
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.model.events import encode
from support.ports import free_port
from support.redis_logs import (
    OURS,
    Background,
    admin,
    flat,
    joined,
    log_at,
    transaction,
    transactions,
)
from support.redis_server import RedisServer

NAMES: Final = (f"s{number}" for number in count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as made:
        yield made


@pytest.fixture
def at(server: RedisServer) -> Iterator[Any]:
    with admin(server) as client:
        yield client


@pytest.fixture
def name() -> str:
    return next(NAMES)


@pytest.fixture
def log(server: RedisServer, name: str) -> Iterator[RedisLog]:
    """Connected, with revisions 1 to 3."""
    with joined(server.url, name) as made:
        made.append(transactions(1, 3), 0)
        yield made


# Founding.


def test_concurrent_creations_of_a_log_get_the_same_metadata(
    server: RedisServer, name: str
) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        logs = [stack.enter_context(closing(log_at(server.url, name))) for _ in range(8)]
        standings = pool.map(
            lambda each: each[1].connect(LogMetadata(f"store-{each[0]}")), enumerate(logs)
        )
        assert len({log_status.metadata.store for log_status in standings}) == 1


def test_metadata_is_read_as_written(server: RedisServer, name: str) -> None:
    given = LogMetadata("ä-store", (("a.b", 7, 1_700_000_000_000),))
    with closing(log_at(server.url, name)) as first, closing(log_at(server.url, name)) as other:
        assert first.connect(given).metadata == given
        assert other.connect(None).metadata == given


def test_connecting_without_metadata_creates_nothing(
    server: RedisServer, name: str, at: Any
) -> None:
    with closing(log_at(server.url, name)) as log, pytest.raises(StoreError, match="no log"):
        log.connect(None)
    assert at.keys(f"{{{name}}}*") == []


@pytest.mark.parametrize(
    "command",
    [
        ("XADD", "{%s}:log", "1-0", "t", "x"),
        ("RPUSH", "{%s}:log", "x"),
        ("SET", "{%s}:meta", "x"),
        ("HSET", "{%s}:meta", "foundation", "no foundation"),
    ],
    ids=" ".join,
)
def test_foreign_keys_are_refused_and_left_as_they_are(
    server: RedisServer, name: str, at: Any, command: tuple[str, ...]
) -> None:
    at.execute_command(*(part.replace("%s", name) for part in command))
    before = {key: at.dump(key) for key in at.keys(f"{{{name}}}*")}
    with closing(log_at(server.url, name)) as log:
        with pytest.raises(StoreError) as caught:
            log.connect(OURS)
        assert log.address in str(caught.value)
        with pytest.raises(Unavailable):
            log.last_revision()
    assert {key: at.dump(key) for key in at.keys(f"{{{name}}}*")} == before


def test_logs_with_different_names_share_a_server(server: RedisServer, log: RedisLog) -> None:
    with joined(server.url, next(NAMES)) as other:
        assert other.last_revision() == 0
        other.append([transaction(1)], 0)
    assert log.last_revision() == 3


# Appending.


@pytest.mark.parametrize(
    ("command", "undo"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (
            ("CONFIG", "SET", "min-replicas-to-write", "1"),
            ("CONFIG", "SET", "min-replicas-to-write", "0"),
        ),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["full", "no replicas", "a replica itself"],
)
def test_a_server_that_takes_no_writes_has_taken_nothing_of_a_batch(
    log: RedisLog, at: Any, command: tuple[str, ...], undo: tuple[str, ...]
) -> None:
    at.execute_command(*command)
    try:
        with pytest.raises(Unavailable):
            log.append(transactions(4, 9), 3)
    finally:
        at.execute_command(*undo)
    assert log.last_revision() == 3
    log.append(transactions(4, 9), 3)
    assert log.last_revision() == 9


def test_ten_thousand_transactions_are_one_append(log: RedisLog) -> None:
    log.append(transactions(4, 10_003), 3)
    assert log.last_revision() == 10_003
    assert log.read(10_002, 10) == [transaction(10_003)]


def test_revisions_stay_exact_where_ordinary_numbers_are_not(
    log: RedisLog, name: str, at: Any
) -> None:
    last = 2**53 - 10
    at.xadd(f"{{{name}}}:log", {"t": encode(transaction(last))}, f"{last}-0")
    log.append(transactions(last + 1, last + 5), last)
    assert [one.revision for one in log.read(last - 1, 9)] == list(range(last, last + 6))


def test_trimming_does_not_hide_the_end(log: RedisLog, name: str, at: Any) -> None:
    at.xtrim(f"{{{name}}}:log", maxlen=0)
    assert log.last_revision() == 3
    with pytest.raises(LogConflict) as caught:
        log.append([transaction(1)], 0)
    assert caught.value.actual == 3
    log.append([transaction(4)], 3)
    with pytest.raises(Unavailable, match="revision 4 where 1 was next"):
        list(log.follow(0))


def test_a_transaction_of_16_mib_is_taken_and_given(log: RedisLog) -> None:
    large = transaction(4, '"' + "x" * (16 * 1024 * 1024 - 200) + '"')
    log.append([large], 3)
    assert log.read(3, 1) == [large]


def test_a_servers_lower_limit_is_reported(server: RedisServer, name: str, at: Any) -> None:
    at.config_set("proto-max-bulk-len", 2 * 1024 * 1024)
    try:
        with joined(server.url, name) as log:
            assert log.max_bytes is not None
            assert 1024 * 1024 < log.max_bytes < 2 * 1024 * 1024
            log.append([transaction(1, '"' + "x" * (log.max_bytes - 200) + '"')], 0)
    finally:
        at.config_set("proto-max-bulk-len", 512 * 1024 * 1024)


# Foreign hands.


def test_an_entry_with_a_foreign_id_is_noticed_by_writers_and_readers(
    log: RedisLog, server: RedisServer, name: str, at: Any
) -> None:
    at.xadd(f"{{{name}}}:log", {"t": encode(transaction(4))}, "4-7")
    for call in (lambda: log.append([transaction(5)], 4), log.last_revision):
        with pytest.raises(Unavailable, match="4-7"):
            call()
    with closing(log_at(server.url, name)) as other, pytest.raises(StoreError, match="4-7"):
        other.connect(None)
    follow = log.follow(0)
    assert flat([next(follow)]) == [1, 2, 3]
    for applied in (nothing_applied, lambda: 4):
        with pytest.raises(StoreError, match="revision 4 is no transaction"):
            list(log.follow(3, applied))


def test_an_entry_of_another_form_is_noticed(log: RedisLog, name: str, at: Any) -> None:
    at.xadd(f"{{{name}}}:log", {"other": "x"}, "4-0")
    with pytest.raises(StoreError, match="revision 4 is no transaction"):
        log.read(3, 10)
    assert [one.revision for one in log.read(0, 10)] == [1, 2, 3]


def test_a_gap_ends_a_follower(log: RedisLog, name: str, at: Any) -> None:
    at.xadd(f"{{{name}}}:log", {"t": encode(transaction(9))}, "9-0")
    with pytest.raises(LogConflict) as caught:
        log.append([transaction(4)], 3)
    assert caught.value.actual == 9
    with pytest.raises(Unavailable, match="revision 9 where 4 was next"):
        list(log.follow(3))


@pytest.mark.parametrize("is_founded_again", [False, True])
def test_a_log_that_was_removed_takes_nothing_and_gives_nothing(
    log: RedisLog, server: RedisServer, name: str, at: Any, is_founded_again: bool
) -> None:
    with Background(log.follow(0)) as follower:
        follower.until(lambda pieces: len(flat(pieces)) == 3)
        at.delete(f"{{{name}}}:log", f"{{{name}}}:meta")
        if is_founded_again:
            with closing(log_at(server.url, name)) as other:
                other.connect(LogMetadata("another"))
                other.append(transactions(1, 3), 0)
        assert isinstance(follower.error(), Unavailable)
    calls = (lambda: log.append([transaction(4)], 3), lambda: log.read(0, 1), log.last_revision)
    for call in calls:
        with pytest.raises(Unavailable, match="removed or replaced"):
            call()


def test_a_follower_notices_a_removed_stream(log: RedisLog, name: str, at: Any) -> None:
    with Background(log.follow(3)) as follower:
        at.delete(f"{{{name}}}:log")
        assert "lost revision 3" in str(follower.error())


# Following.


def test_a_follower_gets_what_is_there_and_later_appends(log: RedisLog) -> None:
    log.append(transactions(4, 2_500), 3)
    follow = log.follow(1)
    pieces = [next(follow)]
    while flat(pieces)[-1] < 2_500:
        pieces.append(next(follow))
    log.append(transactions(2_501, 2_502), 2_500)
    while flat(pieces)[-1] < 2_502:
        pieces.append(next(follow))
    assert flat(pieces) == list(range(2, 2_503))


def test_follow_leaves_out_what_the_caller_has_applied(log: RedisLog) -> None:
    log.append(transactions(4, 5), 3)
    assert flat([next(log.follow(0))]) == [1, 2, 3, 4, 5]
    follow = log.follow(0, lambda: 3)
    assert [next(follow), flat([next(follow)])] == [[], [4, 5]]


def test_pieces_are_bounded_however_large_transactions_are(log: RedisLog) -> None:
    large = '"' + "x" * 400_000 + '"'
    log.append(transactions(4, 20, large), 3)
    follow = log.follow(3)
    pieces = [next(follow)]
    while flat(pieces)[-1] < 20:
        pieces.append(next(follow))
    assert flat(pieces) == list(range(4, 21))
    # Two come first, and one may go beyond the bound.
    assert max(len(piece) for piece in pieces) * 400_000 <= READ_BYTES + 3 * 400_000
    assert len(log.read(3, 100)) * 400_000 <= READ_BYTES + 400_000


def test_a_message_reaches_all_subscribers(
    log: RedisLog, server: RedisServer, name: str, at: Any
) -> None:
    channel = f"{{{name}}}:told"
    with joined(server.url, name) as other:
        listeners = [Background(each.subscribe()) for each in (log, other)]
        while dict(at.pubsub_numsub(channel))[channel.encode()] < 2:
            pass
        log.publish(b"\x00one")
        other.publish(b"two")
        for listener in listeners:
            assert sorted(listener.until(lambda heard: len(heard) == 2)) == [b"\x00one", b"two"]
        log.close()
        other.close()
        for listener in listeners:
            assert isinstance(listener.error(), Unavailable)


# Who is there.


def test_a_replica_is_passed_over_for_its_master(tmp_path: Path, server: RedisServer) -> None:
    with RedisServer(tmp_path, "--replicaof", "127.0.0.1", str(server.port)) as replica:
        with closing(log_at(replica.url)) as log, pytest.raises(Unavailable, match="replica"):
            log.connect(OURS)
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{replica.port},127.0.0.1:{server.port}"
        with joined(f"redis://{hosts}", next(NAMES)) as log:
            log.append([transaction(1)], 0)
            assert log.last_revision() == 1


def test_a_follower_leaves_a_master_that_has_become_a_replica(log: RedisLog, at: Any) -> None:
    with Background(log.follow(0)) as follower:
        follower.until(lambda pieces: len(flat(pieces)) == 3)
        at.replicaof("127.0.0.1", "1")
        try:
            assert "replica" in str(follower.error())
        finally:
            at.replicaof("NO", "ONE")
