"""Queries of the rules: what they say of a key and of a value for it, and which keys break them."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import apsw
import msgspec

from signalbox.server.model import horizons, values
from signalbox.server.model.errors import NotFound, quoted
from signalbox.server.model.events import Entry
from signalbox.server.model.horizons import Horizons
from signalbox.server.model.keys import RULES, after_prefix, compile_pattern
from signalbox.server.model.rule_check import keys_to_look_up
from signalbox.server.model.rules import RuleSet, RulesOfKey, rules_of
from signalbox.server.read.held_revisions import HeldRevisions
from signalbox.server.read.violations import Violations, ViolationScan
from signalbox.server.store import state_table
from signalbox.server.store.horizons_table import read_horizons
from signalbox.server.store.projection import Projection
from signalbox.server.store.reader_pool import ReaderPool

CACHED_RULES: Final = 2
"""Revisions whose rules are remembered: 5,000 that differ from those of now take 60 MB."""
CACHED_TOTALS: Final = 32
"""Queries of violations whose totals are remembered."""


class RulesAround(NamedTuple):
    """The rules about a key with all that they ask of a state: a `RuledState` of a few keys."""

    revision: int
    rules: RuleSet
    of_key: RulesOfKey
    entries: Mapping[str, Entry]

    def get(self, key: str) -> Entry | None:
        """The key's entry; None where it does not exist."""
        return self.entries.get(key)

    def look_up(self, keys: Collection[str]) -> None:
        """Nothing: the entries are there."""


class RuleQueries:
    """Each query is of one revision: the newest one where none is given."""

    def __init__(self, readers: ReaderPool, projection: Projection, held: HeldRevisions) -> None:
        """Queries by `readers`, which hold the revisions that they scan by `held`."""
        self._readers, self._projection, self._held = readers, projection, held
        self._rules_at = lru_cache(CACHED_RULES)(self._find_rules_at)
        self._totals: OrderedDict[tuple[int, str, str | None, Horizons], int] = OrderedDict()
        """Totals stay true until retention changes the horizons, which are part of their keys."""

    def about(self, key: str, revision: int | None = None) -> RulesAround:
        """The rules about a key, and the keys that these ask for. Raises `Compacted`."""
        if revision is not None:
            rules = self._rules_at(revision, self._horizons())
            return self._readers.in_thread(
                lambda connection: _around(connection, key, rules, revision)
            )
        with self._readers.snapshot() as connection:
            rules, newest = self._projection.rules, self._projection.revision
            of_key = rules.about(key)
            entries = state_table.entries_of(connection, _needed_keys(key, of_key))
            return RulesAround(newest, rules, of_key, entries)

    def violations(
        self,
        revision: int | None = None,
        match: str = "**",
        rule: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> Violations:
        """A page of the keys that match and whose values break a rule, in key order.

        Only this `rule` counts, where one is named. Raises `NotFound` or `Compacted`.
        """
        at, rules = self._rules_of(revision)
        if rule is not None:
            if rule not in rules.rules:
                raise NotFound(f"There is no rule {quoted(rule)}.", rule=rule)
            rules = rules_of([(RULES + rule, values.encode(rules.rules[rule].record))])
        with self._held.holding(at):
            kept = self._horizons()
            counted = (at, match, rule, kept)
            scan = _new_scan(rules, at, match, kept, (after, limit))
            total = self._totals.get(counted)
            if total is not None:
                scan.page_only()
            while not (total is not None and scan.has_more):
                if not self._readers.in_thread(scan.examine):
                    break  # others have the thread between two slices
            if total is None:
                total = self._totals[counted] = scan.total
                if len(self._totals) > CACHED_TOTALS:
                    self._totals.popitem(last=False)
        return _answer(scan, at, match, kept, total)

    def violations_of(self, name: str, raw: str, limit: int) -> Violations:
        """The first keys whose values would break a rule with this record, if it were set now."""
        at, rules = self._projection.revision, rules_of([(RULES + name, raw)])
        with self._held.holding(at):
            kept = self._horizons()
            scan = _new_scan(rules, at, "**", kept, ("", limit))
            while self._readers.in_thread(scan.examine):
                pass
        return _answer(scan, at, "**", kept, scan.total)

    def _rules_of(self, revision: int | None) -> tuple[int, RuleSet]:
        """A revision, the newest one where none is given, with the rules at it."""
        if revision is not None:
            return revision, self._rules_at(revision, self._horizons())
        with self._readers.snapshot():  # else a commit may be on disk that is not visible yet
            return self._projection.revision, self._projection.rules

    def _horizons(self) -> Horizons:
        """The retention horizons now."""
        with self._readers.snapshot() as connection:
            return read_horizons(connection)

    def _find_rules_at(self, revision: int, kept: Horizons) -> RuleSet:
        """The rules at a revision. Raises `Compacted` where they are not known any more."""
        if unknown := kept.incomplete_prefixes(revision, *_RULE_KEYS):
            raise horizons.compacted_error(unknown, revision)
        low, high = _RULE_KEYS
        bound, now = {"low": low, "high": high, "at": revision}, self._projection.rules
        return self._readers.in_thread(
            lambda connection: _rules_like(now, dict(connection.execute(_RULES_AT, bound)))
        )


def _rules_like(now: RuleSet, entries: Mapping[str, str]) -> RuleSet:
    """The rules with these records by key; those that there are now are not compiled again."""
    kept = {
        rule.key
        for rule in now.rules.values()
        if values.encode(rule.record) == entries.get(rule.key)
    }
    removed = [rule.key for rule in now.rules.values() if rule.key not in entries]
    added = {key: raw for key, raw in entries.items() if key not in kept}
    return now.changed(dict.fromkeys(removed) | added)


def _new_scan(
    rules: RuleSet, revision: int, match: str, kept: Horizons, page: tuple[str, int]
) -> ViolationScan:
    """A scan of the keys that match, as far as they are known at the revision."""
    pattern = compile_pattern(match)
    complete = kept.complete_ranges(revision, pattern.low, pattern.high)
    return ViolationScan(rules, revision, pattern, complete, page)


def _answer(
    scan: ViolationScan, revision: int, match: str, kept: Horizons, total: int
) -> Violations:
    """What a scan that has ended has found."""
    pattern = compile_pattern(match)
    compacted = kept.incomplete_prefixes(revision, pattern.low, pattern.high)
    following = scan.items[-1].key if scan.has_more and scan.items else None
    return Violations(revision, total, scan.items, following, compacted)


def _needed_keys(key: str, of_key: RulesOfKey) -> list[str]:
    """The key, and those that its rules ask for, in order."""
    return sorted({key, *keys_to_look_up([(key, of_key)])})


def _around(connection: apsw.Connection, key: str, rules: RuleSet, revision: int) -> RulesAround:
    """The rules about a key at a revision, with what they ask for. Raises `Compacted`."""
    of_key = rules.about(key)
    needed = _needed_keys(key, of_key)
    kept = read_horizons(connection)
    followed = {kept.of(one) for one in needed}
    unknown = sorted(horizon.prefix for horizon in followed if horizon.revision > revision)
    if unknown:
        raise horizons.compacted_error(unknown, revision)
    bound = {"keys": msgspec.json.encode(needed).decode(), "at": revision}
    rows = connection.execute(_ENTRIES_AT, bound)
    return RulesAround(
        revision, rules, of_key, {name: Entry(raw, made) for name, raw, made in rows}
    )


_RULE_KEYS: Final = (RULES, after_prefix(RULES))
_RULES_AT: Final = """
SELECT k.key, c.value
FROM (
    SELECT key FROM state WHERE key >= :low AND key < :high
    UNION SELECT key FROM lives WHERE key >= :low AND key < :high
) k
CROSS JOIN changes c ON c.key = k.key AND c.revision = (
    SELECT max(p.revision) FROM changes p WHERE p.key = k.key AND p.revision <= :at
)
WHERE c.value IS NOT NULL
"""
_ENTRIES_AT: Final = """
SELECT asked.value, c.value, c.revision
FROM json_each(:keys) asked
CROSS JOIN changes c ON c.key = asked.value AND c.revision = (
    SELECT max(p.revision) FROM changes p WHERE p.key = asked.value AND p.revision <= :at
)
WHERE c.value IS NOT NULL
"""
