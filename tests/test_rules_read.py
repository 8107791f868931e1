"""What rules say of a key, and which keys break them, on every engine, now and at any moment."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from signalbox.server.model.keys import RULES
from support.brokers import Options
from support.command_line import Shell
from support.harness import Server

StartServer = Callable[..., Server]

RANGE: dict[str, Any] = {"match": "n.**", "schema": {"type": "integer", "minimum": 0, "maximum": 9}}
LAMP = {
    "match": "lamp.*.on",
    "schema": {"type": "boolean", "title": "A lamp"},
    "on": {"const": True},
    "requires": {"fuse.{1}": {"const": True}},
    "holds": True,
    "says": "Put the fuse in first.",
}
LEVEL = {"match": "level", "schema": {"enum": ["low", "high"]}, "actors": ["ada"]}


@pytest.fixture
def box(engine: Options, server: StartServer) -> Server:
    return server(*engine())


@pytest.fixture
def local(server: StartServer) -> Server:
    return server()


def described(box: Server, key: str, **query: Any) -> dict[str, Any]:
    """What the rules say of a key."""
    answer = box.get(f"/queries/describe/{key}", **query)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    return found


def broken(box: Server, **query: Any) -> dict[str, Any]:
    """The page of keys whose values break a rule."""
    answer = box.get("/queries/violations", **query)
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json()
    return found


def allowed(found: dict[str, Any]) -> list[tuple[Any, bool]]:
    """The values that were judged, and whether they may be set."""
    return [(one["value"], one["allowed"]) for one in found["values"]]


def refusal_of(box: Server, key: str, value: Any, actor: str = "script") -> dict[str, Any]:
    """What a command with this value is answered: the fields of the refusal alone."""
    told = box.post({"type": "set", "key": key, "value": value, "actor": actor}).json()
    assert told["status"] == "rejected"
    return {name: given for name, given in told.items() if name not in ("id", "status")}


def test_a_key_is_described_and_its_values_are_judged(box: Server) -> None:
    box.set(RULES + "lamp", LAMP)
    found = described(box, "lamp.hall.on")
    revision = box.get("/queries/status").json()["revision"]
    assert (found["key"], found["revision"]) == ("lamp.hall.on", revision)
    assert "value" not in found
    assert found["description"] == {"type": "boolean", "title": "A lamp"}
    assert found["rules"] == [{"name": "lamp", "record": LAMP}]
    assert allowed(found) == [(False, True), (True, False)]
    refusal = found["values"][1]["refusal"]
    assert refusal["message"] == "Put the fuse in first. fuse.hall does not exist; it must be true."
    assert refusal == refusal_of(box, "lamp.hall.on", True)
    box.set("fuse.hall", True)
    box.set("lamp.hall.on", True)
    assert allowed(described(box, "lamp.hall.on")) == [(False, True), (True, True)]
    held = described(box, "fuse.hall", value="false")
    assert (held["rules"], held["value"]) == ([], True)
    assert held["values"][0]["refusal"] == refusal_of(box, "fuse.hall", False)


def test_the_given_value_else_each_choice_else_the_present_one_is_judged(local: Server) -> None:
    local.set(RULES + "level", LEVEL)
    local.set(RULES + "range", RANGE)
    assert allowed(described(local, "level")) == [("low", False), ("high", False)]
    assert allowed(described(local, "level", actor="ada@here")) == [("low", True), ("high", True)]
    for value, is_allowed in ((3, True), (10, False), ("x", False)):
        found = described(local, "n.a", value=json.dumps(value))
        assert allowed(found) == [(value, is_allowed)]
        if not is_allowed:
            assert found["values"][0]["refusal"] == refusal_of(local, "n.a", value)
    assert described(local, "n.a")["values"] == []
    local.set("n.a", 5)
    assert allowed(described(local, "n.a")) == [(5, True)]
    local.set("free", {"a": 1})
    free = described(local, "free")
    assert (free["description"], free["rules"], allowed(free)) == ({}, [], [({"a": 1}, True)])


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("_signalbox.theme", '"green"', "invalid"),
        (RULES + "odd", "{}", "invalid"),
        ("a", json.dumps("x" * 20_000 + "y"), None),
        ("a", "[" * 101 + "]" * 101, "too_large"),
        ("a", "1e999", "invalid"),
    ],
)
def test_a_value_that_no_rule_is_about_is_judged_as_a_command_is(
    local: Server, key: str, value: str, code: str | None
) -> None:
    (judged,) = described(local, key, value=value)["values"]
    assert judged.get("refusal", {}).get("code") == code


@pytest.mark.parametrize("value", ["", "{", "[1,]", '{"a":1,"a":2}', "nothing"])
def test_a_value_that_is_no_json_is_refused_by_its_parameter(local: Server, value: str) -> None:
    answer = local.get("/queries/describe/a", value=value)
    assert (answer.status, answer.json()["code"], answer.json()["field"]) == (
        422,
        "invalid",
        "value",
    )


def test_a_value_longer_than_python_prints_is_refused_by_a_sentence(local: Server) -> None:
    local.set(RULES + "range", RANGE)
    for value in ("1" * 5_000, "[" + "1" * 5_000 + "]"):
        answer = local.get("/queries/describe/n.a", value=value)
        assert b'"code":"rule","message":"n.a cannot be ' in answer.body, answer.body[:500]
        body = f'{{"type": "set", "key": "n.a", "value": {value}}}'.encode()
        told = local.request("POST", "/commands", body, {"Content-Type": "application/json"})
        assert (told.status, told.json()["code"]) == (422, "rule")


def test_an_actor_that_nobody_can_be_is_refused(local: Server) -> None:
    answer = local.get("/queries/describe/a", actor="a b")
    assert (answer.status, answer.json()["field"]) == (422, "actor")


def test_a_key_is_described_as_it_was(box: Server) -> None:
    box.set("n.a", 5)
    first = box.set(RULES + "range", RANGE)["revision"]
    wider = {"match": "n.*", "schema": {"maximum": 20}}
    second = box.set(RULES + "range", wider)["revision"]
    box.set("n.a", 15)
    assert described(box, "n.a", at=first - 1)["description"] == {}
    then = described(box, "n.a", at=first, value="15")
    assert (then["revision"], then["value"], allowed(then)) == (first, 5, [(15, False)])
    then = described(box, "n.a", at=second, value="15")
    assert (then["description"], then["value"], allowed(then)) == ({"maximum": 20}, 5, [(15, True)])


def test_rules_are_those_of_the_moment_however_they_have_changed_since(local: Server) -> None:
    local.set("n.a", 50)
    local.set(RULES + "kept", RANGE)
    local.set(RULES + "gone", {"match": "n.*", "schema": {"title": "Gone"}})
    at = local.set(RULES + "changed", {"match": "n.*", "schema": {"unit": "m"}})["revision"]
    local.post({"type": "delete", "key": RULES + "gone"})
    local.set(RULES + "changed", {"match": "n.*", "schema": {"unit": "s"}})
    local.set(RULES + "new", {"match": "n.*", "schema": {"description": "New"}})
    then, now = described(local, "n.a", at=at), described(local, "n.a")
    assert [rule["name"] for rule in then["rules"]] == ["changed", "gone", "kept"]
    assert then["description"] == RANGE["schema"] | {"title": "Gone", "unit": "m"}
    assert [rule["name"] for rule in now["rules"]] == ["changed", "kept", "new"]
    assert now["description"] == RANGE["schema"] | {"description": "New", "unit": "s"}
    assert (broken(local, at=at)["total"], broken(local, at=1)["total"]) == (1, 0)


def test_an_interlock_is_judged_by_the_keys_of_that_moment(local: Server) -> None:
    local.set(RULES + "lamp", LAMP)
    before = local.set("fuse.a", True)["revision"]
    after = local.post({"type": "delete", "key": "fuse.a"}).json()["revision"]
    assert allowed(described(local, "lamp.a.on", at=before))[1] == (True, True)
    assert allowed(described(local, "lamp.a.on", at=after))[1] == (True, False)


def test_keys_whose_values_break_a_schema_are_listed(box: Server) -> None:
    for key, value in (("n.a", 5), ("n.b", "old"), ("n.c.d", 12), ("m", -1), ("level", "mid")):
        box.set(key, value)
    assert broken(box)["total"] == 0
    before = box.set(RULES + "range", RANGE)["revision"]
    revision = box.set(RULES + "level", LEVEL)["revision"]
    found = broken(box)
    assert (found["revision"], found["total"], found["next"]) == (revision, 3, None)
    assert [(one["key"], one["rule"], one["path"]) for one in found["items"]] == [
        ("level", "level", ""),
        ("n.b", "range", ""),
        ("n.c.d", "range", ""),
    ]
    assert found["items"][1]["message"] == refusal_of(box, "n.b", "older")["message"].replace(
        "older", "old"
    )
    assert broken(box, match="n.*")["total"] == 1
    assert broken(box, match="**.d")["total"] == 1
    assert broken(box, match="*.b")["total"] == 1
    assert broken(box, rule="range")["total"] == 2
    assert broken(box, at=before)["total"] == 2
    page = broken(box, limit=1)
    keys = [page["items"][0]["key"]]
    while page["next"]:
        page = broken(box, limit=1, after=page["next"])
        assert page["total"] == 3
        keys += [one["key"] for one in page["items"]]
    assert keys == ["level", "n.b", "n.c.d"]
    box.set("n.b", 3)
    box.post({"type": "delete", "key": "n.c.d"})
    assert broken(box)["total"] == 1
    assert broken(box, at=revision)["total"] == 3


def test_a_violation_names_the_place_in_the_value_and_every_rule(local: Server) -> None:
    local.set("o", {"a": [1, "x"]})
    items = {"properties": {"a": {"items": {"type": "integer"}}}}
    local.set(RULES + "one", {"match": "o", "schema": items})
    local.set(RULES + "two", {"match": "*", "schema": {"required": ["b"]}})
    (found,) = broken(local)["items"]
    assert (found["rule"], found["path"]) == ("one", "/a/1")
    assert found["message"] == (
        'o cannot have "x" at /a/1; it must be an integer; the rule two refuses it too.'
    )


def test_interlocks_and_the_apps_own_keys_are_no_violations(local: Server) -> None:
    local.set("lamp.a.on", True)
    local.set(RULES + "lamp", LAMP)
    local.set(RULES + "all", {"match": "**", "schema": {"type": "boolean"}})
    assert broken(local)["total"] == 0
    assert broken(local, match="_signalbox.**")["total"] == 0


def test_a_rule_that_does_not_exist_is_not_found(local: Server) -> None:
    answer = local.get("/queries/violations", rule="none")
    assert (answer.status, answer.json()["code"], answer.json()["rule"]) == (
        404,
        "not_found",
        "none",
    )


def tried(box: Server, name: str, rule: Any) -> dict[str, Any]:
    """The answer to a dry run that sets a rule."""
    command = {"type": "set", "key": RULES + name, "value": rule, "dry_run": True}
    answer: dict[str, Any] = box.post(command).json()
    return answer


def test_a_dry_run_of_a_rule_says_which_keys_would_break_it(box: Server) -> None:
    box.set("m", "old")
    box.post({"type": "batch", "commands": [set_of(f"n.{n:03}", n - 1) for n in range(120)]})
    revision = box.set("n.z", "old")["revision"]
    found = tried(box, "range", RANGE)
    assert (found["status"], found["revision"]) == ("accepted", None)
    assert (found["violations"]["revision"], found["violations"]["total"]) == (revision, 111)
    assert found["violations"]["keys"] == ["n.000", *[f"n.{n:03}" for n in range(11, 110)]]
    assert box.get(f"/queries/state/{RULES}range").status == 404
    assert tried(box, "odd", {"match": 5})["code"] == "invalid"
    made = box.set(RULES + "range", RANGE)
    assert "violations" not in made
    narrower = tried(box, "range", {"match": "n.00*", "schema": {"maximum": 3}})
    assert narrower["violations"]["keys"] == [f"n.00{n}" for n in range(5, 10)]


def set_of(key: str, value: Any) -> dict[str, Any]:
    """A command of a batch."""
    return {"type": "set", "key": key, "value": value}


def test_a_rule_that_cannot_be_used_is_named_in_the_status(server: StartServer) -> None:
    box = server()
    box.set("n.a", "old")
    box.set(RULES + "range", RANGE)
    assert box.get("/queries/status").json()["faulty_rules"] == []
    box.stop()
    with closing(sqlite3.connect(box.data_dir / "signalbox.db")) as store, store:
        for table in ("state", "changes"):  # as a newer program may have written it
            store.execute(f"UPDATE {table} SET value = replace(value, 'minimum', 'minimun')")
    other = server(data_dir=box.data_dir)
    (faulty,) = other.get("/queries/status").json()["faulty_rules"]
    assert faulty["name"] == "range"
    assert "minimun" in faulty["problem"]
    assert f"faulty rule range\t{faulty['problem']}\n" in Shell(box.data_dir).ok("status")
    found = described(other, "n.a")
    assert (found["description"], found["rules"][0]["problem"]) == ({}, faulty["problem"])
    assert allowed(found) == [("old", False)]
    assert broken(other)["total"] == 0


def test_what_retention_has_removed_is_left_out_and_named(local: Server) -> None:
    local.set("old.k", 5)
    local.set("k", 5)
    at = local.set(RULES + "small", {"match": "**", "schema": {"maximum": 2}})["revision"]
    local.set(RULES + "needs", {"match": "n", "requires": {"old.k": {"const": 3}}})
    needs = local.set("_signalbox.retention.old", {"max_age": "0s"})["revision"]
    local.set("old.k", 1)
    assert local.request("POST", "/commands/compact").status == 200
    found = broken(local, at=at)
    assert (found["total"], found["items"][0]["key"]) == (1, "k")
    assert found["compacted"] == ["old."]
    assert "compacted" not in broken(local, at=at, match="k")
    assert [one["key"] for one in broken(local)["items"]] == ["k"]
    assert described(local, "k", at=at)["value"] == 5
    for key in ("old.k", "n"):
        answer = local.get(f"/queries/describe/{key}", at=needs)
        assert (answer.status, answer.json()["code"]) == (410, "compacted")
        assert answer.json()["keys"] == ["old."]


def test_a_value_that_is_too_much_to_check_counts_and_says_so(local: Server) -> None:
    local.set("n.a", list(range(6_000)))
    one_of = {"items": {"anyOf": [{"const": number} for number in range(400)]}}
    local.set(RULES + "many", {"match": "n.*", "schema": one_of})
    (found,) = broken(local)["items"]
    assert (found["key"], found["rule"], found["path"]) == ("n.a", "many", "")
    assert "too much to check" in found["message"]
    (judged,) = described(local, "n.a")["values"]
    assert (judged["allowed"], judged["refusal"]["code"]) == (False, "too_large")


def test_many_keys_and_long_values_are_looked_at(local: Server) -> None:
    lines = [{"type": "set", "key": f"n.{number:05}", "value": number} for number in range(2_500)]
    lines.append({"type": "set", "key": "n.long", "value": "x" * 200_000})
    body = "\n".join(map(json.dumps, lines)).encode()
    local.request("POST", "/commands/import", body, {"Content-Type": "application/x-ndjson"})
    at = local.set(RULES + "even", {"match": "n.*", "schema": {"multipleOf": 2, "maxLength": 9}})
    for query in ({}, {"at": at["revision"]}):
        page = broken(local, limit=1_000, **query)
        found = [one["key"] for one in page["items"]]
        while page["next"]:
            page = broken(local, limit=1_000, after=page["next"], **query)
            found += [one["key"] for one in page["items"]]
        assert page["total"] == 1_251
        assert found == [*(f"n.{number:05}" for number in range(1, 2_500, 2)), "n.long"]
