"""The schemas for each of many keys that are asked for in order. Pure.

The same patterns apply to many keys in a row, so most of them are looked up once for all of these.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from signalbox.server.model.keys import AFTER_ALL_KEYS, Pattern
from signalbox.server.model.rules import RuleSet
from signalbox.server.model.value_schemas import ValueSchema

Tested = tuple[re.Pattern[str], ValueSchema]
"""A schema for those keys that match all of an expression."""


class RulesInOrder:
    """The schemas of rules, found for keys of which none is before the one before it."""

    def __init__(self, rules: RuleSet) -> None:
        """Sort the patterns of the rules that have schemas."""
        self._by_head: defaultdict[str, list[tuple[Pattern, ValueSchema]]] = defaultdict(list)
        self._by_tail: defaultdict[str, list[Tested]] = defaultdict(list)
        """Patterns that begin with a wildcard, by the text after their last one."""
        for rule in rules.rules.values():
            for match in rule.matches if rule.schema else ():
                assert rule.schema
                pattern = match.pattern
                if pattern.low or pattern.is_range:
                    self._by_head[pattern.low].append((pattern, rule.schema))
                else:
                    self._by_tail[pattern.tail].append((pattern.regex, rule.schema))
        self._heads = sorted({len(head) for head in self._by_head})
        self._tails = sorted({len(tail) for tail in self._by_tail})
        self._cuts = sorted(
            {
                cut
                for listed in self._by_head.values()
                for pattern, _ in listed
                for cut in (pattern.low, pattern.high)
            }
        )
        self._until = ""
        self._certain: list[ValueSchema] = []
        self._tested: list[Tested] = []

    def schemas(self, key: str) -> list[ValueSchema]:
        """The schemas that the value of a key must satisfy; one may be in it twice."""
        if key >= self._until:
            self._move_to(key)
        if not self._tested and not self._tails:
            return self._certain
        return [*self._certain, *self._matching(key)]

    def _move_to(self, key: str) -> None:
        """Look up what applies from this key on, up to where another pattern begins or ends."""
        place = bisect_right(self._cuts, key)
        self._until = self._cuts[place] if place < len(self._cuts) else AFTER_ALL_KEYS
        here = [
            (pattern, schema)
            for length in self._heads
            for pattern, schema in self._by_head.get(key[:length], ())
            if key < pattern.high
        ]
        self._certain = [schema for pattern, schema in here if pattern.is_range]
        self._tested = [(pattern.regex, schema) for pattern, schema in here if not pattern.is_range]

    def _matching(self, key: str) -> Iterator[ValueSchema]:
        """The schemas of the patterns that have to be compared with each key."""
        for regex, schema in self._tested:
            if regex.fullmatch(key):
                yield schema
        for length in self._tails:
            for regex, schema in self._by_tail.get(key[len(key) - length :], ()):
                if regex.fullmatch(key):
                    yield schema
