"""Rules: which keys they are about, and what they refuse."""

from typing import Any

import pytest
from msgspec import Raw

from signalbox.server.model.errors import Interlocked, Invalid, RuleBroken, SignalboxError, TooLarge
from signalbox.server.model.keys import RULES
from signalbox.server.model.rule_check import allowed_changes, check_rules
from signalbox.server.model.rule_records import check_rule
from signalbox.server.model.rules import MAX_CACHED, RuleSet, rules_of
from signalbox.server.model.values import encode
from support.dict_state import DictState

TRUE = {"const": True}
LAMP = {
    "match": "lamp.*.on",
    "on": TRUE,
    "requires": {"fuse.{1}": TRUE},
    "holds": True,
    "says": "Put the fuse in first.",
}


def state(rules: dict[str, Any], **keys: Any) -> DictState:
    """A state with these rules, and keys whose names have `_` for each dot."""
    held = {key.replace("_", "."): value for key, value in keys.items()}
    return DictState(held | {RULES + name: rule for name, rule in rules.items()})


def refusal(
    before: DictState, changes: dict[str, Any], actor: str = "me", deleted: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The fields of the refusal of these changes; empty where the rules allow them."""
    raw: dict[str, str | None] = {key: encode(value) for key, value in changes.items()}
    try:
        check_rules(before, raw | dict.fromkeys(deleted), actor)
    except SignalboxError as error:
        return error.fields()
    return {}


def test_a_rule_has_limits() -> None:
    with pytest.raises(TooLarge):
        check_rule(RULES + "r", {"match": "a", "says": "x" * 16_384})
    with pytest.raises(Invalid, match="129 characters"):
        check_rule(RULES + "r" * 129, {"match": "a"})
    many = state({f"r{number}": {"match": f"a{number}"} for number in range(5_000)})
    check_rules(many, {RULES + "r7": encode({"match": "b"})}, "me")
    with pytest.raises(TooLarge, match="5000"):
        check_rules(many, {RULES + "more": encode({"match": "b"})}, "me")


@pytest.mark.parametrize(
    ("schema", "value", "path", "message"),
    [
        ({"type": "number"}, "oops", "", 'a cannot be "oops"; it must be a number.'),
        ({"type": ["number", "null"]}, [], "", "a cannot be []; it must be null or a number."),
        ({"minimum": 1}, 0, "", "a cannot be 0; it must be at least 1."),
        ({"exclusiveMaximum": 1.5}, 2, "", "a cannot be 2; it must be less than 1.5."),
        ({"multipleOf": 0.1}, 0.25, "", "a cannot be 0.25; it must be a multiple of 0.1."),
        ({"const": None}, 0, "", "a cannot be 0; it must be null."),
        ({"enum": ["on", "off"]}, "o", "", 'a cannot be "o"; it must be one of "on", "off".'),
        ({"maxLength": 1}, "ab", "", 'a cannot be "ab"; it must have at most 1 character.'),
        ({"pattern": "^b"}, "a", "", 'a cannot be "a"; it must be a text that matches "^b".'),
        ({"format": "date"}, "x", "", 'a cannot be "x"; it must have the form of a date.'),
        ({"format": "color"}, "x", "", 'a cannot be "x"; it must have the form of a color.'),
        ({"minItems": 2}, [1], "", "a cannot be [1]; it must have at least 2 items."),
        ({"required": ["b"]}, {}, "", 'a cannot be {}; it must have "b".'),
        (
            {"properties": {"b/c": {"type": "null"}}},
            {"b/c": 1},
            "/b~1c",
            "a cannot have 1 at /b~1c; it must be null.",
        ),
        ({"items": {"minimum": 3}}, [4, 2], "/1", "a cannot have 2 at /1; it must be at least 3."),
        (
            {"properties": {"b": True}, "additionalProperties": False},
            {"c": 1},
            "",
            'a cannot be {"c": 1}; it must not have "c".',
        ),
        ({"uniqueItems": True}, [1, 1], "", "a cannot be [1, 1]; it must have no two equal items."),
        ({"not": {"const": 1}}, 1, "", "a cannot be 1; it must be something else."),
        (False, 1, "", "a cannot be 1; it must not be there."),
        ({"maximum": 5}, 10**4_000, "", None),
        ({"maximum": 2**70}, 2**70 + 1, "", None),
        ({"enum": [2**70]}, 2**70 + 1, "", None),
    ],
)
def test_a_value_that_breaks_a_schema_is_refused(
    schema: Any, value: Any, path: str, message: str | None
) -> None:
    told = refusal(state({"r": {"match": "a", "schema": schema}}), {"a": value})
    assert (told["code"], told["key"], told["rule"], told["path"]) == ("rule", "a", "r", path)
    assert message in (None, told["message"])


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, 1.0),
        ({"multipleOf": 0.01}, 0.07),
        ({"maximum": 2**70}, 2**70),
        ({"enum": [2**70]}, 2**70),
        ({"format": "idn-hostname"}, "."),
        ({"format": "iri"}, "\\"),
        ({"format": "what else"}, "\\"),
        ({"contentEncoding": "base64", "contentMediaType": "application/json"}, "{"),
    ],
)
def test_a_value_that_satisfies_a_schema_is_taken(schema: Any, value: Any) -> None:
    assert refusal(state({"r": {"match": "a", "schema": schema}}), {"a": value}) == {}


def test_a_value_is_not_checked_where_that_would_take_long() -> None:
    many = {"items": {"anyOf": [{"minLength": length} for length in range(500)]}}
    with pytest.raises(TooLarge):
        check_rules(state({"r": {"match": "a", "schema": many}}), {"a": encode([0] * 50_000)}, "me")
    patterns = {"allOf": [{"pattern": rf"\w+\b{number}"} for number in range(50)]}
    with pytest.raises(TooLarge):
        check_rules(
            state({"r": {"match": "a", "schema": patterns}}), {"a": encode("é" * 9**5)}, "x"
        )


def test_what_is_refused_says_it_in_the_words_of_the_rule() -> None:
    says = {"match": "lr", "schema": {"maximum": 1}, "says": "A rate is between 0 and 1."}
    told = refusal(state({"lr": says}), {"lr": 5})
    assert told["message"] == "A rate is between 0 and 1. lr cannot be 5; it must be at most 1."


def test_a_required_key_is_that_of_what_the_wildcards_took() -> None:
    told = refusal(state({"lamp": LAMP}, fuse_attic=True), {"lamp.hall.on": True})
    assert told == {
        "code": "interlocked",
        "message": "Put the fuse in first. fuse.hall does not exist; it must be true.",
        "key": "lamp.hall.on",
        "rule": "lamp",
        "because": [{"key": "fuse.hall", "missing": True}],
    }
    told = refusal(state({"lamp": LAMP}, fuse_hall=False), {"lamp.hall.on": True})
    assert told["message"] == "Put the fuse in first. fuse.hall is false; it must be true."
    assert told["because"] == [{"key": "fuse.hall", "value": False, "revision": 3}]
    assert refusal(state({"lamp": LAMP}, fuse_hall=True), {"lamp.hall.on": True}) == {}


def test_a_command_is_judged_by_the_state_that_it_leaves() -> None:
    before = state({"lamp": LAMP}, fuse_hall=True)
    assert refusal(before, {"lamp.attic.on": True, "fuse.attic": True}) == {}
    told = refusal(before, {"lamp.hall.on": True}, deleted=("fuse.hall",))
    assert told["because"] == [{"key": "fuse.hall", "missing": True}]
    new = {RULES + "new": {"match": "a", "schema": {"type": "null"}}}
    assert refusal(before, {"a": 1, **new})["rule"] == "new"
    assert refusal(before, {"lamp.attic.on": True}, deleted=(RULES + "lamp",)) == {}


def test_with_holds_a_required_key_cannot_change_under_what_requires_it() -> None:
    before = state({"lamp": LAMP}, fuse_hall=True, lamp_hall_on=True)
    told = refusal(before, {}, deleted=("fuse.hall",))
    assert (told["code"], told["key"]) == ("interlocked", "fuse.hall")
    assert told["message"] == (
        "Put the fuse in first. lamp.hall.on is true; as long as it is, fuse.hall must be true."
    )
    assert told["because"] == [{"key": "lamp.hall.on", "value": True, "revision": 3}]
    assert refusal(before, {"fuse.hall": 5})["code"] == "interlocked"
    assert refusal(before, {"lamp.hall.on": False}, deleted=("fuse.hall",)) == {}
    assert refusal(before, {"fuse.attic": False}) == {}
    free = state({"lamp": LAMP | {"holds": False}}, fuse_hall=True, lamp_hall_on=True)
    assert refusal(free, {"fuse.hall": False}) == {}


@pytest.mark.parametrize(
    ("match", "required", "dependent", "key"),
    [
        ("a.*.b.*", "x.{2}.{1}", "a.p.b.q", "x.q.p"),
        ("a.**.z", "{1}.x", "a.p.q.z", "p.q.x"),
        ("a.**.*", "{2}.x.{1}", "a.p.q.r", "r.x.p.q"),
        ("a.*", "b.{1}.c.{1}", "a.p", "b.p.c.p"),
        ("a*-*.on", "f.{1}.{2}", "ap-q.on", "f.p.q"),
        ("a", "b", "a", "b"),
    ],
)
def test_what_requires_a_key_is_found_from_the_key(
    match: str, required: str, dependent: str, key: str
) -> None:
    rule = {"match": match, "requires": {required: TRUE}, "holds": True}
    rules = rules_of([(RULES + "r", encode(rule))])
    assert [found for _, found in rules.about(key).dependents] == [dependent]
    captures = rules.rules["r"].captures(dependent)
    assert captures is not None
    assert rules.rules["r"].requires[0].key(captures) == key


def test_a_key_that_would_be_split_otherwise_requires_another() -> None:
    rule = {"match": "x.*-*.on", "requires": {"f.{1}.{2}": TRUE}, "holds": True}
    rules = rules_of([(RULES + "r", encode(rule))])
    assert [found for _, found in rules.about("f.p.q-r").dependents] == ["x.p-q-r.on"]
    assert rules.about("f.p-q.r").dependents == ()


def test_of_several_patterns_the_first_that_matches_says_what_is_required() -> None:
    rule = {"match": ["a.*", "*.b"], "requires": {"c.{1}": None}, "holds": True}
    before = state({"r": rule}, a_b=1)
    assert refusal(before, {"c.b": 1})["because"][0]["key"] == "a.b"
    assert refusal(before, {"c.a": 1}) == {}


def test_a_key_that_must_not_exist() -> None:
    rule = {"match": "a", "requires": {"b": None}}
    told = refusal(state({"r": rule}, b=1), {"a": 1})
    assert told["message"] == "b exists; it must not."
    assert refusal(state({"r": rule}, b=1), {"a": 1}, deleted=("b",)) == {}
    held = state({"r": rule | {"holds": True}}, a=1)
    assert refusal(held, {"b": 1})["message"] == "a is 1; as long as it is, b must not exist."


def test_on_says_which_writes_count() -> None:
    rule = {"match": "a", "on": {"minimum": 10}, "actors": ["op"], "delete": False}
    before = state({"r": rule}, a=1)
    assert refusal(before, {"a": 5}) == {}
    assert refusal(before, {}, deleted=("a",)) == {}
    assert refusal(before, {"a": 10})["message"] == "a may be changed by op; this was me."
    assert refusal(before, {"a": 10}, actor="op") == {}
    always = state({"r": {**rule, "on": True}}, a=1)
    assert refusal(always, {"a": 5})["code"] == "interlocked"


@pytest.mark.parametrize(
    ("allowed", "actor", "may"),
    [
        (["op"], "op", True),
        (["op"], "op@node", True),
        (["op"], "opera", False),
        (["op*"], "opera@node", True),
        (["x", "op@*"], "op@node", True),
        (["op@home"], "op@node", False),
        (["op@home"], "op", False),
        ("*", "anybody", True),
    ],
)
def test_actors_are_compared_before_their_node(allowed: Any, actor: str, may: bool) -> None:
    rule = {"match": "a", "actors": allowed}
    assert bool(refusal(state({"r": rule}), {"a": 1}, actor)) is not may


def test_a_key_that_may_not_be_deleted() -> None:
    before = state({"r": {"match": "a", "delete": False}}, a=1)
    assert refusal(before, {"b": 1}, deleted=("a",))["message"] == "a may not be deleted."
    assert refusal(before, {"a": 2}) == {}


def test_a_value_that_nobody_takes_comes_before_what_is_locked() -> None:
    rules = {"a": {"match": "a", "actors": ["x"]}, "z": {"match": "z", "schema": {"maximum": 1}}}
    told = refusal(state(rules), {"a": 1, "z": 5})
    assert (told["code"], told["key"]) == ("rule", "z")
    assert "keys" not in told


def test_many_refused_keys_are_counted_and_a_hundred_named() -> None:
    before = state({"r": {"match": "**", "schema": {"type": "null"}}})
    told = refusal(before, {f"k{number:03}": 1 for number in range(250)})
    assert (told["key"], told["total"], len(told["keys"])) == ("k000", 250, 100)
    assert told["message"] == "k000 cannot be 1; it must be null, and 249 more."


def test_every_rule_that_refuses_is_named() -> None:
    rules = {f"r{number}": {"match": "a", "schema": {"const": number}} for number in range(3)}
    told = refusal(state(rules), {"a": 0})
    assert told["rule"] == "r1"
    assert told["message"] == "a cannot be 0; it must be 1; the rule r2 refuses it too."


def test_a_reason_is_cut_where_it_is_long() -> None:
    rule = {"match": "a", "requires": {f"b{number}": {"const": 1} for number in range(30)}}
    told = refusal(state({"r": rule}, b0="x" * 5_000), {"a": 1})
    assert len(told["because"]) == 20
    assert told["because"][0]["value"] == '"' + "x" * 1_023
    assert len(told["message"]) < 200


def test_a_rule_that_cannot_be_used_refuses_all_writes_to_its_keys() -> None:
    before = state({"r": {"match": "a.*", "from the future": 1}})
    assert refusal(before, {"a.b": 1})["message"] == (
        "The rule r cannot be used, so nothing changes a.b."
    )
    assert refusal(before, {"b": 1}) == {}
    assert [rule.name for rule in before.rules.faulty] == ["r"]
    assert refusal(state({"r": 5, "s": {"match": 7}}), {"a": 1}) == {}


def test_no_rule_is_about_the_keys_of_the_app() -> None:
    before = state({"r": {"match": "**", "schema": False}})
    assert refusal(before, {"_signalbox.theme": "dark", RULES + "s": {"match": "a"}}) == {}


def test_rules_of_a_key_are_found_whatever_their_patterns_are() -> None:
    texts = ["a", "a.b", "*", "**", "a.*", "a.**", "**.b", "*.b", "a*", "*b", "a.*.c", "**b**"]
    rules = rules_of((RULES + f"r{n}", encode({"match": text})) for n, text in enumerate(texts))
    for key in ("a", "b", "a.b", "ab", "a.x.c", "x.a.b", "abc.d", "c"):
        for _ in range(2):
            found = {rule.matches[0].pattern.text for rule in rules.about(key).matching}
            assert found == {
                rule.matches[0].pattern.text
                for rule in rules.rules.values()
                if rule.matches[0].pattern.matches(key)
            }


def test_rules_change_one_by_one_as_if_all_were_read_anew() -> None:
    rules = RuleSet()
    texts = ["a", "a.*", "**.b", "a", "c.*"]
    for number, text in enumerate(texts):
        record = encode({"match": text, "requires": {"q": {}}, "holds": text == "a"})
        rules = rules.changed({RULES + f"r{number}": record, "unrelated": "1"})
    rules = rules.changed({RULES + "r0": None, RULES + "r1": encode({"match": ["x", "a.b"]})})
    assert [rule.name for rule in rules.about("a").matching] == ["r3"]
    assert [rule.name for rule in rules.about("a.b").matching] == ["r1", "r2"]
    assert [rule.name for rule in rules.about("x").matching] == ["r1"]
    assert [dependency.rule.name for dependency, _ in rules.about("q").dependents] == ["r3"]
    assert rules.changed({"unrelated": "1"}) is rules
    assert not rules.changed(dict.fromkeys(RULES + name for name in rules.rules))


def test_what_is_remembered_of_keys_is_bounded() -> None:
    rules = rules_of([(RULES + "r", encode({"match": "**"}))])
    for number in range(MAX_CACHED + 10):
        assert rules.about(f"k{number}").matching
    assert len(rules._found) <= MAX_CACHED  # noqa: SLF001


def test_refusals_are_remembered_as_conflicts_are() -> None:
    assert (RuleBroken.remembered, Interlocked.remembered) == (True, True)


def test_a_value_under_many_rules_is_checked_as_long_as_all_of_them_allow() -> None:
    numbers = {"items": {"type": "number"}}
    rules = {f"r{number:03}": {"match": "a", "schema": numbers} for number in range(200)}
    told = refusal(state(rules), {"a": [0] * 100_000})
    assert (told["code"], told["key"]) == ("too_large", "a")
    assert refusal(state(rules), {"a": [0] * 100}) == {}


def test_a_check_pauses_after_each_step_and_each_rule() -> None:
    rules = {f"r{number}": {"match": "a", "actors": ["me"]} for number in range(50)}
    pauses: list[int] = []
    check_rules(state(rules), {"a": "1"}, "me", lambda: pauses.append(1))
    assert len(pauses) >= 50
    made: dict[str, str | None] = {
        RULES + f"r{number}": encode({"match": "a"}) for number in range(50)
    }
    pauses.clear()
    check_rules(state({}), made, "me", lambda: pauses.append(1))
    assert len(pauses) >= 50


def test_what_is_too_large_to_check_is_left_out_with_what_is_refused() -> None:
    many = {"items": {"anyOf": [{"minLength": length} for length in range(500)]}}
    before = state({"r": {"match": "a", "schema": many}})
    changes: dict[str, str | None] = {"a": encode([0] * 50_000), "b": "1"}
    assert allowed_changes(before, changes, "me") == {"b": "1"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"enum": []}, 1),
        ({"maximum": 5}, Raw(b"9" * 4_501)),
        ({"minimum": Raw(b"9" * 4_501)}, 1),
        ({"const": Raw(b"9" * 4_501)}, 1),
        ({"multipleOf": 7}, Raw(b"9" * 4_501)),
        ({"items": {"maximum": 5}}, [Raw(b"9" * 4_501)]),
        ({"enum": [Raw(b"9" * 4_501)]}, Raw(b"8" * 4_501)),
    ],
)
def test_whatever_is_refused_is_told_in_a_sentence(schema: Any, value: Any) -> None:
    told = refusal(state_of_raw(encode({"match": "a", "schema": schema})), {"a": value})
    assert told["code"] == "rule"
    assert told["message"].endswith(".")
    required = encode({"match": "b", "requires": {"a": schema}})
    assert refusal(state_of_raw(required), {"b": 1})["code"] == "interlocked"
    assert refusal(state_of_raw(required), {"b": 1, "a": value})["code"] == "interlocked"


def state_of_raw(rule: str) -> DictState:
    """A state with one rule, given as JSON text."""
    made = DictState()
    made.apply({RULES + "r": rule})
    return made


def test_the_first_of_many_refused_keys_is_among_those_that_are_named() -> None:
    before = state({"r": {"match": "**", "schema": {"type": "null"}}})
    told = refusal(before, {f"k{number:03}": 1 for number in range(300, 0, -1)})
    assert told["key"] == told["keys"][0] == "k001"


def test_what_would_take_long_to_explain_is_refused_without_a_place() -> None:
    schema = {"anyOf": [{"items": {"type": "integer"}}, {"maxItems": 1}]}
    before = state({"r": {"match": "a", "schema": schema}})
    told = refusal(before, {"a": ["x"] * 60_000})
    assert (told["code"], told["path"]) == ("rule", "")
    assert told["message"].endswith("it must satisfy one of several schemas.")


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"uniqueItems": True}, [10**19 + number for number in range(2_000)]),
        ({"allOf": [{"minimum": 1}] * 800}, Raw(b"9" * 250_000)),
    ],
)
def test_long_integers_count_for_what_they_cost(schema: Any, value: Any) -> None:
    told = refusal(state({"r": {"match": "a", "schema": schema}}), {"a": value})
    assert (told["code"], told["key"]) == ("too_large", "a")


def test_a_long_integer_is_told_as_it_is_written() -> None:
    told = refusal(state({"r": {"match": "a", "schema": {"maximum": 5}}}), {"a": 10**30})
    assert told["message"] == f"a cannot be {10**30}; it must be at most 5."


def test_no_key_of_the_app_is_required_by_what_a_wildcard_took() -> None:
    rule = {"match": "m.**", "requires": {"_signalbo{1}": TRUE}}
    before = DictState({RULES + "r": rule, "_signalbox.theme": "dark"})
    told = refusal(before, {"m.x.theme": 1})
    assert told["message"] == "_signalbo{1} makes no key here; it must be true."
    assert "because" not in told


def test_a_refusal_by_very_many_rules_names_some() -> None:
    rules = {f"r{number:03}": {"match": "a", "actors": ["x"]} for number in range(300)}
    assert refusal(state(rules), {"a": 1})["message"].endswith("and 289 more refuse it too.")
