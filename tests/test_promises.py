"""What was told `unknown` has its outcome also where the server ended before, and nobody writes."""

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
from signalbox.server.engines.base import AppendIndeterminate
from signalbox.server.model.errors import Unavailable
from signalbox.server.model.events import Transaction
from signalbox.server.store.data_dir import STORE_FILE
from signalbox.server.write.pending_attempt import PendingAttempt
from support.any_engine import NodeStore
from support.brokers import new_log
from support.harness import Server
from support.nodes import KINDS, LOST, Site, post, until
from support.silent_log import (
    SECONDS,
    TIMEOUT,
    Announced,
    Silence,
    sent,
    somebody_else_writes,
    told_unknown,
)

NEW = count(1)


@pytest.fixture(params=["nats", "redis"])
def address(request: pytest.FixtureRequest) -> str:
    return new_log(request.param)


@pytest.fixture
def store(tmp_path: Path, address: str) -> Iterator[NodeStore]:
    with NodeStore(tmp_path / "signalbox.db", address, TIMEOUT) as made:
        yield made


@pytest.fixture
def silence(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> Silence:
    return Silence(store, monkeypatch)


def left_by(store: NodeStore) -> Path:
    """A copy of the data directory that a server would leave that was killed now."""
    assert store.database.path is not None
    left = store.database.path.parent
    folder = left.with_name(f"{left.name}-{next(NEW)}")
    folder.mkdir()
    for part in ("", "-wal"):
        shutil.copy(left / f"signalbox.db{part}", folder)
    return folder


@contextmanager
def after_a_crash(store: NodeStore, address: str) -> Iterator[NodeStore]:
    """Another server on what it would leave."""
    with NodeStore(left_by(store) / "signalbox.db", address, TIMEOUT) as again:
        yield again


def in_the_log(store: NodeStore) -> list[str]:
    return [one.id for one in store.log.read(0, 100)]


def assert_nothing_is_in_doubt(store: NodeStore) -> None:
    store.writer.run_between_commits(lambda _: None)
    assert store.projection.unknown_outcomes() == []


def test_what_never_arrived_is_sent_again(store: NodeStore, silence: Silence, address: str) -> None:
    told_unknown(store, "doubt")
    with after_a_crash(store, address) as again:
        announced = Announced(again)
        record = announced.outcome("doubt")
        assert (record["status"], record["revision"]) == ("accepted", 1)
        assert again.readmodel.current.get("k") is not None
        silence.deliver_in_vain()
        assert in_the_log(again) == ["doubt"]
        assert announced.codes("doubt") == [None]
        assert_nothing_is_in_doubt(again)


def test_what_had_arrived_is_found(store: NodeStore, silence: Silence, address: str) -> None:
    told_unknown(store, "doubt")
    silence.deliver()
    with after_a_crash(store, address) as again:
        assert Announced(again).outcome("doubt")["status"] == "accepted"
        assert in_the_log(again) == ["doubt"]
        assert_nothing_is_in_doubt(again)


def test_where_others_have_written_since_it_was_never_written(
    store: NodeStore, silence: Silence, address: str
) -> None:
    del silence
    told_unknown(store, "doubt")
    somebody_else_writes(address)
    with after_a_crash(store, address) as again:
        announced = Announced(again)
        assert announced.outcome("doubt")["code"] == "unavailable"
        assert announced.codes("doubt") == ["unavailable"]
        assert_nothing_is_in_doubt(again)
        assert sent(again, "doubt").wait().answer()["revision"] == 2


@pytest.mark.parametrize("arrived", [0, 1, 2])
def test_all_that_shared_a_commit_have_an_outcome(
    store: NodeStore, silence: Silence, address: str, arrived: int
) -> None:
    waiting = [
        sent(store, "first"),
        sent(store, "unchanged"),
        sent(store, "conflict", expect="absent"),
        sent(store, "second", value=2),
    ]
    for one in waiting:
        assert one.wait().answer()["status"] == "unknown"
    if arrived:
        silence.deliver(arrived)
    with after_a_crash(store, address) as again:
        announced = Announced(again)
        assert announced.outcome("first")["revision"] == 1
        assert announced.outcome("second")["revision"] == 2
        for identity in ("unchanged", "conflict"):
            assert announced.outcome(identity)["code"] == "unavailable"
        assert in_the_log(again) == ["first", "second"]
        assert_nothing_is_in_doubt(again)


def test_where_the_log_is_away_it_waits_for_that(
    store: NodeStore, silence: Silence, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del silence
    monkeypatch.setattr(shared_log_commit, "RETRY_SECONDS", 0.01)
    told_unknown(store, "doubt")
    with after_a_crash(store, address) as again:
        away = Silence(again, monkeypatch)
        announced = Announced(again)
        assert away.asked.wait(10)
        assert again.readmodel.attempt("doubt") is None
        away.end()
        assert announced.outcome("doubt")["status"] == "accepted"


def test_sent_again_while_the_log_is_still_away_it_has_the_outcome_of_the_first(
    store: NodeStore, silence: Silence, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del silence
    monkeypatch.setattr(shared_log_commit, "RETRY_SECONDS", 0.01)
    told_unknown(store, "doubt")
    with after_a_crash(store, address) as again:
        away = Silence(again, monkeypatch)
        announced = Announced(again)

        def refusing(_transactions: Sequence[Transaction], _expected: int) -> None:
            raise Unavailable("nobody is there.")

        monkeypatch.setattr(again.log, "append", refusing)
        told_unknown(again, "doubt")
        assert announced.codes("doubt") == []
        away.end()
        assert announced.outcome("doubt")["status"] == "accepted"
        assert announced.codes("doubt") == [None]
        assert_nothing_is_in_doubt(again)


def test_of_what_two_crashes_have_left_the_last_is_sent_again(
    store: NodeStore, silence: Silence, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del silence
    told_unknown(store, "doubt")
    with after_a_crash(store, address) as second:
        Silence(second, monkeypatch)
        told_unknown(second, "later", value=2)
        with after_a_crash(second, address) as third:
            announced = Announced(third)
            assert announced.outcome("later")["status"] == "accepted"
            assert announced.outcome("doubt")["code"] == "unavailable"
            assert in_the_log(third) == ["later"]
            assert_nothing_is_in_doubt(third)


def test_nothing_is_promised_before_the_promise_is_kept(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the engine takes for what is large."""
    waits_on, left = Event(), SharedLogCommit._seconds_left  # noqa: SLF001 - 0 where one is told

    def look(strategy: SharedLogCommit, pending: PendingAttempt) -> float:
        if (seconds := left(strategy, pending)) == shared_log_commit.SAVE_CHECK_SECONDS:
            waits_on.set()
        return seconds

    def slowly(_transactions: Sequence[Transaction], _expected: int) -> None:
        assert waits_on.wait(SECONDS)
        raise AppendIndeterminate("nobody answers")

    monkeypatch.setattr(SharedLogCommit, "_seconds_left", look)
    with NodeStore(tmp_path / STORE_FILE, address, TIMEOUT) as store:
        Silence(store, monkeypatch)
        monkeypatch.setattr(store.log, "append", slowly)
        told_unknown(store, "doubt")
        with after_a_crash(store, address) as again:
            assert Announced(again).outcome("doubt")["status"] == "accepted"


def test_where_the_store_has_its_log_here_since_it_was_never_written(
    store: NodeStore, silence: Silence
) -> None:
    del silence
    store.database.node_id()  # as a node has one
    told_unknown(store, "doubt")
    server = Server(left_by(store))
    try:
        assert server.get("/queries/attempts/doubt").json()["code"] == "unavailable"
    finally:
        server.kill()


def promised(node: Server) -> bool:
    """Whether the node has kept on disk that somebody is owed an outcome."""
    with closing(apsw.Connection(str(node.data_dir / STORE_FILE))) as connection:
        return bool(connection.execute("SELECT 1 FROM attempts WHERE status = 'unknown'").get)


@pytest.mark.parametrize("kind", KINDS)
def test_a_node_that_was_killed_settles_by_itself_what_it_had_sent(
    tmp_path: Path, kind: str
) -> None:
    with Site(tmp_path, kind) as site:
        node, network = site.remote()
        node.set("k", 1)
        network.hold("server")
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(post, node, "set", key="k", value=2, id="doubt")
            until(lambda: promised(node))
            node.kill()
            with pytest.raises(LOST):
                answer.result()
        network.cut()
        network.mend()
        again = site.again(node)
        until(lambda: again.get("/queries/attempts/doubt").status == 200)
        assert again.get("/queries/attempts/doubt").json()["status"] == "accepted"
        assert again.value("k") == 2
