"""The client's watch: what is, what comes, and no gap and no duplicate whatever happens between."""

import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

import signalbox
from signalbox.client import Box, Change, Watch
from support.forks import forked
from support.harness import SECONDS, Server
from support.nodes import until
from support.raw_http import serving


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def box(data_dir: Path) -> Iterator[Box]:
    """A client that finds or starts the server of `data_dir`."""
    with signalbox.connect("tester", data_dir=data_dir) as one:
        yield one


def keys_and_values(changes: Iterator[Change], count: int) -> list[tuple[str, object]]:
    return [(change.key, change.value) for change in islice(changes, count)]


def test_current_values_come_first_then_each_change(box: Box) -> None:
    box["a"], box["b"] = 1, 2
    with box.watch() as changes:
        first = list(islice(changes, 2))
        assert [(one.key, one.is_current) for one in first] == [("a", True), ("b", True)]
        outcome = box.set("a", 3)
        box.delete("b")
        set_, deleted = islice(changes, 2)
    assert (set_.key, set_.value, set_.revision) == ("a", 3, outcome["revision"])
    assert (set_.actor, set_.id, set_.is_current) == ("tester", outcome["id"], False)
    assert (deleted.key, deleted.deleted, deleted.value) == ("b", True, None)


def test_after_a_revision_only_what_came_later(box: Box) -> None:
    revision = box.set("a", 1)["revision"]
    box["a"], box["b"] = 2, 3
    assert keys_and_values(box.watch(after=revision), 2) == [("a", 2), ("b", 3)]


def test_a_server_that_is_killed_again_and_again_costs_no_change(data_dir: Path) -> None:
    """The writer goes on meanwhile: what it was acknowledged is seen once, in order."""
    server = Server(data_dir)
    rounds, each = 4, 25
    try:
        with (
            signalbox.connect("writer", data_dir=data_dir, start=False) as writer,
            signalbox.connect("reader", data_dir=data_dir, start=False) as reader,
            ThreadPoolExecutor(1) as pool,
        ):
            writer["n"] = 0
            changes = reader.watch("n")
            assert keys_and_values(changes, 1) == [("n", 0)]
            seen = pool.submit(keys_and_values, changes, rounds * each)
            for _ in range(rounds):
                for _ in range(each):
                    writer.add("n")
                server.kill()
                server = Server(data_dir)
            assert seen.result(SECONDS) == [("n", n) for n in range(1, rounds * each + 1)]
    finally:
        server.kill()


def test_a_store_that_was_replaced_is_sent_as_it_is_now(data_dir: Path) -> None:
    with serving(data_dir) as server:
        server.set("stays", 1)
        server.set("goes", 2)
        port = server.port
        box = signalbox.connect("reader", data_dir=data_dir, start=False)
        changes = box.watch()
        assert keys_and_values(changes, 2) == [("goes", 2), ("stays", 1)]
    shutil.rmtree(data_dir)
    with serving(data_dir, "--port", str(port)) as other, box:
        other.set("stays", 3)
        found = {(change.key, change.value, change.deleted) for change in islice(changes, 2)}
    assert found == {("stays", 3, False), ("goes", None, True)}


def test_it_is_closed_from_another_thread(box: Box) -> None:
    changes = box.watch()
    box["a"] = 1
    assert keys_and_values(changes, 1) == [("a", 1)]
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, changes)
        changes.close()
        assert rest.result(SECONDS) == []


def test_closing_the_box_ends_every_watch(box: Box) -> None:
    box["a"] = 1
    watches = [box.watch() for _ in range(3)]
    for changes in watches:
        assert keys_and_values(changes, 1) == [("a", 1)]
    with ThreadPoolExecutor(3) as pool:
        rest = [pool.submit(list, changes) for changes in watches]
        box.close()
        assert [one.result(SECONDS) for one in rest] == [[], [], []]


def test_a_watch_tells_when_all_current_values_were_given(box: Box) -> None:
    assert [one.is_caught_up for one in islice(box.watch(caught_up=True), 1)] == [True]
    box["a"], box["b"] = 1, 2
    with box.watch(caught_up=True) as changes:
        assert [one.is_caught_up for one in islice(changes, 3)] == [False, False, True]
        revision = box.set("a", 3)["revision"]
        assert next(changes).revision == revision
    with box.watch(after=2, caught_up=True) as changes:
        assert [one.key for one in islice(changes, 2)] == ["a", ""]


def test_a_watch_goes_on_after_a_timeout(box: Box) -> None:
    with box.watch("a", timeout=0.01) as changes:
        for value in range(3):
            with pytest.raises(TimeoutError, match=r"^No change of a came within 0\.01 seconds"):
                next(changes)
            box["a"] = value
            assert soon(changes).value == value


def soon(changes: Watch) -> Change:
    """The next change of a watch with a timeout, which may be too short for this machine."""
    while True:
        with suppress(TimeoutError):
            return next(changes)


def test_a_timeout_holds_while_the_server_is_away(data_dir: Path) -> None:
    server = Server(data_dir)
    try:
        with signalbox.connect("tester", data_dir=data_dir, start=False) as box:
            box["a"] = 1
            changes = box.watch("a", timeout=0.1)
            assert soon(changes).value == 1
            server.kill()
            with pytest.raises(TimeoutError):
                next(changes)
            server = Server(data_dir)
            box["a"] = 2
            assert soon(changes).value == 2
    finally:
        server.kill()


def test_ctrl_c_does_not_end_a_watch(box: Box) -> None:
    """The interrupt comes while `next` waits for the server, as in a notebook's cell."""
    box["a"] = 1
    changes = box.watch("a")
    assert next(changes).value == 1
    with pytest.raises(KeyboardInterrupt):
        interrupted(changes)
    box["a"] = 2
    assert next(changes).value == 2


def interrupted(changes: Watch) -> None:
    """Wait for the next change until a signal comes, which is sent once this thread waits."""
    main = threading.get_ident()

    def interrupt() -> None:
        frames = sys._current_frames  # noqa: SLF001 - documented: where each thread is
        until(lambda: frames()[main].f_code.co_name == "_receive")
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=interrupt).start()
        next(changes)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_child_that_closes_its_copy_of_a_watch_leaves_that_of_its_parent(box: Box) -> None:
    box["a"] = 1
    changes = box.watch("a")
    assert next(changes).value == 1

    def close() -> None:
        changes.close()
        box.close()

    assert forked(close) == 0
    assert changes.is_connected
    box["a"] = 2
    assert (next(changes).value, changes.is_connected) == (2, True)
    assert box.query("status")["streams"] == 1


EVENTS = b"""HTTP/1.1 200 OK\r
Content-Type: text/event-stream\r
Connection: close\r
\r
event: snapshot
data: {"revision": 1, "items": [{"key": "old", "value": 1, "revision": 1}]}

event: change
data: {"revision": 2, "id": "a", "actor": "b", "at": "c", "changes": [{"key": "new", "value": 2}]}
id: store:2

event: caught-up
data: {"revision": 2}
id: store:2

"""


def test_a_key_that_is_created_while_the_snapshot_is_sent_is_not_taken_for_deleted() -> None:
    """A server that is asked at the right moment answers so: a change comes before `caught-up`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        box = Box(f"http://127.0.0.1:{listener.getsockname()[1]}", "")
        with box, ThreadPoolExecutor(1) as pool:
            changes = pool.submit(lambda: list(islice(box.watch(caught_up=True), 3)))
            connection, _ = listener.accept()
            with connection:
                connection.sendall(EVENTS)
                found = changes.result(SECONDS)
    assert [(one.key, one.value, one.deleted) for one in found] == [
        ("old", 1, False),
        ("new", 2, False),
        ("", None, False),
    ]


def test_many_that_find_no_server_start_one_together(data_dir: Path) -> None:
    ready = threading.Barrier(6)

    def work(number: int) -> int:
        ready.wait()
        with signalbox.connect(f"actor{number}", data_dir=data_dir) as box:
            revision = int(box.add("n")["revision"])
            ready.wait()  # whoever started the server lets go of it
            return revision

    with ThreadPoolExecutor(6) as pool:
        revisions = list(pool.map(work, range(6)))
    assert sorted(revisions) == [1, 2, 3, 4, 5, 6]


def test_without_a_server_and_without_starting_one_it_is_said(data_dir: Path) -> None:
    with pytest.raises(signalbox.NotRunning, match=str(data_dir)):
        signalbox.connect(data_dir=data_dir, start=False)


def test_a_command_that_was_lost_on_the_way_is_done_once(data_dir: Path) -> None:
    """The server dies under load; each `add` that returned has been counted exactly once."""
    server = Server(data_dir)
    try:
        with signalbox.connect("adder", data_dir=data_dir, start=False) as box:
            with ThreadPoolExecutor(4) as pool:
                adding = [pool.submit(box.add, "n") for _ in range(400)]
                adding[50].result(SECONDS)
                server.kill()
                server = Server(data_dir)
                for one in adding:
                    assert one.result(SECONDS)["status"] == "accepted"
            assert box["n"] == 400
    finally:
        server.kill()
