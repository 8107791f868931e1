"""Times as ISO 8601 text."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

LAST_TIME: Final = 253_402_300_799_999
"""The last millisecond of the year 9999: ISO 8601 has no form for later ones."""


def iso(milliseconds: int) -> str:
    """A time as ISO 8601 in UTC with milliseconds; a later one than `LAST_TIME` as that."""
    second, thousandths = divmod(min(milliseconds, LAST_TIME), 1000)
    return f"{_iso_second(second)}.{thousandths:03d}Z"


@lru_cache(maxsize=1024)
def _iso_second(second: int) -> str:
    """Without a zone; what is read together was often written in the same second."""
    return datetime.fromtimestamp(second, UTC).isoformat()[:19]


def milliseconds(text: str) -> int:
    """The milliseconds since 1970 UTC of a text that `iso` has made. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text[:80]!r} names no time zone")
    time = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    if time > LAST_TIME:
        raise ValueError(f"{text[:80]!r} is beyond the year 9999")
    return time
