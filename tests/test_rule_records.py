"""Which records are rules: their fields, the dialect of their schemas, and what these may cost."""

from typing import Any

import pytest

from signalbox.server.model.errors import Invalid, TooLarge
from signalbox.server.model.keys import RULES
from signalbox.server.model.rule_records import check_rule
from signalbox.server.model.rules import rules_of


@pytest.mark.parametrize(
    ("record", "path"),
    [
        (5, ""),
        ({}, "/match"),
        ({"match": 5}, "/match"),
        ({"match": []}, "/match"),
        ({"match": ["a", 5]}, "/match/1"),
        ({"match": "_signalbox.theme"}, "/match"),
        ({"match": "a", "foo": 1}, "/foo"),
        ({"match": "a", "delete": "no"}, "/delete"),
        ({"match": "a", "holds": 1}, "/holds"),
        ({"match": "a", "holds": True}, "/holds"),
        ({"match": "a", "says": ""}, "/says"),
        ({"match": "a", "actors": []}, "/actors"),
        ({"match": "a", "actors": {"a": 1}}, "/actors"),
        ({"match": "a", "requires": []}, "/requires"),
        ({"match": "a", "requires": {"b": True}}, "/requires/b"),
        ({"match": "a", "requires": {"b": 5}}, "/requires/b"),
        ({"match": "a", "requires": {"_signalbox.theme": {}}}, "/requires/_signalbox.theme"),
        ({"match": "a", "requires": {"b..c": {}}}, "/requires/b..c"),
        ({"match": "a.*", "requires": {"b.{2}": {}}}, "/requires/b.{2}"),
        ({"match": ["a.*", "b"], "requires": {"b.{1}": {}}}, "/requires/b.{1}"),
        ({"match": "a.*", "requires": {"b": {}}, "holds": True}, "/requires/b"),
        ({"match": "a*.b*", "requires": {"x.{1}{2}": {}}, "holds": True}, "/requires/x.{1}{2}"),
        ({"match": "**.a.**", "requires": {"{1}.{2}": {}}, "holds": True}, "/requires/{1}.{2}"),
        ({"match": "a", "schema": 5}, "/schema"),
        ({"match": "a", "schema": {"minimun": 1}}, "/schema/minimun"),
        ({"match": "a", "schema": {"type": "float"}}, "/schema/type"),
        ({"match": "a", "schema": {"minimum": "1"}}, "/schema/minimum"),
        ({"match": "a", "schema": {"allOf": {}}}, "/schema/allOf"),
        ({"match": "a", "schema": {"properties": []}}, "/schema/properties"),
        ({"match": "a", "schema": {"items": {"items": 7}}}, "/schema/items/items"),
        ({"match": "a", "schema": {"unit": 5}}, "/schema/unit"),
        ({"match": "a", "schema": {"$id": "x"}}, "/schema/$id"),
        ({"match": "a", "schema": {"$anchor": "x"}}, "/schema/$anchor"),
        ({"match": "a", "schema": {"$dynamicRef": "#x"}}, "/schema/$dynamicRef"),
        ({"match": "a", "schema": {"definitions": {}}}, "/schema/definitions"),
        ({"match": "a", "schema": {"$schema": "x"}}, "/schema/$schema"),
        ({"match": "a", "schema": {"$ref": "https://a.example/b"}}, "/schema/$ref"),
        ({"match": "a", "schema": {"$ref": "#"}}, "/schema/$ref"),
        ({"match": "a", "schema": {"$ref": "#/$defs/a"}}, "/schema/$ref"),
        ({"match": "a", "schema": {"$defs": {"%41": {}}, "$ref": "#/$defs/%41"}}, "/schema/$ref"),
        ({"match": "a", "schema": {"$defs": {"a b": {}}, "$ref": "#/$defs/a b"}}, "/schema/$ref"),
        ({"match": "m.**", "requires": {"{1}.y.{1}": {}}, "holds": True}, "/requires/{1}.y.{1}"),
        ({"match": "*." * 21 + "a"}, "/match"),
        ({"match": "a", "schema": {"items": {"$defs": {}}}}, "/schema/items/$defs"),
        ({"match": "a", "schema": {"a/b~": 1}}, "/schema/a~1b~0"),
        ({"match": "a", "schema": {"pattern": "(a"}}, "/schema/pattern"),
        ({"match": "a", "schema": {"pattern": "(?=a)b"}}, "/schema/pattern"),
        ({"match": "a", "schema": {"pattern": r"(a)\1"}}, "/schema/pattern"),
        ({"match": "a", "schema": {"pattern": "a{0,500}a{0,500}b"}}, "/schema/pattern"),
        ({"match": "a", "on": {"minimun": 1}}, "/on/minimun"),
        ({"match": "a", "requires": {"b": {"minimun": 1}}}, "/requires/b/minimun"),
    ],
)
def test_what_is_no_rule_is_refused_with_the_path(record: Any, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_rule(RULES + "r", record)
    assert (caught.value.path, caught.value.key) == (path, RULES + "r")
    assert caught.value.message.startswith("The rule r cannot be used: ")


def test_a_value_that_is_no_schema_gets_the_hint_of_one() -> None:
    with pytest.raises(Invalid, match=r'\{"const": true\}'):
        check_rule(RULES + "r", {"match": "a", "requires": {"b": True}})


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema"},
        {"title": "T", "description": "D", "default": 1, "examples": [1], "readOnly": True},
        {"unit": "°C", "x-anything": {"at": "all"}, "format": "of our own"},
        {"$defs": {"a": {"type": "integer"}}, "items": {"$ref": "#/$defs/a"}},
        {"$defs": {"a.b-c_1": {"type": "integer"}}, "$ref": "#/$defs/a.b-c_1"},
        {"patternProperties": {"^a": {"minLength": 1}}, "unevaluatedProperties": False},
    ],
)
def test_what_the_dialect_has_is_taken(schema: Any) -> None:
    check_rule(RULES + "r", {"match": "a", "schema": schema})


def nested(levels: int, **keywords: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"allOf": [schema], **keywords}
    return schema


def doubled(levels: int) -> dict[str, Any]:
    """A schema of a few hundred bytes that refers to itself 2 ** levels times."""
    definitions: dict[str, Any] = {"d0": {"type": "integer"}}
    for level in range(1, levels + 1):
        one = {"$ref": f"#/$defs/d{level - 1}"}
        definitions[f"d{level}"] = {"anyOf": [one, one]}
    return {"$defs": definitions, "$ref": f"#/$defs/d{levels}"}


@pytest.mark.parametrize(
    "schema",
    [
        nested(51),
        doubled(27),
        {"anyOf": [{"minLength": number} for number in range(2_000)]},
        nested(18, unevaluatedProperties=False),
        {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        {
            "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"not": {"$ref": "#/$defs/a"}}},
            "$ref": "#/$defs/a",
        },
        {"items": {"enum": [[number] for number in range(2_000)]}},
    ],
    ids=["deep", "doubled", "wide", "unevaluated", "recursive", "mutual", "compared"],
)
def test_a_schema_that_would_cost_too_much_is_refused_before_it_is_compiled(schema: Any) -> None:
    with pytest.raises((Invalid, TooLarge)):
        check_rule(RULES + "r", {"match": "a", "schema": schema})


def test_as_much_as_is_allowed_is_taken() -> None:
    for schema in (nested(50), doubled(8), {"anyOf": [{"minLength": n} for n in range(500)]}):
        check_rule(RULES + "r", {"match": "a", "schema": schema})


@pytest.mark.parametrize(
    ("record", "path"),
    [
        ({"match": [f"a{number}" for number in range(101)]}, "/match"),
        ({"match": "a", "actors": [f"a{number}" for number in range(101)]}, "/actors"),
        ({"match": "a", "requires": {f"b{number}": None for number in range(101)}}, "/requires"),
        (
            {
                "match": [f"a{number}" for number in range(20)],
                "requires": {f"b{number}": None for number in range(20)},
                "holds": True,
            },
            "/holds",
        ),
    ],
)
def test_a_rule_has_only_so_many_patterns_and_keys(record: Any, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_rule(RULES + "r", record)
    assert caught.value.path == path


def test_a_rule_that_is_no_json_any_more_is_one_that_cannot_be_used() -> None:
    rules = rules_of([(RULES + "r", "{bad")])
    assert [rule.name for rule in rules.faulty] == ["r"]
