"""Random rules and random commands against a model that looks at every key by every rule."""

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model.commands import read_command
from signalbox.server.model.decide import Changes, decide
from signalbox.server.model.errors import Interlocked, RuleBroken, SignalboxError
from signalbox.server.model.keys import RULES
from signalbox.server.model.rule_check import check_rules
from signalbox.server.model.rule_records import check_rule
from signalbox.server.model.values import decode
from support.dict_state import DictState

SCHEMAS: dict[str, Any] = {
    '{"type":"integer"}': lambda value: isinstance(value, int) and not isinstance(value, bool),
    '{"const":true}': lambda value: value is True,
    '{"maximum":2}': lambda value: isinstance(value, bool | str) or value <= 2,
    '{"enum":[1,true,"x"]}': lambda value: value in ("x", True) or (value == 1),
}
"""Schemas with what they mean, for the few values below."""
VALUES = [0, 1, 3, True, "x"]

schemas = st.sampled_from(sorted(SCHEMAS)).map(json.loads)
keys = st.sampled_from(["a", "b", "a.a", "a.b", "b.a", "b.b"])
matches = st.sampled_from(["a", "a.*", "*.b", "**", "**.a", "a.**", "*.*", "a.*.*"])
interlocks = st.sampled_from(
    [
        ("a", "b"),
        ("b", "a.a"),
        ("a.*", "b.{1}"),
        ("*.a", "{1}.b"),
        ("*.b", "{1}"),
        ("*", "b.{1}"),
        ("*.*", "{2}.{1}"),
        ("**", "a.{1}"),
        (["a", "b"], "a.b"),
        (["a.*", "*.b"], "b.{1}"),
    ]
)
"""Patterns, and a key that they may require."""
actors = st.sampled_from(["me", "you", "me@here"])


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """A rule; with some patterns its requirements cannot hold."""
    if not draw(st.booleans()):
        return {"match": draw(matches), "schema": draw(schemas)}
    match, required = draw(interlocks)
    others = {
        "on": schemas,
        "delete": st.booleans(),
        "actors": st.lists(st.sampled_from(["me", "y*", "*@here"]), min_size=1),
    }
    return {
        "match": match,
        "requires": {required: draw(st.one_of(st.none(), schemas))},
        "holds": draw(st.booleans()),
        **draw(st.fixed_dictionaries({}, optional=others)),
    }


def is_rule(rule: dict[str, Any]) -> bool:
    try:
        check_rule(RULES + "r", rule)
    except SignalboxError:
        return False
    return True


members = st.one_of(
    st.builds(
        lambda key, value: {"type": "set", "key": key, "value": value},
        keys,
        st.sampled_from(VALUES),
    ),
    st.builds(lambda key: {"type": "delete", "key": key}, keys),
    st.builds(lambda key: {"type": "toggle", "key": key}, keys),
    st.builds(lambda prefix: {"type": "delete_prefix", "prefix": prefix + "."}, keys),
    st.builds(
        lambda key, to: {"type": "rename", "key": key, "to": to, "replace": True}, keys, keys
    ),
)
commands = st.one_of(
    members,
    st.lists(members, min_size=1, max_size=4).map(lambda made: {"type": "batch", "commands": made}),
)


def captures(match: str, key: str) -> tuple[str, ...] | None:
    """What the wildcards of a pattern take, tried one by one from the shortest."""
    wildcards = re.split(r"(\*\*|\*)", match)
    expression = "".join(
        {"**": "(.*?)", "*": "([^.]*?)"}.get(part, re.escape(part)) for part in wildcards
    )
    found = re.fullmatch(expression, key)
    return found.groups() if found else None


def matching(rule: dict[str, Any], key: str) -> tuple[str, ...] | None:
    texts = rule["match"] if isinstance(rule["match"], list) else [rule["match"]]
    return next((took for text in texts if (took := captures(text, key)) is not None), None)


def satisfies(schema: Any, value: Any) -> bool:
    return bool(SCHEMAS[json.dumps(schema, separators=(",", ":"))](value))


def is_met(after: dict[str, Any], template: str, schema: Any, took: tuple[str, ...]) -> bool:
    key = required_key(template, took)
    return key not in after if schema is None else key in after and satisfies(schema, after[key])


def required_key(template: str, took: tuple[str, ...]) -> str:
    return re.sub(r"\{(\d)\}", lambda found: took[int(found[1]) - 1], template)


def is_for_actor(rule: dict[str, Any], actor: str) -> bool:
    names = {"me": ("me", "me@here"), "y*": ("you",), "*@here": ("me@here",)}
    return any(actor in names[pattern] for pattern in rule["actors"])


def judged(
    rules: list[dict[str, Any]], after: dict[str, Any], changed: set[str], actor: str
) -> type[SignalboxError] | None:
    """The refusal that the rules ask for, found by looking at everything."""
    locked = False
    for rule in rules:
        for key in changed | after.keys():
            if (took := matching(rule, key)) is None:
                continue
            requires = rule.get("requires", {})
            counts = "on" not in rule or (key in after and satisfies(rule["on"], after[key]))
            if key in changed:
                if key in after and "schema" in rule and not satisfies(rule["schema"], after[key]):
                    return RuleBroken
                unmet = not all(
                    is_met(after, name, schema, took) for name, schema in requires.items()
                )
                is_kept = key not in after and rule.get("delete") is False
                is_others = "actors" in rule and not is_for_actor(rule, actor)
                locked = locked or (counts and (unmet or is_kept or is_others))
            elif rule.get("holds") and counts:
                locked = locked or any(
                    required_key(name, took) in changed and not is_met(after, name, schema, took)
                    for name, schema in requires.items()
                )
    return Interlocked if locked else None


@settings(max_examples=400, deadline=None)
@given(
    st.lists(rules().filter(is_rule), min_size=1, max_size=4),
    st.lists(st.tuples(commands, actors), min_size=8, max_size=25),
)
def test_what_is_accepted_and_refused_is_what_every_rule_asks(
    made: list[dict[str, Any]], sent: list[tuple[dict[str, Any], str]]
) -> None:
    state = DictState({f"{RULES}r{number}": rule for number, rule in enumerate(made)})
    for fields, actor in sent:
        try:
            changes = decide(state, read_command(fields))
        except SignalboxError:
            continue
        after = {
            key: value for key, value in state.values().items() if not key.startswith("_signalbox.")
        }
        for key, raw in changes.items():
            after.pop(key, None)
            if raw is not None:
                after[key] = decode(raw.encode())
        expected = judged(made, after, set(changes), actor)
        error = refusal(state, changes, actor)
        assert type(error) is (expected or type(None)), fields
        if error is None:
            state.apply(changes)
        else:
            assert_reasons_are_true(error, after)
    assert_kept(made, state)


def refusal(state: DictState, changes: Changes, actor: str) -> SignalboxError | None:
    try:
        check_rules(state, changes, actor)
    except SignalboxError as error:
        return error
    return None


def assert_reasons_are_true(error: SignalboxError, after: dict[str, Any]) -> None:
    """What a refusal gives as its reasons is so in the state that the command would leave."""
    for reason in error.because or ():
        if "missing" in reason:
            assert reason["key"] not in after
        else:
            assert after[reason["key"]] == reason["value"]


def assert_kept(made: list[dict[str, Any]], state: DictState) -> None:
    """In a state that has grown under its rules, every value satisfies them, and holds holds."""
    now = {key: value for key, value in state.values().items() if not key.startswith("_signalbox.")}
    for rule in made:
        for key, value in now.items():
            if (took := matching(rule, key)) is None:
                continue
            assert "schema" not in rule or satisfies(rule["schema"], value)
            if rule.get("holds") and ("on" not in rule or satisfies(rule["on"], value)):
                for name, schema in rule.get("requires", {}).items():
                    assert is_met(now, name, schema, took)
