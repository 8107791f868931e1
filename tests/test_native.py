"""The native thread: jobs run outside the hub, and only their caller waits for them."""

import sys
from collections.abc import Iterator
from time import sleep

import gevent
import pytest
from gevent.event import Event

from signalbox.server.runtime.threads import NativeThread


@pytest.fixture
def native() -> Iterator[NativeThread]:
    made = NativeThread()
    yield made
    made.close()


@pytest.fixture
def _hasty_threads() -> Iterator[None]:
    """Threads take turns so often that a job may end before its caller begins to wait."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_hasty_threads")
def test_a_finished_job_wakes_nobody_who_waits_for_something_else(native: NativeThread) -> None:
    """Else the writer would be thrown out of its wait for work, and end."""
    turns = 3_000

    def work() -> int:
        for _ in range(turns):
            native.run(lambda: None)
            assert not Event().wait(0)
            assert not Event().wait(0.00001)
        return turns

    assert gevent.spawn(work).get() == turns


def test_others_run_while_a_job_blocks(native: NativeThread) -> None:
    seen: list[str] = []

    def block() -> None:
        sleep(0.05)
        seen.append("job")

    job = gevent.spawn(native.run, block)
    other = gevent.spawn(lambda: seen.append("other"))
    other.get()
    job.get()
    assert seen == ["other", "job"]


def test_what_a_job_raises_is_raised_where_it_was_asked_for(native: NativeThread) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        native.run(fail)
    done = Event()
    native.run(done.set)
    assert done.is_set()
