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
    """Threads switch so often that a job may end before its caller begins to wait."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_hasty_threads")
def test_a_late_wake_up_of_a_finished_job_resumes_no_one(native: NativeThread) -> None:
    """Otherwise it would resume the writer while that waits for work, and end it."""
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


def test_run_raises_what_the_job_raises(native: NativeThread) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        native.run(fail)
    done = Event()
    native.run(done.set)
    assert done.is_set()
