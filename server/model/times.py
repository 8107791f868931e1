"""Times as they are told: ISO 8601."""

from datetime import UTC, datetime, timedelta
from typing import Final

LAST: Final = 253_402_300_799_999
"""The last millisecond that has a form: of the year 9999."""


def iso(milliseconds: int) -> str:
    """A time as ISO 8601 in UTC with milliseconds; what lies beyond them all as the last one."""
    milliseconds = min(milliseconds, LAST)
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"


def milliseconds(text: str) -> int:
    """Of what `iso` has written, since 1970 UTC. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text[:80]!r} names no time zone")
    found = (moment - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    if found > LAST:
        raise ValueError(f"{text[:80]!r} is beyond the year 9999")
    return found
