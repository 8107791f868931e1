"""The rules of a state: which of them are about a key, and which keys require it.

`rule_records` has one rule, `rule_check` checks changes by rules. Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from signalbox.server.model.errors import TooLarge
from signalbox.server.model.keys import RESERVED, RULES, Pattern
from signalbox.server.model.rule_records import (
    MAX_RULES,
    Dependency,
    Rule,
    parsed_or_faulty,
)
from signalbox.server.model.value_schemas import ValueSchema

MAX_CACHED: Final = 10_000
"""Keys of which it is remembered which rules are about them."""

Payload = TypeVar("Payload")
NOTHING: Final[Mapping[str, Any]] = {}


class _Entry(NamedTuple, Generic[Payload]):
    """What the rule with this name has stored for a pattern."""

    pattern: Pattern
    name: str
    payload: Payload


_Entries = Mapping[str, tuple[_Entry[Payload], ...]]


class _PatternIndex(Generic[Payload]):
    """What rules have stored for patterns, found by the text before the first wildcard.

    Where nothing stands there, by the text after the last one. It is not changed: `changed` makes
    another one.
    """

    def __init__(
        self,
        keys: _Entries[Payload] = NOTHING,
        heads: _Entries[Payload] = NOTHING,
        tails: _Entries[Payload] = NOTHING,
    ) -> None:
        self._keys, self._heads, self._tails = keys, heads, tails
        self._head_lengths = sorted(set(map(len, heads)))
        self._tail_lengths = sorted(set(map(len, tails)))

    def changed(
        self, removed: Iterable[_Entry[Payload]], added: Iterable[_Entry[Payload]]
    ) -> "_PatternIndex[Payload]":
        """The index without what these rules have stored for these patterns, and with more."""
        tables = dict(self._keys), dict(self._heads), dict(self._tails)
        by_place: dict[tuple[int, str], list[_Entry[Payload]]] = {}

        def stored(pattern: Pattern) -> list[_Entry[Payload]]:
            table, text = _place_of(pattern)
            if (found := by_place.get((table, text))) is None:
                found = by_place[table, text] = list(tables[table].get(text, ()))
            return found

        names = set[str]()
        for entry in removed:
            stored(entry.pattern)
            names.add(entry.name)
        for entries in by_place.values():
            entries[:] = [one for one in entries if one.name not in names]
        for entry in added:
            stored(entry.pattern).append(entry)
        for (table, text), entries in by_place.items():
            tables[table].pop(text, None)
            if entries:
                tables[table][text] = tuple(entries)
        return _PatternIndex(*tables)

    def find(self, key: str) -> list[Payload]:
        """What is stored for the patterns that match a key, each as often as it matches."""
        found = [entry.payload for entry in self._keys.get(key, ())]
        size = len(key)
        for length in self._head_lengths:
            if length > size:
                break
            found += [
                entry.payload
                for entry in self._heads.get(key[:length], ())
                if entry.pattern.is_range or entry.pattern.regex.fullmatch(key)
            ]
        for length in self._tail_lengths:
            if length > size:
                break
            found += [
                entry.payload
                for entry in self._tails.get(key[size - length :], ())
                if entry.pattern.is_range or entry.pattern.regex.fullmatch(key)
            ]
        return found


def _place_of(pattern: Pattern) -> tuple[int, str]:
    """Which table of an index has a pattern (keys, heads, tails), and by which text."""
    if pattern.is_key:
        return 0, pattern.text
    return (1, pattern.low) if pattern.low else (2, pattern.tail)


class RulesOfKey(NamedTuple):
    """The rules that are about a key, by name, and the keys that require it.

    `schemas` are those of the rules, where these ask for nothing else.
    """

    matching: tuple[Rule, ...] = ()
    dependents: tuple[tuple[Dependency, str], ...] = ()
    schemas: tuple[ValueSchema, ...] | None = ()


NO_RULES: Final = RulesOfKey()


def _of_key(key: str, found: list[Rule], required: list[Dependency]) -> RulesOfKey:
    """The rules and dependencies that were found for a key, put together."""
    by_name = {rule.name: rule for rule in found}  # several patterns of one may match
    rules = [by_name[name] for name in sorted(by_name)]
    dependents = [
        (dependency, dependent)
        for dependency in required
        if (dependent := dependency.dependent_key(key)) is not None
    ]
    schemas = [rule.schema for rule in rules if rule.schema and rule.has_only_a_schema]
    is_all = len(schemas) == len(rules) and not dependents
    return RulesOfKey(tuple(rules), tuple(dependents), tuple(schemas) if is_all else None)


class RuleSet:
    """The rules of a state; those of a changed state are another set."""

    def __init__(self, rules: Mapping[str, Rule] | None = None) -> None:
        """No rules, or those with these names; see `changed`."""
        self.rules: Mapping[str, Rule] = dict(rules or {})
        self._by_match: _PatternIndex[Rule] = _PatternIndex()
        self._by_required: _PatternIndex[Dependency] = _PatternIndex()
        self._found: dict[str, RulesOfKey] = {}
        self._combinations: dict[tuple[str, ...], RulesOfKey] = {}
        """What is found of keys that nothing requires, by the names of the rules."""

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self.rules)

    def changed(
        self, changes: Mapping[str, str | None], pause: Callable[[], None] | None = None
    ) -> "RuleSet":
        """The rules after these changes, of which only those of rules count. Never raises.

        `pause` is called after each rule that is parsed.
        """
        found = {key: raw for key, raw in changes.items() if key.startswith(RULES)}
        if not found:
            return self
        rules, added, removed = dict(self.rules), list[Rule](), list[Rule]()
        for key, raw in found.items():
            name = key.removeprefix(RULES)
            if before := rules.pop(name, None):
                removed.append(before)
            if raw is not None:
                rules[name] = parsed_or_faulty(name, raw)
                added.append(rules[name])
                if pause:
                    pause()
        result = RuleSet(rules)
        result._by_match = self._by_match.changed(_matches(removed), _matches(added))
        result._by_required = self._by_required.changed(
            _dependencies(removed), _dependencies(added)
        )
        return result

    def about(self, key: str) -> "RulesOfKey":
        """The rules that are about a key, and the keys that it must not change under."""
        if (known := self._found.get(key)) is not None:
            return known
        found = self.about_uncached(key)
        if len(self._found) >= MAX_CACHED:
            self._found.clear()
            self._combinations.clear()
        self._found[key] = found
        return found

    def about_uncached(self, key: str) -> "RulesOfKey":
        """As `about`, for a key of a scan, which is not asked for again soon."""
        if key.startswith(RESERVED):
            return NO_RULES
        rules, required = self._by_match.find(key), self._by_required.find(key)
        if not (rules or required):
            return NO_RULES
        if required:
            return _of_key(key, rules, required)
        names = tuple([rule.name for rule in rules])
        if (known := self._combinations.get(names)) is None:
            known = self._combinations[names] = _of_key(key, rules, [])
        return known

    def with_schemas_for(self, key: str) -> list[Rule]:
        """The rules about a key of a scan whose schemas its value must satisfy, by name."""
        found = {rule.name: rule for rule in self._by_match.find(key) if rule.schema}
        return [found[name] for name in sorted(found)]

    @property
    def faulty(self) -> list[Rule]:
        """The rules that this program cannot use."""
        return [rule for rule in self.rules.values() if rule.fault]


def rules_of(entries: Iterable[tuple[str, str]]) -> RuleSet:
    """The rules among the keys of a state, given with their values as JSON text."""
    return RuleSet().changed(dict(entries))


def check_number_of_rules(rules: RuleSet, before: RuleSet) -> None:
    """Raises `TooLarge` for more rules than there may be, where they have become more."""
    if len(rules.rules) > max(MAX_RULES, len(before.rules)):
        raise TooLarge(f"There are {MAX_RULES} rules already, as many as allowed.", limit=MAX_RULES)


def _matches(rules: Iterable[Rule]) -> Iterator[_Entry[Rule]]:
    """The rules with each of their patterns, for an index."""
    for rule in rules:
        for match in rule.matches:
            yield _Entry(match.pattern, rule.name, rule)


def _dependencies(rules: Iterable[Rule]) -> Iterator[_Entry[Dependency]]:
    """The keys that rules with `holds` require, as patterns, for an index."""
    for rule in rules:
        for pattern, dependency in rule.dependencies:
            yield _Entry(pattern, rule.name, dependency)
