"""What several rules say of one key is merged: texts of the more specific, bounds of all."""

from typing import Any

import pytest

from signalbox.server.model import descriptions
from signalbox.server.model.descriptions import choices, describe
from signalbox.server.model.keys import RULES
from signalbox.server.model.rules import rules_of
from signalbox.server.model.values import decode, encode

KEY = "train.lr"


def described(*schemas: Any, **rules: Any) -> dict[str, Any]:
    """What schemas of rules that match by `**`, and whole rules, say of `KEY`."""
    named = {f"r{number}": {"match": "**", "schema": one} for number, one in enumerate(schemas)}
    entries = [(RULES + name, encode(rule)) for name, rule in (named | rules).items()]
    return describe(KEY, rules_of(entries).about(KEY).matching, nothing)


def nothing() -> None:
    """The pause of a description that is soon there."""


def test_a_key_without_schemas_has_an_empty_description() -> None:
    assert described() == {}
    assert described(interlock={"match": KEY, "requires": {"a": {"const": 1}}}) == {}
    assert described(True) == {}


@pytest.mark.parametrize(
    ("schemas", "merged"),
    [
        ([{"type": "number"}, {"type": "integer"}], {"type": "integer"}),
        (
            [{"type": ["number", "null"]}, {"type": ["null", "integer"]}],
            {"type": ["null", "integer"]},
        ),
        ([{"type": "number"}, {"type": "string"}], {"type": []}),
        ([{"minimum": 1}, {"minimum": 2}], {"minimum": 2}),
        ([{"minimum": 2}, {"exclusiveMinimum": 2}], {"exclusiveMinimum": 2}),
        ([{"minimum": 3}, {"exclusiveMinimum": 2}], {"minimum": 3}),
        ([{"maximum": 2}, {"exclusiveMaximum": 2}], {"exclusiveMaximum": 2}),
        ([{"maximum": 0.1}, {"maximum": 0.2}], {"maximum": 0.1}),
        ([{"minimum": 0, "maximum": 9}, {"maximum": 5}], {"minimum": 0, "maximum": 5}),
        ([{"minimum": 10**30}, {"minimum": 10**30 + 1}], {"minimum": 10**30 + 1}),
        ([{"multipleOf": 0.1}, {"multipleOf": 0.25}], {"multipleOf": 0.5}),
        ([{"multipleOf": 4}, {"multipleOf": 6}], {"multipleOf": 12}),
        ([{"multipleOf": 0.1}, {"multipleOf": 0.1}], {"multipleOf": 0.1}),
        ([{"minLength": 1, "maxLength": 9}, {"minLength": 3}], {"minLength": 3, "maxLength": 9}),
        ([{"enum": ["a", "b", 1]}, {"enum": [1.0, "b"]}], {"enum": ["b", 1]}),
        ([{"enum": ["a", 1]}, {"type": "string"}], {"enum": ["a"], "type": "string"}),
        ([{"enum": [1, 5, 9]}, {"maximum": 5}], {"enum": [1, 5], "maximum": 5}),
        ([{"const": True}], {"enum": [True]}),
        ([False], {"enum": []}),
    ],
)
def test_bounds_choices_and_types_are_intersected(
    schemas: list[Any], merged: dict[str, Any]
) -> None:
    assert described(*schemas) == merged
    assert described(*reversed(schemas)).keys() == merged.keys()


def test_numbers_are_compared_however_long_they_are() -> None:
    long = "1" + "0" * 5_000
    schemas = [decode(f'{{"minimum":{long}}}'.encode()), {"minimum": 7}, {"minLength": 3.0}]
    assert encode(described(*schemas)["minimum"]) == long


def test_texts_are_of_the_more_specific_rule() -> None:
    rules = {
        "a-all": {"match": "**", "schema": {"title": "All", "unit": "s", "description": "Any."}},
        "b-some": {"match": "*.lr", "schema": {"title": "Some", "unit": "m"}},
        "c-more": {"match": "train.*", "schema": {"title": "More"}},
        "d-this": {"match": ["**", "train.lr"], "schema": {"x-color": "red", "readOnly": True}},
    }
    assert described(**rules) == {
        "title": "More",
        "unit": "m",
        "description": "Any.",
        "x-color": "red",
        "readOnly": True,
    }
    same = {name: {"match": "train.*", "schema": {"title": name}} for name in ("b", "a")}
    assert described(**same) == {"title": "a"}


def test_what_a_schema_refers_to_and_all_of_hold_too() -> None:
    schema = {
        "$defs": {"a.b": {"maximum": 3, "title": "Defined"}},
        "$ref": "#/$defs/a.b",
        "allOf": [{"minimum": 1}, {"allOf": [{"type": "integer", "title": "Deep"}]}],
        "anyOf": [{"multipleOf": 2}, {"multipleOf": 3}],
    }
    assert described(schema) == {"minimum": 1, "maximum": 3, "type": "integer", "title": "Defined"}


def test_a_rule_that_cannot_be_used_says_nothing() -> None:
    assert described(odd={"match": KEY, "schema": {"minimun": 1}}) == {}


def test_choices_are_listed_where_they_can_be() -> None:
    assert choices({"enum": [3, 4]}) == [3, 4]
    assert choices({"type": "boolean"}) == [False, True]
    assert choices({"type": "boolean", "enum": [True]}) == [True]
    assert choices({"type": ["boolean", "null"]}) is None
    assert choices({}) is None


def test_others_get_their_turn_after_each_choice() -> None:
    pauses: list[None] = []
    rules = {
        RULES + "choices": encode({"match": KEY, "schema": {"enum": list(range(500))}}),
        RULES + "bound": encode({"match": "**", "schema": {"maximum": 9}}),
    }
    matching = rules_of(rules.items()).about(KEY).matching
    found = describe(KEY, matching, lambda: pauses.append(None))
    assert found == {"enum": list(range(10)), "maximum": 9}
    assert len(pauses) == 500


def test_choices_that_take_long_to_be_held_against_every_rule_are_as_the_most_specific_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(descriptions, "MAX_CHECKS", 5)
    bound, rule = {"maximum": 2}, {"match": KEY, "schema": {"enum": [1, 2, 3]}}
    assert described(bound, rule=rule) == {"enum": [1, 2, 3], "maximum": 2}
    rule = {"match": KEY, "schema": {"enum": [2, 3]}}
    assert described(bound, rule=rule) == {"enum": [2], "maximum": 2}
