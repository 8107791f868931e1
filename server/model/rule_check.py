"""Check the net changes of a command by the rules: what they refuse, and the sentence for it.

Pure. Who has many changes checks them slice by slice, so that others run in between.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from signalbox.server.model import values
from signalbox.server.model.decide import MAX_NAMED, Changes
from signalbox.server.model.errors import (
    Interlocked,
    RuleBroken,
    SignalboxError,
    TooLarge,
    quoted,
)
from signalbox.server.model.events import Entry
from signalbox.server.model.keys import RULES
from signalbox.server.model.rule_records import Dependency, RequiredKey, Rule
from signalbox.server.model.rules import NO_RULES, RuleSet, RulesOfKey, check_number_of_rules
from signalbox.server.model.value_schemas import CheckedValue

STEP: Final = 20
"""Changes that are checked between two pauses."""
FEW_SCHEMAS: Final = 10
"""Schemas that one value is checked by without a pause."""
MAX_ROUNDS: Final = 100
"""How often what a rule refuses is left out, and the rest looked at again."""
MAX_LISTED: Final = 10
"""Rules that a message names, at most."""
MAX_BECAUSE: Final = 20
"""Keys that a refusal gives as its reasons, at most."""
MAX_BECAUSE_BYTES: Final = 1024
"""Bytes of such a key's value, at most; of a longer one the beginning, as a text."""


class RuledState(Protocol):
    """What rules ask of a state."""

    @property
    def rules(self) -> RuleSet:
        """The rules that the state has."""

    def get(self, key: str) -> Entry | None:
        """The key's entry in the state; None where the key does not exist."""

    def look_up(self, keys: Collection[str]) -> None:
        """Load the entries of many keys together, since `get` will ask for most of them."""
        ...


class Refusal(NamedTuple):
    """Why one rule refuses the change of one key.

    `fact` is a sentence. A `path` is one into the value, which the rule takes from nobody; without
    it the rule refuses the change now, for the `because`, or from this actor.
    """

    key: str
    rule: Rule
    fact: str
    path: str | None = None
    because: tuple[dict[str, Any], ...] = ()


class Reason(NamedTuple):
    """A required key that is not as it must be: a sentence, and the key as answers have it."""

    fact: str
    key: dict[str, Any] | None = None


class RuleCheck:
    """Checks the changes of one transaction by the rules as they are after it."""

    def __init__(
        self,
        state: RuledState,
        changes: Changes,
        actor: str,
        pause: Callable[[], None] | None = None,
    ) -> None:
        """`state` is the one before the changes, which are net; `actor` is who makes them.

        `pause` is called after each short step, so that others run in between.
        """
        self._pause = pause or _go_on
        self.rules = state.rules.changed(changes, self._pause)
        self._state = state
        self._changes = changes
        self._actor = actor
        self._refusals: list[Refusal] = []
        self._refused: dict[bool, set[str]] = {True: set(), False: set()}
        """The refused keys: those whose values break a schema, and those that are interlocked."""
        self._too_large: dict[str, TooLarge] = {}
        """Keys whose values, or those of what they require, are too much to check."""

    def look_at(self, keys: Collection[str]) -> None:
        """Check the changes of these keys, and what requires them."""
        about = self.rules.about
        found = [(key, of_key) for key in keys if (of_key := about(key)) is not NO_RULES]
        if not found:
            return
        self._state.look_up(list(keys_to_look_up(found)))
        for key, of_key in found:
            try:
                self._check(key, of_key)
            except TooLarge as error:
                self._too_large[key] = TooLarge(f"{key}: {error.message}", key=key)

    def _check(self, key: str, of_key: RulesOfKey) -> None:
        """Check the change of one key. Raises `TooLarge`."""
        raw = self._changes[key]
        value = None if raw is None else CheckedValue(raw)
        for rule in of_key.matching:
            for refusal in self._refusals_of(key, rule, value):
                self._add(refusal)
            self._pause()
        for dependency, dependent in of_key.dependents:
            if held := self._refusal_of_dependent(key, dependency, dependent):
                self._add(held)
            self._pause()

    @property
    def refused_keys(self) -> set[str]:
        """The keys whose changes are refused, of those that were looked at."""
        return self._refused[True] | self._refused[False] | self._too_large.keys()

    def raise_refusal(self) -> None:
        """Raises `TooLarge`, else `RuleBroken`, else `Interlocked`, where something is refused."""
        if self._too_large:
            raise self._too_large[min(self._too_large)]
        if not self._refusals:
            return
        breaks = [one for one in self._refusals if one.path is not None]
        raise error_of(breaks or self._refusals, self._refused[bool(breaks)])

    def _add(self, refusal: Refusal) -> None:
        """Remember a refusal; of many keys only how many they are."""
        breaks = refusal.path is not None
        keys = self._refused[breaks]
        if refusal.key in keys or len(keys) < MAX_NAMED:
            self._refusals.append(refusal)
        keys.add(refusal.key)

    def _refusals_of(self, key: str, rule: Rule, value: CheckedValue | None) -> Iterator[Refusal]:
        """Why a rule that is about a key refuses its change; `value` is the new one."""
        if rule.fault:
            yield Refusal(
                key, rule, f"The rule {rule.name} cannot be used, so nothing changes {key}", path=""
            )
            return
        if value and (broken := schema_refusal(key, rule, value)):
            yield broken
            return
        if rule.on and (value is None or not rule.on.is_satisfied(value)):
            return
        if value is None and not rule.may_delete:
            yield Refusal(key, rule, f"{key} may not be deleted")
        if rule.actors is not None and not self._is_allowed(rule):
            allowed = ", ".join(pattern.text for pattern in rule.actors)
            yield Refusal(key, rule, f"{key} may be changed by {allowed}; this was {self._actor}")
        captures = (rule.captures(key) or ()) if rule.requires else ()
        missing = list[Reason]()
        for required in rule.requires:
            if len(missing) < MAX_BECAUSE and (
                reason := self._unmet(required, required.key(captures))
            ):
                missing.append(reason)
            self._pause()
        if missing:
            because = tuple(reason.key for reason in missing if reason.key)
            yield Refusal(key, rule, missing[0].fact, because=because)

    def _refusal_of_dependent(
        self, key: str, dependency: Dependency, dependent: str
    ) -> Refusal | None:
        """Why a required key must not change while the key that requires it is as it is."""
        if dependent in self._changes:
            return None  # that change is checked by the rule itself
        entry = self._state.get(dependent)
        rule, required = dependency.rule, dependency.required
        if entry is None or (rule.on and not rule.on.is_satisfied(entry.raw)):
            return None
        if self._is_met(required, key):
            return None
        given = quoted(values.decode(entry.raw.encode()))
        demand = required.schema.demand() if required.schema else "not exist"
        fact = f"{dependent} is {given}; as long as it is, {key} must {demand}"
        reason = _described(dependent, entry.raw, entry.revision)
        return Refusal(key, rule, fact, because=(reason,))

    def _unmet(self, required: RequiredKey, key: str | None) -> Reason | None:
        """Why a required key is not as it must be; None where it is."""
        schema = required.schema
        raw, revision = self._after(key) if key else (None, None)
        if raw is None:
            if schema is None:
                return None
            if key is None:
                return Reason(f"{required.template} makes no key here; it must {schema.demand()}")
            fact = f"{key} does not exist; it must {schema.demand()}"
            return Reason(fact, {"key": key, "missing": True})
        assert key is not None
        if schema is None:
            return Reason(f"{key} exists; it must not", _described(key, raw, revision))
        if (problem := schema.problem(raw)) is None:
            return None
        place = f"has {problem.given} at {problem.path}" if problem.path else f"is {problem.given}"
        return Reason(f"{key} {place}; it must {problem.demand}", _described(key, raw, revision))

    def _is_met(self, required: RequiredKey, key: str) -> bool:
        """Whether a required key is as it must be, after the changes."""
        raw, _ = self._after(key)
        if required.schema is None:
            return raw is None
        return raw is not None and required.schema.is_satisfied(raw)

    def _after(self, key: str) -> tuple[str | None, int | None]:
        """The value of a key after the changes, and the revision of one that they do not change."""
        if key in self._changes:
            return self._changes[key], None
        entry = self._state.get(key)
        return (entry.raw, entry.revision) if entry else (None, None)

    def _is_allowed(self, rule: Rule) -> bool:
        """Whether the actor is one of those that the rule names."""
        name = self._actor.partition("@")[0]
        return any(
            pattern.regex.fullmatch(self._actor if "@" in pattern.text else name)
            for pattern in rule.actors or ()
        )


def schema_refusal(key: str, rule: Rule, value: CheckedValue | str) -> Refusal | None:
    """Why the schema of a rule does not take a value; None where it does. Raises `TooLarge`."""
    if rule.schema is None or (problem := rule.schema.problem(value)) is None:
        return None
    where = f" at {problem.path}" if problem.path else ""
    verb = "have" if problem.path else "be"
    fact = f"{key} cannot {verb} {problem.given}{where}; it must {problem.demand}"
    return Refusal(key, rule, fact, problem.path)


def keys_to_look_up(found: Iterable[tuple[str, RulesOfKey]]) -> Iterator[str]:
    """The keys that the rules of these keys require, and those that require these keys."""
    for key, of_key in found:
        for rule in of_key.matching:
            if rule.requires:
                captures = rule.captures(key) or ()
                required = (one.key(captures) for one in rule.requires)
                yield from (one for one in required if one is not None)
        for _, dependent in of_key.dependents:
            yield dependent


def check_rules(
    state: RuledState, changes: Changes, actor: str, pause: Callable[[], None] | None = None
) -> None:
    """Check net changes of a state by the rules as they are after them.

    `pause` is called after each short step. Raises `RuleBroken`, `Interlocked` or `TooLarge`.
    """
    if len(changes) == 1 and is_plainly_allowed(state, *next(iter(changes.items()))):
        return
    if not concerns_rules(state, changes):
        return
    check = _checked(state, changes, actor, pause)
    check_number_of_rules(check.rules, state.rules)
    check.raise_refusal()


def is_plainly_allowed(state: RuledState, key: str, raw: str | None) -> bool:
    """Whether the rules of a key ask for no more than its value, and that satisfies them.

    So it is for most lines of an import, which are checked one by one.
    """
    if key.startswith(RULES):
        return False
    schemas = state.rules.about(key).schemas
    if schemas is None:
        return False
    if raw is None or not schemas:
        return True
    if len(schemas) > FEW_SCHEMAS:
        return False  # they are checked with pauses in between
    value = CheckedValue(raw)
    try:
        return all(schema.is_satisfied(value) for schema in schemas)
    except TooLarge:
        return False  # the refusal names the key


def allowed_changes(
    state: RuledState, changes: Changes, actor: str, pause: Callable[[], None] | None = None
) -> Changes:
    """The net changes without those that rules refuse; `check_rules` looks at what is left.

    Where one is left out, another may be refused that was not before: so it goes on for a while.
    """
    for _ in range(MAX_ROUNDS):
        if not concerns_rules(state, changes):
            break
        if not (refused := _checked(state, changes, actor, pause).refused_keys):
            break
        changes = {key: raw for key, raw in changes.items() if key not in refused}
    return changes


def concerns_rules(state: RuledState, keys: Iterable[str]) -> bool:
    """Whether there are rules before or after changes of these keys."""
    return bool(state.rules) or any(key.startswith(RULES) for key in keys)


def _checked(
    state: RuledState, changes: Changes, actor: str, pause: Callable[[], None] | None
) -> RuleCheck:
    """The check of all changes, in the order of their keys."""
    check, keys = RuleCheck(state, changes, actor, pause), sorted(changes)
    for start in range(0, len(keys), STEP):
        check.look_at(keys[start : start + STEP])
        if pause:
            pause()
    return check


def _go_on() -> None:
    """The pause of a check that nobody waits for."""


def error_of(refusals: list[Refusal], refused: set[str]) -> SignalboxError:
    """The refusal of a command that would change the `refused` keys.

    It names the first one, and every rule that refuses that.
    """
    first_key = min(refusal.key for refusal in refusals)
    of_key = [refusal for refusal in refusals if refusal.key == first_key]
    first = of_key[0]
    others = sorted({one.rule.name for one in of_key} - {first.rule.name})
    keys = sorted(refused)[:MAX_NAMED]
    message = f"{first.rule.says} {first.fact}" if first.rule.says else first.fact
    if others:
        verb = "refuses" if len(others) == 1 else "refuse"
        message += f"; {_listed(others)} {verb} it too"
    if len(refused) > 1:
        message += f", and {len(refused) - 1} more" if len(refused) > 2 else f", and {keys[1]} too"
    because = [reason for one in of_key for reason in one.because][:MAX_BECAUSE]
    kind = RuleBroken if first.path is not None else Interlocked
    return kind(
        message + ".",
        key=first_key,
        keys=keys if len(refused) > 1 else None,
        total=len(refused) if len(refused) > 1 else None,
        rule=first.rule.name,
        path=first.path,
        because=because or None,
    )


def _listed(names: list[str]) -> str:
    """The names of rules as a sentence lists them."""
    if len(names) == 1:
        return f"the rule {names[0]}"
    if len(names) > MAX_LISTED:
        return f"the rules {', '.join(names[:MAX_LISTED])} and {len(names) - MAX_LISTED} more"
    return f"the rules {', '.join(names[:-1])} and {names[-1]}"


def _described(key: str, raw: str, revision: int | None) -> dict[str, Any]:
    """A key with its value, as a refusal gives it as a reason; None is a revision to come."""
    value: Any = values.decode(raw.encode())
    if values.size(raw) > MAX_BECAUSE_BYTES:
        value = raw.encode()[:MAX_BECAUSE_BYTES].decode(errors="ignore")
    return {"key": key, "value": value} | ({} if revision is None else {"revision": revision})
