"""The rules of a state: which of them are about a key, and which keys require it.

`rule_records` has one rule, `rule_check` holds changes against rules. Pure.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Generic, NamedTuple, TypeVar

from signalbox.server.model.errors import TooLarge
from signalbox.server.model.keys import RESERVED, Pattern, capturing_regex, compile_pattern, is_key
from signalbox.server.model.rule_records import (
    PLACEHOLDER,
    RULES,
    WILDCARD,
    Match,
    RequiredKey,
    Rule,
    usable_or_not,
)
from signalbox.server.model.value_schemas import ValueSchema

MAX_RULES: Final = 5_000
MAX_CACHED: Final = 10_000
"""Keys of which it is remembered which rules are about them."""

Payload = TypeVar("Payload")
NOTHING: Final[Mapping[str, Any]] = {}


class Dependency(NamedTuple):
    """A rule whose interlock works both ways, by one of its patterns and one of its required keys.

    `expression` matches the required keys, with a group for each placeholder; `order` says which
    wildcard each group is.
    """

    rule: Rule
    match: Match
    required: RequiredKey
    expression: re.Pattern[str]
    order: tuple[int, ...]

    def dependent_key(self, key: str) -> str | None:
        """The matching key that requires `key`; None where there is none."""
        if not (found := self.expression.fullmatch(key)):
            return None
        taken: dict[int, str] = {}
        for number, text in zip(self.order, found.groups(), strict=True):
            if taken.setdefault(number, text) != text:
                return None
        dependent = self.match.key(tuple(taken[number] for number in sorted(taken)))
        # Its wildcards may take something else, or another pattern of the rule comes first: then it
        # requires another key.
        captures = self.rule.captures(dependent) if is_key(dependent) else None
        if captures is None or self.required.key(captures) != key:
            return None
        return dependent


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
        keys, heads, tails = dict(self._keys), dict(self._heads), dict(self._tails)

        def place(pattern: Pattern) -> tuple[dict[str, tuple[_Entry[Payload], ...]], str]:
            if pattern.is_key:
                return keys, pattern.text
            if pattern.low:
                return heads, pattern.low
            return tails, WILDCARD.split(pattern.text)[-1]

        for entry in removed:
            where, text = place(entry.pattern)
            if kept := tuple(one for one in where.pop(text, ()) if one.name != entry.name):
                where[text] = kept
        for entry in added:
            where, text = place(entry.pattern)
            where[text] = (*where.get(text, ()), entry)
        return _PatternIndex(keys, heads, tails)

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


class RulesOfKey(NamedTuple):
    """The rules that are about a key, by name, and the keys under which it must not change.

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
    schemas = [rule.schema for rule in rules if rule.schema and rule.asks_for_schema_alone]
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

    def changed(self, changes: Mapping[str, str | None]) -> "RuleSet":
        """The rules after these changes, of which only those of rules count. Never raises."""
        found = {key: raw for key, raw in changes.items() if key.startswith(RULES)}
        if not found:
            return self
        rules, added, removed = dict(self.rules), list[Rule](), list[Rule]()
        for key, raw in found.items():
            name = key.removeprefix(RULES)
            if before := rules.pop(name, None):
                removed.append(before)
            if raw is not None:
                rules[name] = usable_or_not(name, raw)
                added.append(rules[name])
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
        found = self.about_one_of_many(key)
        if len(self._found) >= MAX_CACHED:
            self._found.clear()
            self._combinations.clear()
        self._found[key] = found
        return found

    def about_one_of_many(self, key: str) -> "RulesOfKey":
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
        if rule.holds:
            for match in rule.matches:
                for required in rule.requires:
                    yield _dependency(rule, match, required)


def _dependency(rule: Rule, match: Match, required: RequiredKey) -> _Entry[Dependency]:
    """How one pattern of a rule depends on one of its required keys."""
    wildcards = WILDCARD.findall(match.pattern.text)
    order = [int(found) for found in PLACEHOLDER.findall(required.template)]
    literals = PLACEHOLDER.split(required.template)[::2]
    text = literals[0] + "".join(
        wildcards[number - 1] + literal for number, literal in zip(order, literals[1:], strict=True)
    )
    dependency = Dependency(rule, match, required, capturing_regex(text), tuple(order))
    return _Entry(compile_pattern(text), rule.name, dependency)
