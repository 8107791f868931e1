"""Records in the store for judging the clock: when it was last in use, what was observed when.

They are rows of the table `meta`. Times in a log may be wrong: an older Signalbox, or another node,
has believed a clock that was ahead. Retention ignores such a time: what has been observed for a
week is a week old. Only time in which the server ran counts, since the clock may be corrected.
"""

from typing import Final

import apsw
import msgspec

from signalbox.server.runtime.trusted_clock import (
    DAY,
    EARLIEST_PLAUSIBLE,
    MAX_LEAP_ON_RETURN,
    UnconfirmedLeap,
)
from signalbox.server.store import log_table
from signalbox.server.store.database import PUT_META

LAST_RUN: Final = "last_run"
OBSERVED: Final = "seen"
LEAP: Final = "trial"
HIGHEST: Final = "highest_run"
DAY_MS: Final = int(DAY * 1000)
HOUR_MS: Final = DAY_MS // 24
MIN_AGE_RATIO: Final = 10
"""Observations are at least a tenth of their age apart: some hundred of them cover years."""


class ObservedRevisions(msgspec.Struct, rename={"observed_ms": "watched"}):
    """How long revisions have been observed.

    `observed_ms` is the time of observation in all. `revisions` has pairs: all transactions up to
    this revision were there when `observed_ms` had this value.
    """

    observed_ms: int = 0
    revisions: list[tuple[int, int]] = []


def last_use_seconds(connection: apsw.Connection, wall: float) -> float:
    """When the store was last in use, in seconds since 1970; 0 where that is unknown.

    Without a record the time of the newest transaction counts, unless it is later than the
    computer's clock `wall`: then one of the two is wrong.
    """
    if (milliseconds := _meta(connection, LAST_RUN)) is not None:
        return int(milliseconds) / 1000
    newest = log_table.last_time(connection) / 1000
    return newest if newest <= wall else 0.0


def has_future_times(connection: apsw.Connection, now: int) -> bool:
    """Whether the time of the newest transaction is still in the future."""
    return log_table.last_time(connection) > now + DAY_MS


def recorded_leap(connection: apsw.Connection) -> UnconfirmedLeap | None:
    """The leap of the clock that was unconfirmed when it was recorded last."""
    leap = _meta(connection, LEAP)
    return msgspec.json.decode(leap, type=UnconfirmedLeap) if leap else None


def highest_use_seconds(connection: apsw.Connection) -> float:
    """The latest time, in seconds since 1970, at which the store is known to have been in use."""
    return int(_meta(connection, HIGHEST) or 0) / 1000


def is_record_due(connection: apsw.Connection, now: int, leap: UnconfirmedLeap | None) -> bool:
    """Whether `record_use` has something to write: hourly, or always where times lie ahead."""
    noted = recorded_leap(connection)
    if (noted is None) is not (leap is None) or has_future_times(connection, now):
        return True
    if noted and leap:
        return abs(leap.last_reading - noted.last_reading) >= HOUR_MS / 1000
    return _is_plausible(now) and abs(now - int(_meta(connection, LAST_RUN) or 0)) >= HOUR_MS


def record_use(
    connection: apsw.Connection, now: int, passed_ms: int, leap: UnconfirmedLeap | None = None
) -> None:
    """Record that the store is in use `now`, `passed_ms` after the last record.

    Runs in the open transaction. While a leap is unconfirmed `now` is uncertain. A time earlier
    than the recorded one is believed: else a clock that was ahead once would stay so for good.
    """
    if leap:
        _store(connection, LEAP, msgspec.json.encode(leap).decode())
        beyond = now / 1000 - highest_use_seconds(connection)
        # A return to a time that was known; a leap beyond all known times must be observed first.
        if (
            leap.time_before < highest_use_seconds(connection) - DAY
            and 0 < beyond <= MAX_LEAP_ON_RETURN
        ):
            _store(connection, HIGHEST, str(now))
    elif _is_plausible(now):
        last_run = int(_meta(connection, LAST_RUN) or 0)
        highest = max(now, last_run, int(highest_use_seconds(connection) * 1000))
        confirm_clock(connection, now)
        _store(connection, HIGHEST, str(highest))
    else:
        _delete(connection, LEAP)
    if has_future_times(connection, now):
        observed = read_observed(connection)
        observed.observed_ms += passed_ms
        observed.revisions.append((log_table.last_revision(connection), observed.observed_ms))
        observed.revisions = _thinned_out(observed)
        _store(connection, OBSERVED, msgspec.json.encode(observed).decode())


def confirm_clock(connection: apsw.Connection, now: int) -> None:
    """Record that the store is in use `now`, also where that is earlier than was recorded."""
    _store(connection, LAST_RUN, str(now))
    _store(connection, HIGHEST, str(now))
    _delete(connection, LEAP)


def read_observed(connection: apsw.Connection) -> ObservedRevisions:
    """The record of how long revisions have been observed."""
    return msgspec.json.decode(_meta(connection, OBSERVED) or "{}", type=ObservedRevisions)


def revision_observed_for(observed: ObservedRevisions, age: int) -> int:
    """The last revision whose age by observation is `age` ms or more; 0 where there is none."""
    old = (
        revision for revision, since in observed.revisions if observed.observed_ms - since >= age
    )
    return max(old, default=0)


def _thinned_out(observed: ObservedRevisions) -> list[tuple[int, int]]:
    """The observations of revisions by the clock's records, fewer the older they are."""
    thinned: list[tuple[int, int]] = []
    for revision, since in observed.revisions:
        if not thinned or (since - thinned[-1][1]) * MIN_AGE_RATIO >= observed.observed_ms - since:
            thinned.append((revision, since))
    return thinned


def _is_plausible(now: int) -> bool:
    """Whether the clock has been set at all."""
    return now > EARLIEST_PLAUSIBLE * 1000


def _meta(connection: apsw.Connection, name: str) -> str | None:
    """One of the clock's records in the table of metadata."""
    value: str | None = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).get
    return value


def _delete(connection: apsw.Connection, name: str) -> None:
    """Remove one of the clock's records."""
    connection.execute("DELETE FROM meta WHERE name = ?", (name,))


def _store(connection: apsw.Connection, name: str, value: str) -> None:
    """Write one of the clock's records."""
    connection.execute(PUT_META, (name, value))
