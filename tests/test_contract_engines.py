"""One suite for every engine: the promises of `engine_interface.py` about the event log."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signalbox.server.cluster.node import Node
from signalbox.server.engines.address import read_address
from signalbox.server.engines.engine_interface import Engine, LogConflict
from signalbox.server.engines.shared_log import shared_log
from signalbox.server.engines.sqlite import INLINE_CHANGES, SqliteEngine
from signalbox.server.model.events import Change, Transaction
from signalbox.server.store.database import Database, checkpoint_every
from support.brokers import new_log


def nothing() -> None:
    """Nothing belongs to the read model."""


class SqliteCase:
    """The engine, and what its `also` writes beside the log: on a file."""

    path: Path | None

    def __init__(self, folder: Path) -> None:
        self.path = folder / "signalbox.db"
        self.open()

    def open(self) -> None:
        self.database = Database(self.path)
        self.engine: Engine = SqliteEngine(self.database)

    @property
    def noted(self) -> list[str]:
        found = self.database.meta("noted")
        return [found] if found else []

    def note(self) -> None:
        self.database.set_meta("noted", "noted")

    def close(self) -> None:
        self.database.close()


class MemoryCase(SqliteCase):
    """As `SqliteCase`, in memory."""

    def __init__(self, _folder: Path) -> None:
        self.path = None
        self.open()


class SharedCase(SqliteCase):
    """As `SqliteCase`, with the log on a server and the file as its replica."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.address = read_address(new_log(kind))
        super().__init__(folder)

    def open(self) -> None:
        self.database = Database(self.path)
        self.log = shared_log(self.address)
        replica = SqliteEngine(self.database)
        self.engine = Node(self.log, self.address, self.database, replica, time).engine

    def close(self) -> None:
        self.log.close()
        super().close()


Case = MemoryCase | SqliteCase
CASES: dict[str, Callable[[Path], Case]] = {
    "memory": MemoryCase,
    "sqlite": SqliteCase,
    "nats": partial(SharedCase, kind="nats"),
    "redis": partial(SharedCase, kind="redis"),
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    made = CASES[request.param](tmp_path)
    yield made
    made.close()


def transaction(revision: int, *changes: tuple[str, str | None]) -> Transaction:
    facts = [Change(*change) for change in sorted(changes or (("k", str(revision)),))]
    return Transaction(
        revision, f"id-{revision}", "actor", 1_000 + revision, "set", b"f" * 16, facts
    )


def fill(engine: Engine, count: int) -> list[Transaction]:
    written = [transaction(number) for number in range(1, count + 1)]
    engine.append(written, 0, nothing)
    return written


def test_a_new_log_is_empty(case: Case) -> None:
    assert case.engine.last_revision() == 0
    assert case.engine.read(0, 10) == []


def test_appended_transactions_are_read_back_complete_and_in_order(case: Case) -> None:
    first = [transaction(1, ("a", "1"), ("b", None)), transaction(2, ("a", '"\u2028é"'))]
    case.engine.append(first, 0, nothing)
    case.engine.append([transaction(3, ("a", None))], 2, nothing)
    assert case.engine.read(0, 10) == [*first, transaction(3, ("a", None))]
    assert case.engine.last_revision() == 3


@pytest.mark.parametrize("expected", [0, 1, 3, 99])
def test_a_wrong_expected_revision_is_a_conflict_that_names_the_actual_one(
    case: Case, expected: int
) -> None:
    fill(case.engine, 2)
    with pytest.raises(LogConflict) as caught:
        case.engine.append([transaction(expected + 1)], expected, case.note)
    assert caught.value.actual == 2
    assert case.engine.last_revision() == 2
    assert case.noted == []


def test_of_two_appends_after_the_same_revision_one_wins(case: Case) -> None:
    fill(case.engine, 2)
    case.engine.append([transaction(3, ("winner", "1"))], 2, nothing)
    with pytest.raises(LogConflict):
        case.engine.append([transaction(3, ("loser", "1"))], 2, nothing)
    assert case.engine.read(2, 10) == [transaction(3, ("winner", "1"))]


def test_also_is_done_with_the_append(case: Case) -> None:
    case.engine.append([transaction(1)], 0, case.note)
    assert case.noted == ["noted"]


def test_where_also_fails_the_whole_batch_is_not_there(case: Case) -> None:
    fill(case.engine, 1)

    def fail() -> None:
        case.note()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        case.engine.append([transaction(2), transaction(3)], 1, fail)
    assert case.engine.last_revision() == 1
    assert [one.revision for one in case.engine.read(0, 10)] == [1]
    case.engine.append([transaction(2)], 1, nothing)
    assert case.engine.last_revision() == 2


def test_a_large_batch_is_one_append(case: Case) -> None:
    keys = [(f"k{number:05}", str(number)) for number in range(3_000)]
    case.engine.append([transaction(1, *keys), transaction(2)], 0, case.note)
    assert [len(one.changes) for one in case.engine.read(0, 10)] == [3_000, 1]
    assert case.noted == ["noted"]


def test_a_large_batch_whose_also_fails_leaves_nothing(case: Case) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    keys = [(f"k{number:05}", str(number)) for number in range(3_000)]
    with pytest.raises(ZeroDivisionError):
        case.engine.append([transaction(1, *keys)], 0, fail)
    assert case.engine.last_revision() == 0
    assert case.engine.read(0, 10) == []


def test_an_empty_append_runs_only_its_function(case: Case) -> None:
    fill(case.engine, 2)
    case.engine.append([], 2, case.note)
    assert case.noted == ["noted"]
    assert case.engine.last_revision() == 2


def test_an_empty_append_conflicts_too(case: Case) -> None:
    fill(case.engine, 2)
    with pytest.raises(LogConflict):
        case.engine.append([], 1, case.note)
    assert case.noted == []


def test_read_returns_at_most_the_limit_after_the_position(case: Case) -> None:
    written = fill(case.engine, 7)
    assert case.engine.read(0, 3) == written[:3]
    assert case.engine.read(3, 3) == written[3:6]
    assert case.engine.read(6, 3) == written[6:]
    assert case.engine.read(7, 3) == []
    assert case.engine.read(99, 3) == []


def test_read_never_stops_before_the_end_however_large_transactions_are(case: Case) -> None:
    keys = [(f"k{number:05}", "1") for number in range(6_000)]
    case.engine.append([transaction(number, *keys) for number in (1, 2, 3)], 0, nothing)
    after, seen = 0, []
    while part := case.engine.read(after, 10):
        seen += [one.revision for one in part]
        after = part[-1].revision
    assert seen == [1, 2, 3]


VALUES = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CHANGES = st.dictionaries(st.text("abc.-/", min_size=1, max_size=6), VALUES, min_size=1, max_size=5)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(groups=st.lists(st.lists(CHANGES, max_size=4), max_size=4))
@pytest.mark.parametrize("kind", sorted(CASES))
def test_any_appends_come_back_equal_and_without_gaps(
    kind: str, tmp_path_factory: pytest.TempPathFactory, groups: list[list[dict[str, str | None]]]
) -> None:
    case = CASES[kind](tmp_path_factory.mktemp("log"))
    written: list[Transaction] = []
    for group in groups:
        batch = [
            transaction(len(written) + number, *changes.items())
            for number, changes in enumerate(group, start=1)
        ]
        case.engine.append(batch, len(written), nothing)
        written += batch
    assert case.engine.read(0, 1_000) == written
    assert case.engine.last_revision() == len(written)
    case.close()


def reopened(case: SqliteCase) -> Engine:
    case.close()
    case.open()
    return case.engine


def test_a_file_keeps_the_log_when_it_is_opened_again(tmp_path: Path) -> None:
    case = SqliteCase(tmp_path)
    written = fill(case.engine, 5)
    again = reopened(case)
    assert again.read(0, 10) == written
    again.append([transaction(6)], 5, nothing)
    assert reopened(case).last_revision() == 6
    case.close()


def test_two_connections_to_one_file_share_one_order(tmp_path: Path) -> None:
    one, other = SqliteCase(tmp_path), SqliteCase(tmp_path)
    one.engine.append([transaction(1)], 0, nothing)
    with pytest.raises(LogConflict):
        other.engine.append([transaction(1)], 0, nothing)
    other.engine.append([transaction(2)], 1, nothing)
    assert [item.revision for item in one.engine.read(0, 10)] == [1, 2]
    one.close()
    other.close()


def test_the_commit_runs_where_the_server_wants_blocking_work_done(tmp_path: Path) -> None:
    jobs: list[Callable[[], None]] = []

    def blocking(job: Callable[[], None]) -> None:
        jobs.append(job)
        job()

    database = Database(tmp_path / "signalbox.db")
    engine = SqliteEngine(database, blocking)
    engine.append([transaction(1)], 0, nothing)
    assert len(jobs) == 1
    assert engine.last_revision() == 1
    database.close()


def test_in_memory_no_transaction_is_open_while_others_run() -> None:
    """A reader would wait for it in the hub, which the writer needs to go on."""
    jobs: list[Callable[[], None]] = []
    database = Database(None)
    engine = SqliteEngine(database, jobs.append, jobs.append)
    many = [(f"k{number}", str(number)) for number in range(INLINE_CHANGES + 1)]
    engine.append([transaction(1, *many)], 0, nothing)
    engine.append([], 1, nothing, takes_long=True)
    assert not jobs
    assert engine.last_revision() == 1
    database.close()


def test_a_commit_that_need_not_reach_the_disk_runs_there_only_to_shorten_the_log(
    tmp_path: Path,
) -> None:
    jobs: list[int] = []

    def blocking(job: Callable[[], None]) -> None:
        jobs.append(engine.last_revision())
        job()

    database = Database(tmp_path / "signalbox.db")
    engine = SqliteEngine(database, blocking)
    database.relax_durability()
    checkpoint_every(200, database.writer)
    log_file = tmp_path / "signalbox.db-wal"
    for number in range(1, 101):
        engine.append([transaction(number, (f"k{number}", "x" * 4_000))], number - 1, nothing)
    assert 0 < len(jobs) < 100
    assert log_file.stat().st_size < 400 * 4_200  # it was brought to the file and begun anew
    assert engine.last_revision() == 100
    database.close()


def test_a_long_write_ahead_log_is_brought_to_the_file_beside_the_writer(tmp_path: Path) -> None:
    due: list[Callable[[], None]] = []
    database = Database(tmp_path / "signalbox.db")
    engine = SqliteEngine(database, in_background=due.append)
    file, value, last = tmp_path / "signalbox.db", "x" * 100_000, 0
    while not due:
        last += 1
        engine.append([transaction(last, (f"k{last}", value))], last - 1, nothing)
    before = file.stat().st_size
    engine.append([transaction(last + 1, ("k", value))], last, nothing)
    assert len(due) == 1  # once, as long as it is under way
    due.pop()()
    assert file.stat().st_size - before > 0.9 * last * len(value)
    engine.append([transaction(last + 2, ("k", value))], last + 1, nothing)
    assert not due
    assert engine.last_revision() == last + 2
    database.close()
