"""Retention: how far the history of each prefix is to be compacted, by settings and horizons.

The settings under `_signalbox.retention` say how old changes may get. The horizon of a prefix is
its oldest complete revision: changes that were replaced before it are removed.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import apsw
import msgspec

from signalbox.server.model.app_settings import RETENTION, RetentionSetting, age_milliseconds
from signalbox.server.model.horizons import LAST_REVISION, Horizon, longest_prefix
from signalbox.server.model.keys import after_prefix
from signalbox.server.read import log_sql
from signalbox.server.store import clock_records
from signalbox.server.store.horizons_table import read_horizons

EARLIEST_STAMP_MS: Final = 978_307_200_000
"""2001, in ms since 1970: earlier stamps are of clocks that nobody had set, which begin with 1970,
1980 or 2000."""

DEFAULT: Final = RetentionSetting(max_age="365d")


class Plan(NamedTuple):
    """How far a prefix is to be compacted: up to `revision`, the last one not later than `at`."""

    prefix: str
    max_age: str | None
    revision: int
    at: int


def plans(
    connection: apsw.Connection, now: int | None = None, held: int = LAST_REVISION
) -> list[Plan]:
    """For every prefix with a setting or a horizon of its own, where its horizon is to be at `now`.

    Without `now`, in ms since 1970, where it is.
    A horizon never goes back: what was removed stays so, whatever is set afterwards. Nor does it go
    beyond revision `held`, which a query still reads.
    """
    settings, current = read_settings(connection), read_horizons(connection)
    revisions = None if now is None else _RevisionsByAge(connection, now, held)
    prefixes = {horizon.prefix for horizon in current} | settings.keys()
    return [_plan(prefix, settings, current.of(prefix), revisions) for prefix in sorted(prefixes)]


def advance_horizons(connection: apsw.Connection, planned: Sequence[Plan]) -> None:
    """Store the horizons of the plans, within the open transaction, before anything is removed.

    The horizon of a new prefix begins where that of its shorter prefix is now.
    """
    current = read_horizons(connection)
    known = {horizon.prefix for horizon in current}
    new = [(plan.prefix, current.of(plan.prefix).prefix) for plan in planned]
    connection.executemany(_ADD_HORIZON, [pair for pair in new if pair[0] not in known])
    connection.executemany(
        _ADVANCE,
        [
            (plan.revision, plan.at, plan.prefix)
            for plan in planned
            if plan.revision > current.of(plan.prefix).revision
        ],
    )


def read_settings(connection: apsw.Connection) -> dict[str, RetentionSetting]:
    """The retention settings by prefix; the root always has one."""
    settings = {"": DEFAULT}
    for key, raw in connection.execute(_SETTINGS, (RETENTION, after_prefix(RETENTION + "."))):
        if key == RETENTION or key.startswith(RETENTION + "."):
            prefix = key[len(RETENTION) + 1 :]
            setting = msgspec.json.decode(raw, type=RetentionSetting)
            settings[prefix + "." if prefix else ""] = setting
    return settings


class _RevisionsByAge:
    """The last revision that is older than an age at `now`; none beyond `held`."""

    def __init__(self, connection: apsw.Connection, now: int, held: int) -> None:
        """Find revisions by age at `now` (ms); `held` is the last that may be found."""
        self._connection, self.now, self._held = connection, now, held
        self._observed = clock_records.read_observed(connection)
        self._first_stamp = log_sql.first_time(connection)
        self._found: dict[int, int] = {}

    def revision(self, age: int) -> int:
        """The last revision of this age: by its stamp if that can be right, else by observation."""
        if age not in self._found:
            self._found[age] = self._find(age)
        return self._found[age]

    def _find(self, age: int) -> int:
        """The last revision of this age, searched for in the log."""
        at, latest = self.now - age, self.now + clock_records.DAY_MS
        # The search for a stamp that can be right may take long: not where all are later anyway.
        stamped = 0 if at < self._first_stamp else log_sql.revision_at(self._connection, at, latest)
        if log_sql.time_of(self._connection, stamped) < EARLIEST_STAMP_MS:
            stamped = 0
        observed = clock_records.revision_observed_for(self._observed, age)
        return min(max(stamped, observed), self._held)


def _plan(
    prefix: str,
    settings: dict[str, RetentionSetting],
    horizon: Horizon,
    revisions: _RevisionsByAge | None,
) -> Plan:
    """The plan of a prefix: its horizon now, or a later one by the nearest setting."""
    setting = longest_prefix(settings, prefix)
    current = Plan(prefix, setting.max_age, horizon.revision, horizon.at)
    if setting.max_age is None or revisions is None:
        return current
    age = age_milliseconds(setting.max_age)
    if (revision := revisions.revision(age)) <= horizon.revision:
        return current
    return current._replace(revision=revision, at=revisions.now - age)


_SETTINGS: Final = "SELECT key, value FROM state WHERE key >= ? AND key < ?"
_ADD_HORIZON: Final = """
INSERT INTO horizons SELECT ?1, revision, at, done_revision, done_key,
    row_checksum(?1, revision, at, done_revision, done_key)
FROM horizons WHERE prefix = ?2
"""
_ADVANCE: Final = """
UPDATE horizons SET revision = ?1, at = ?2,
    checksum = row_checksum(prefix, ?1, ?2, done_revision, done_key)
WHERE prefix = ?3
"""
