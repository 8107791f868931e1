"""An unknown outcome is resolved after a crash of the server too, also if no one writes."""

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path

import apsw
import pytest
from gevent.event import Event

from signalbox.server.cluster import shared_log_commit
from signalbox.server.cluster.shared_log_commit import SharedLogCommit
from signalbox.server.engines.engine_interface import AppendIndeterminate
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.store.file_names import STORE_FILE
from signalbox.server.write.pending_attempt import PendingAttempt
from support.engine_stores import NodeStore
from support.harness import Server
from support.nodes import KINDS, LOST, Site, post, until
from support.silent_log import (
    SECONDS,
    TIMEOUT,
    PublishedOutcomes,
    SilentLog,
    enqueue,
    other_node_appends,
    send_until_unknown,
)

NEW = count(1)


def copy_as_after_crash(store: NodeStore) -> Path:
    """A copy of the data directory as a server leaves it that is killed now."""
    assert store.database.path is not None
    left = store.database.path.parent
    folder = left.with_name(f"{left.name}-{next(NEW)}")
    folder.mkdir()
    for part in ("", "-wal"):
        shutil.copy(left / f"signalbox.db{part}", folder)
    return folder


@contextmanager
def after_a_crash(store: NodeStore, address: str) -> Iterator[NodeStore]:
    """Another server on such a copy."""
    with NodeStore(copy_as_after_crash(store) / "signalbox.db", address, TIMEOUT) as again:
        yield again


@contextmanager
def after_a_crash_without_the_log(
    store: NodeStore, address: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[NodeStore, SilentLog, PublishedOutcomes]]:
    """The same, with an attempt `doubt` that is unknown and a log that does not answer."""
    monkeypatch.setattr(shared_log_commit, "RETRY_SECONDS", 0.01)
    send_until_unknown(store, "doubt")
    with after_a_crash(store, address) as again:
        yield again, SilentLog(again, monkeypatch), PublishedOutcomes(again)


def in_the_log(store: NodeStore) -> list[str]:
    return [one.id for one in store.log.read(0, 100)]


def assert_nothing_unknown(store: NodeStore) -> None:
    store.writer.run_between_commits(lambda _: None)
    assert store.projection.unknown_outcomes() == []


def test_transactions_that_never_arrived_are_sent_again(
    node_store: NodeStore, silence: SilentLog, log_address: str
) -> None:
    send_until_unknown(node_store, "doubt")
    with after_a_crash(node_store, log_address) as again:
        published = PublishedOutcomes(again)
        record = published.outcome("doubt")
        assert (record["status"], record["revision"]) == ("accepted", 1)
        assert again.readmodel.current.get("k") is not None
        silence.deliver_too_late()
        assert in_the_log(again) == ["doubt"]
        assert published.codes("doubt") == [None]
        assert_nothing_unknown(again)


def test_transactions_that_had_arrived_are_found(
    node_store: NodeStore, silence: SilentLog, log_address: str
) -> None:
    send_until_unknown(node_store, "doubt")
    silence.deliver()
    with after_a_crash(node_store, log_address) as again:
        assert PublishedOutcomes(again).outcome("doubt")["status"] == "accepted"
        assert in_the_log(again) == ["doubt"]
        assert_nothing_unknown(again)


def test_after_another_nodes_append_the_attempt_is_rejected(
    node_store: NodeStore, silence: SilentLog, log_address: str
) -> None:
    del silence
    send_until_unknown(node_store, "doubt")
    other_node_appends(log_address)
    with after_a_crash(node_store, log_address) as again:
        published = PublishedOutcomes(again)
        assert published.outcome("doubt")["code"] == "unavailable"
        assert published.codes("doubt") == ["unavailable"]
        assert_nothing_unknown(again)
        assert enqueue(again, "doubt").wait().answer()["revision"] == 2


@pytest.mark.parametrize("arrived", [0, 1, 2])
def test_all_attempts_of_a_group_get_an_outcome(
    node_store: NodeStore, silence: SilentLog, log_address: str, arrived: int
) -> None:
    waiting = [
        enqueue(node_store, "first"),
        enqueue(node_store, "unchanged"),
        enqueue(node_store, "conflict", expect="absent"),
        enqueue(node_store, "second", value=2),
    ]
    for one in waiting:
        assert one.wait().answer()["status"] == "unknown"
    if arrived:
        silence.deliver(arrived)
    with after_a_crash(node_store, log_address) as again:
        published = PublishedOutcomes(again)
        assert published.outcome("first")["revision"] == 1
        assert published.outcome("second")["revision"] == 2
        for identity in ("unchanged", "conflict"):
            assert published.outcome(identity)["code"] == "unavailable"
        assert in_the_log(again) == ["first", "second"]
        assert_nothing_unknown(again)


def test_without_the_log_the_outcome_stays_unknown(
    node_store: NodeStore, silence: SilentLog, log_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del silence
    with after_a_crash_without_the_log(node_store, log_address, monkeypatch) as crashed:
        again, away, published = crashed
        assert away.asked.wait(10)
        assert again.readmodel.attempt("doubt") is None
        away.end()
        assert published.outcome("doubt")["status"] == "accepted"


def test_the_same_command_gets_the_outcome_of_the_first_one(
    node_store: NodeStore, silence: SilentLog, log_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del silence
    with after_a_crash_without_the_log(node_store, log_address, monkeypatch) as crashed:
        again, away, published = crashed

        def refusing(_transactions: Sequence[Transaction], _expected: int) -> None:
            raise Unavailable("nobody is there.")

        monkeypatch.setattr(again.log, "append", refusing)
        send_until_unknown(again, "doubt")
        assert published.codes("doubt") == []
        away.end()
        assert published.outcome("doubt")["status"] == "accepted"
        assert published.codes("doubt") == [None]
        assert_nothing_unknown(again)


def test_after_two_crashes_only_the_last_transactions_are_sent_again(
    node_store: NodeStore, silence: SilentLog, log_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del silence
    send_until_unknown(node_store, "doubt")
    with after_a_crash(node_store, log_address) as second:
        SilentLog(second, monkeypatch)
        send_until_unknown(second, "later", value=2)
        with after_a_crash(second, log_address) as third:
            published = PublishedOutcomes(third)
            assert published.outcome("later")["status"] == "accepted"
            assert published.outcome("doubt")["code"] == "unavailable"
            assert in_the_log(third) == ["later"]
            assert_nothing_unknown(third)


def test_no_sender_gets_unknown_before_that_is_stored(
    tmp_path: Path, log_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the engine takes for what is large."""
    waits_on, left = Event(), SharedLogCommit._seconds_left  # noqa: SLF001 - 0 where an outcome is known

    def look(strategy: SharedLogCommit, pending: PendingAttempt) -> float:
        if (seconds := left(strategy, pending)) == shared_log_commit.SAVE_CHECK_SECONDS:
            waits_on.set()
        return seconds

    def slowly(_transactions: Sequence[Transaction], _expected: int) -> None:
        assert waits_on.wait(SECONDS)
        raise AppendIndeterminate("nobody answers")

    monkeypatch.setattr(SharedLogCommit, "_seconds_left", look)
    with NodeStore(tmp_path / STORE_FILE, log_address, TIMEOUT) as node_store:
        SilentLog(node_store, monkeypatch)
        monkeypatch.setattr(node_store.log, "append", slowly)
        send_until_unknown(node_store, "doubt")
        with after_a_crash(node_store, log_address) as again:
            assert PublishedOutcomes(again).outcome("doubt")["status"] == "accepted"


def test_a_store_with_a_local_log_since_then_rejects_the_attempt(
    node_store: NodeStore, silence: SilentLog
) -> None:
    del silence
    node_store.database.node_id()  # as a node has one
    send_until_unknown(node_store, "doubt")
    server = Server(copy_as_after_crash(node_store))
    try:
        assert server.get("/queries/attempts/doubt").json()["code"] == "unavailable"
    finally:
        server.kill()


def has_stored_unknown(node: Server) -> bool:
    """Whether the node has stored an unknown outcome."""
    with closing(apsw.Connection(str(node.data_dir / STORE_FILE))) as connection:
        return bool(connection.execute("SELECT 1 FROM attempts WHERE status = 'unknown'").get)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_node_resolves_its_unknown_outcomes_by_itself(tmp_path: Path, kind: str) -> None:
    with Site(tmp_path, kind) as site:
        node, network = site.remote()
        node.set("k", 1)
        network.hold("server")
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post, node, "set", key="k", value=2, id="doubt")
            until(lambda: has_stored_unknown(node))
            node.kill()
            with pytest.raises(LOST):
                answer.result()
        network.cut()
        network.mend()
        again = site.again(node)
        until(lambda: again.get("/queries/attempts/doubt").status == 200)
        assert again.get("/queries/attempts/doubt").json()["status"] == "accepted"
        assert again.value("k") == 2
