"""Times of the page are those of the system's time zone, also once that has changed."""

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from signalbox.ui import formatting

AT = 1_800_000_000_000

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its zone is no variable")


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Changes the time zone, which is read again with each time."""
    with monkeypatch.context() as patch:
        patch.setattr(formatting, "ZONE_SECONDS", 1e-9)
        yield partial(patch.setenv, "TZ")
    time.tzset()


def test_a_change_of_the_time_zone_is_seen(zone: Callable[[str], None]) -> None:
    zone("UTC")
    assert formatting.local_time(AT) == "2027-01-15 08:00:00 +0000"
    zone("Asia/Kolkata")
    assert formatting.local_time(AT) == "2027-01-15 13:30:00 +0530"
    assert formatting.time_of_day("2027-01-15T08:00:00Z") == "13:30:00"
    zone("Africa/Abidjan")
    summer = AT + 180 * 86_400_000
    assert formatting.local_time(summer) == "2027-07-14 08:00:00 +0000"
    zone("Europe/London")
    assert formatting.local_time(summer) == "2027-07-14 09:00:00 +0100"
