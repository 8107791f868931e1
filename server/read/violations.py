"""The keys whose values break the schema of a rule, at one revision, found slice by slice."""

from collections.abc import Iterable, Iterator, Sequence
from time import perf_counter
from typing import Final, NamedTuple

import apsw

from signalbox.server.model.errors import TooLarge
from signalbox.server.model.horizons import Range, without_reserved
from signalbox.server.model.keys import Pattern
from signalbox.server.model.rule_check import error_of, schema_refusal
from signalbox.server.model.rule_records import Rule
from signalbox.server.model.rules import RuleSet
from signalbox.server.model.rules_in_order import RulesInOrder
from signalbox.server.model.value_schemas import ValueSchema
from signalbox.server.read.snapshot_pages import ItemsAt, end_of_scan
from signalbox.server.read.state_query import Filter, StateQuery

SLICE_SECONDS: Final = 0.03
"""How long one slice takes, or one value that takes longer."""
CHUNK: Final = 1_000
"""Keys that are read together."""
_ALL: Final = StateQuery.of(Filter())
"""A pattern that SQL looks for may be found only after very many keys, in one long transaction."""


class Violation(NamedTuple):
    """A key whose value a rule does not take: the name of the rule, where in the value (a JSON
    Pointer), and the sentence that a command with this value would get.
    """

    key: str
    rule: str
    path: str
    message: str


class Violations(NamedTuple):
    """`total` counts every such key; `next` continues after `items`. `compacted` as of a page."""

    revision: int
    total: int
    items: list[Violation]
    next: str | None
    compacted: Sequence[str] = ()


class ViolationScan:
    """Looks at the keys of a revision that rules with schemas are about.

    Each slice may read another snapshot: a read transaction that is held for long keeps the
    write-ahead log from being reused. The caller holds the revision meanwhile.
    """

    def __init__(
        self,
        rules: RuleSet,
        revision: int,
        pattern: Pattern,
        complete: Iterable[Range],
        page: tuple[str, int] = ("", 0),
    ) -> None:
        """Scan the keys that match a pattern, in the ranges that are `complete` at the revision.

        `page` is the key behind which items are wanted, and how many.
        """
        self._rules, self._in_order, self._revision = rules, RulesInOrder(rules), revision
        self._pattern = pattern
        self._ranges = _in_both(_ranges_of(rules), without_reserved(list(complete)))
        self._after, self._limit = page
        self.total = 0
        """Keys that were found, whether or not they are items."""
        self.items: list[Violation] = []
        self.has_more = False
        """Whether there are items that the page has no room for."""

    def page_only(self) -> None:
        """Leave out the keys before the page: they are counted already."""
        self._ranges = _in_both(self._ranges, [(self._after + "\0", self._pattern.high)])

    def examine(self, connection: apsw.Connection) -> bool:
        """Examine the next keys; False where there are no more."""
        until = perf_counter() + SLICE_SECONDS
        while self._ranges:
            low, high = self._ranges[0]
            # Else a statement might pass very many keys that were not there at the revision.
            end = end_of_scan(connection, self._revision, low, high, CHUNK)
            items = ItemsAt(connection, _ALL, self._revision, low, end + "\0" if end else high)
            entries = items.entries(CHUNK)
            for key, raw in entries:
                if self._pattern.is_range or self._pattern.regex.fullmatch(key):
                    self._examine(key, items.value(key) if raw is None else raw)
                if perf_counter() > until:
                    self._ranges[0] = (key + "\0", high)
                    return True
            last = entries[-1][0] if len(entries) == CHUNK else end
            self._ranges[:1] = [(last + "\0", high)] if last else []
            if perf_counter() > until:
                break
        return bool(self._ranges)

    def _examine(self, key: str, raw: str) -> None:
        """Count a key whose value breaks a rule."""
        if all(_is_satisfied(schema, raw) for schema in self._in_order.schemas(key)):
            return
        self.total += 1
        if key > self._after:
            if len(self.items) < self._limit:
                self.items.append(_violation(key, raw, self._rules.with_schemas_for(key)))
            else:
                self.has_more = True


def _is_satisfied(schema: ValueSchema, raw: str) -> bool:
    """Whether a value satisfies a schema; not where it is too large to be checked."""
    try:
        return schema.is_satisfied(raw)
    except TooLarge:
        return False


def _violation(key: str, raw: str, rules: Iterable[Rule]) -> Violation:
    """What a command that sets this value, which not all rules take, would be told."""
    found = []
    for rule in rules:
        try:
            found.append(schema_refusal(key, rule, raw))
        except TooLarge as error:
            return Violation(key, rule.name, "", error.message)
    told = error_of([refusal for refusal in found if refusal], {key})
    return Violation(key, told.rule or "", told.path or "", told.message)


def _ranges_of(rules: RuleSet) -> list[Range]:
    """The ranges of keys that rules with schemas can be about, in order, apart from each other."""
    joined: list[Range] = []
    for low, high in sorted(
        (match.pattern.low, match.pattern.high)
        for rule in rules.rules.values()
        if rule.schema
        for match in rule.matches
    ):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined


def _in_both(some: Iterable[Range], others: Sequence[Range]) -> list[Range]:
    """What lies in a range of both lists."""

    def parts() -> Iterator[Range]:
        for low, high in some:
            for start, end in others:
                if max(low, start) < min(high, end):
                    yield max(low, start), min(high, end)

    return list(parts())
