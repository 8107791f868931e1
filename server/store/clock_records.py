"""When this store was in use last, and which revisions were there by then, in the file's `meta`.

Stamps in a log may be wrong: an older Signalbox, or another node, has believed a clock that was
ahead. Such a stamp is passed over: what we have seen for a week is a week old, whatever it says.
Only time in which the server ran counts, since a clock that has stood wrong may be set right.
"""

from typing import Final

import apsw
import msgspec

from signalbox.server.runtime.clock import (
    DAY,
    EARLIEST_PLAUSIBLE,
    MAX_LEAP_ON_RETURN,
    UnconfirmedLeap,
)
from signalbox.server.store import log
from signalbox.server.store.database import PUT_META

LAST_RUN: Final = "last_run"
OBSERVED: Final = "seen"
LEAP: Final = "trial"
HIGHEST: Final = "highest_run"
DAY_MS: Final = int(DAY * 1000)
HOUR_MS: Final = DAY_MS // 24
MIN_AGE_RATIO: Final = 10
"""Sightings stand apart by a tenth of their age at least: some hundred of them cover years."""


class ObservedRevisions(msgspec.Struct):
    """`watched`: for how many ms in all. `revisions`: up to which one all was there, by when."""

    watched: int = 0
    revisions: list[tuple[int, int]] = []


def last_run(connection: apsw.Connection, wall: float) -> float:
    """When the store was in use last, in seconds; 0 where not even its newest stamp can tell.

    One that is later than the computer's clock `wall` says nothing: either of the two is wrong.
    """
    if (known := _meta(connection, LAST_RUN)) is not None:
        return int(known) / 1000
    newest = log.last_time(connection) / 1000
    return newest if newest <= wall else 0.0


def is_ahead(connection: apsw.Connection, now: int) -> bool:
    """Whether the newest transaction is stamped with a time that has not come yet."""
    return log.last_time(connection) > now + DAY_MS


def unconfirmed_leap(connection: apsw.Connection) -> UnconfirmedLeap | None:
    """The one that was not over when it was noted last."""
    known = _meta(connection, LEAP)
    return msgspec.json.decode(known, type=UnconfirmedLeap) if known else None


def highest(connection: apsw.Connection) -> float:
    """The latest time, in seconds, at which it was known that the store was in use."""
    return int(_meta(connection, HIGHEST) or 0) / 1000


def is_due(connection: apsw.Connection, now: int, under_way: UnconfirmedLeap | None) -> bool:
    """Whether `note` has something to write: once an hour, or always where stamps are ahead."""
    noted = unconfirmed_leap(connection)
    if (noted is None) is not (under_way is None) or is_ahead(connection, now):
        return True
    if noted and under_way:
        return abs(under_way.last_reading - noted.last_reading) >= HOUR_MS / 1000
    return _is_set(now) and abs(now - int(_meta(connection, LAST_RUN) or 0)) >= HOUR_MS


def note(
    connection: apsw.Connection, now: int, passed: int, under_way: UnconfirmedLeap | None = None
) -> None:
    """Remember what is there `now`, `passed` ms after the last time, in the open transaction.

    While a trial is under way it is not known that the store is in use at that time. A time that is
    earlier than what was known is believed: else a clock that was ahead once would be for good.
    """
    if under_way:
        _store(connection, LEAP, msgspec.json.encode(under_way).decode())
        beyond = now / 1000 - highest(connection)
        # A return to what was known before; a leap beyond all that was known must be watched first.
        if under_way.time_before < highest(connection) - DAY and 0 < beyond <= MAX_LEAP_ON_RETURN:
            _store(connection, HIGHEST, str(now))
    elif _is_set(now):
        known = int(_meta(connection, LAST_RUN) or 0)
        most = max(now, known, int(highest(connection) * 1000))
        confirm(connection, now)
        _store(connection, HIGHEST, str(most))
    else:
        _delete(connection, LEAP)
    if is_ahead(connection, now):
        seen = read_observed(connection)
        seen.watched += passed
        seen.revisions.append((log.last_revision(connection), seen.watched))
        seen.revisions = _thinned(seen)
        _store(connection, OBSERVED, msgspec.json.encode(seen).decode())


def confirm(connection: apsw.Connection, now: int) -> None:
    """Remember that the store is in use `now`, also where that is earlier than was believed."""
    _store(connection, LAST_RUN, str(now))
    _store(connection, HIGHEST, str(now))
    _delete(connection, LEAP)


def read_observed(connection: apsw.Connection) -> ObservedRevisions:
    return msgspec.json.decode(_meta(connection, OBSERVED) or "{}", type=ObservedRevisions)


def revision_observed_for(seen: ObservedRevisions, age: int) -> int:
    """The last revision that has been watched for `age` ms, 0 where there is none."""
    old = (revision for revision, since in seen.revisions if seen.watched - since >= age)
    return max(old, default=0)


def _thinned(seen: ObservedRevisions) -> list[tuple[int, int]]:
    kept: list[tuple[int, int]] = []
    for revision, since in seen.revisions:
        if not kept or (since - kept[-1][1]) * MIN_AGE_RATIO >= seen.watched - since:
            kept.append((revision, since))
    return kept


def _is_set(now: int) -> bool:
    """Whether that can be the time of a clock that somebody has set."""
    return now > EARLIEST_PLAUSIBLE * 1000


def _meta(connection: apsw.Connection, name: str) -> str | None:
    found: str | None = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).get
    return found


def _delete(connection: apsw.Connection, name: str) -> None:
    connection.execute("DELETE FROM meta WHERE name = ?", (name,))


def _store(connection: apsw.Connection, name: str, value: str) -> None:
    connection.execute(PUT_META, (name, value))
