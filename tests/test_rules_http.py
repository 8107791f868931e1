"""Rules are held against every command on every engine, and live as all keys do."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from threading import Event
from typing import Any

import apsw
import pytest

from signalbox.server.model.keys import RULES
from signalbox.server.store.file_names import STORE_FILE
from support.brokers import Options
from support.harness import Server
from support.nodes import Site, assert_equal_when_ended, reach

StartServer = Callable[..., Server]

RANGE = {"match": "n.**", "schema": {"type": "integer", "minimum": 0, "maximum": 9}}
LAMP = {"match": "lamp.*", "on": {"const": True}, "requires": {"fuse.{1}": {"const": True}}}


@pytest.fixture
def box(engine: Options, server: StartServer) -> Server:
    return server(*engine())


def sent(box: Server, type: str, **fields: Any) -> dict[str, Any]:
    """The answer to one command."""
    answer: dict[str, Any] = box.post({"type": type, **fields}).json()
    return answer


def refused(box: Server, type: str, **fields: Any) -> tuple[str, str]:
    """The code and the rule of a command that a rule refuses; it changes nothing."""
    before = box.get("/queries/status").json()["revision"]
    told = sent(box, type, **fields)
    assert told["status"] == "rejected", told
    assert box.get("/queries/status").json()["revision"] == before
    return told["code"], told.get("rule", "")


def test_every_command_is_held_against_the_rules(box: Server) -> None:
    for key, value in (("n.a", 9), ("n.b", "old"), ("m", True), ("n.o", {"a": 1}), ("text", "x")):
        box.set(key, value)
    box.set(RULES + "range", RANGE)
    is_rule = ("rule", "range")
    assert refused(box, "set", key="n.a", value=10) == is_rule
    assert refused(box, "add", key="n.a") == is_rule
    assert refused(box, "toggle", key="n.new") == is_rule
    assert refused(box, "merge", key="n.o", value={"b": 2}) == is_rule
    assert refused(box, "rename", key="text", to="n.text") == is_rule
    members = [{"type": "set", "key": "free", "value": 1}, {"type": "add", "key": "n.a"}]
    assert refused(box, "batch", commands=members) == is_rule
    assert sent(box, "batch", commands=[*members, {"type": "set", "key": "n.a", "value": 0}])[
        "changed"
    ]
    assert sent(box, "delete", key="n.b")["changed"]
    assert sent(box, "set", key="n.o", value={"a": 1})["changed"] is False
    assert refused(box, "undo", of=sent(box, "delete", key="n.o")["id"]) == is_rule
    assert refused(box, "restore", to_revision=2) == is_rule
    assert sent(box, "restore", to_revision=2, match="n.a")["status"] == "accepted"


def test_deletions_are_held_against_the_rules(box: Server) -> None:
    box.set("keep.a", 1)
    created = sent(box, "set", key="keep.b", value=1)
    box.set(RULES + "keep", {"match": "keep.*", "delete": False})
    is_kept = ("interlocked", "keep")
    assert refused(box, "delete", key="keep.a") == is_kept
    assert refused(box, "delete_prefix", prefix="keep.") == is_kept
    assert refused(box, "rename", key="keep.a", to="a") == is_kept
    assert refused(box, "undo", of=created["id"]) == is_kept
    assert refused(box, "restore", to_revision=0, match="keep.**") == is_kept


def test_a_refusal_is_remembered_and_acknowledged(box: Server) -> None:
    box.set(RULES + "lamp", LAMP)
    first = sent(box, "set", key="lamp.a", value=True, id="once")
    assert first["because"] == [{"key": "fuse.a", "missing": True}]
    box.set("fuse.a", True)
    again = sent(box, "set", key="lamp.a", value=True, id="once")
    assert again == first | {"duplicate": True}
    assert box.get("/queries/attempts/once").json()["because"] == first["because"]
    assert sent(box, "set", key="lamp.a", value=True, id="twice")["status"] == "accepted"


def test_rules_are_keys_like_others(box: Server) -> None:
    made = sent(box, "set", key=RULES + "range", value=RANGE)
    assert refused(box, "set", key="n.a", value=10) == ("rule", "range")
    assert sent(box, "undo", of=made["id"])["status"] == "accepted"
    assert sent(box, "set", key="n.a", value=10)["status"] == "accepted"
    told = sent(box, "set", key=RULES + "range", value={"match": "n.**", "schema": {"minimun": 1}})
    assert (told["code"], told["path"]) == ("invalid", "/schema/minimun")
    renamed = sent(box, "rename", key="n.a", to=RULES + "odd")
    assert renamed["code"] == "invalid"


def import_lines(box: Server, *lines: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    """What the server says of an import of these commands."""
    body = "\n".join(map(json.dumps, lines)).encode()
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    headers = {"Content-Type": "application/x-ndjson"}
    answer = box.request("POST", f"/commands/import?{asked}", body, headers)
    return [json.loads(line) for line in answer.body.splitlines()]


LINES = (
    {"type": "set", "key": RULES + "lamp", "value": LAMP},
    {"type": "set", "key": "lamp.a", "value": True},
    {"type": "set", "key": "fuse.a", "value": True},
    {"type": "set", "key": "lamp.a", "value": True},
    {"type": "set", "key": "other", "value": 1},
)


@pytest.mark.parametrize("dry_run", [1, 0])
def test_each_line_of_an_import_is_judged_alone(box: Server, dry_run: int) -> None:
    *rejected, summary = import_lines(box, *LINES, dry_run=dry_run)
    (line,) = [one for one in rejected if one["type"] == "rejected"]
    assert (line["line"], line["code"], line["rule"]) == (2, "interlocked", "lamp")
    assert "atomic=1" in line["message"]
    assert (summary["accepted"], summary["rejected"]) == (4, 1)
    assert box.get("/queries/state/lamp.a").status == (404 if dry_run else 200)


@pytest.mark.parametrize("dry_run", [1, 0])
def test_an_atomic_import_is_judged_once_at_its_end(box: Server, dry_run: int) -> None:
    *_, summary = import_lines(box, *LINES, atomic=1, dry_run=dry_run)
    assert (summary["status"], summary["accepted"]) == ("accepted", 5)
    broken = {"type": "set", "key": "lamp.b", "value": True}
    *_, summary = import_lines(box, *LINES, broken, atomic=1, dry_run=dry_run)
    assert (summary["status"], summary["code"], summary["rule"]) == (
        "rejected",
        "interlocked",
        "lamp",
    )


def test_rules_hold_after_a_restart(engine: Options, server: StartServer) -> None:
    box = server(*engine())
    box.set(RULES + "range", RANGE)
    assert box.stop() == 0
    again = server(data_dir=box.data_dir)
    assert refused(again, "set", key="n.a", value=10) == ("rule", "range")


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_nodes_have_the_same_rules(kind: str, tmp_path: Any) -> None:
    with Site(tmp_path, kind) as site:
        one, other = site.nodes(2)
        last = one.set(RULES + "range", RANGE)["revision"]
        reach(last, other)
        assert refused(other, "set", key="n.a", value=10) == ("rule", "range")
        last = sent(other, "delete", key=RULES + "range")["revision"]
        reach(last, one)
        assert sent(one, "set", key="n.a", value=10)["status"] == "accepted"


def test_a_reversal_can_leave_out_what_is_refused(box: Server) -> None:
    many = [{"type": "set", "key": key, "value": 50} for key in ("n.a", "n.b", "m")]
    first = sent(box, "batch", commands=many)["revision"]
    second = sent(box, "batch", commands=[one | {"value": 5} for one in many])
    box.set("n.b", 6)
    box.set(RULES + "range", RANGE)
    told = sent(box, "undo", of=second["id"], keep=["n.b"])
    assert (told["code"], told["key"], "keys" in told) == ("rule", "n.a", False)
    dry = sent(box, "undo", of=second["id"], keep="refused", dry_run=True)
    assert [effect["key"] for effect in dry["effects"]] == ["m"]
    assert sent(box, "undo", of=second["id"], keep="refused")["changes"] == 1
    assert {key: box.value(key) for key in ("n.a", "n.b", "m")} == {"n.a": 5, "n.b": 6, "m": 50}
    box.set("m", 7)
    told = sent(box, "restore", to_revision=first)
    assert (told["keys"], told["total"]) == (["n.a", "n.b"], 2)
    assert sent(box, "restore", to_revision=first, keep=["n.a"])["key"] == "n.b"
    assert sent(box, "restore", to_revision=first, keep="refused")["changes"] == 1
    assert box.value("m") == 50
    assert sent(box, "restore", to_revision=first, keep=5)["code"] == "invalid"


def test_what_is_left_out_may_refuse_more(box: Server) -> None:
    for key in ("a", "b", "c"):
        box.set(key, 1)
    made = sent(box, "batch", commands=[{"type": "delete", "key": key} for key in ("a", "b", "c")])
    box.set(RULES + "a", {"match": "a", "schema": {"const": 2}})
    box.set(RULES + "b", {"match": "b", "requires": {"a": {"const": 1}}})
    assert sent(box, "undo", of=made["id"], keep="refused")["changes"] == 1
    assert [box.get(f"/queries/state/{key}").status for key in ("a", "b", "c")] == [404, 404, 200]


def test_a_restore_can_bring_the_rules_of_its_keys(box: Server) -> None:
    box.set("n.a", 50)
    then = box.set("m", 1)["revision"]
    box.set("n.a", 5)
    box.set(RULES + "range", RANGE)
    box.set(RULES + "other", {"match": "other"})
    assert refused(box, "restore", to_revision=then) == ("rule", "range")
    told = sent(box, "restore", to_revision=then, rules=True)
    assert told["changes"] == 2
    assert box.value("n.a") == 50
    assert box.get(f"/queries/state/{RULES}range").status == 404
    assert box.get(f"/queries/state/{RULES}other").status == 200


def test_a_plain_undo_takes_back_a_rule_that_was_just_made(box: Server) -> None:
    box.set("n.a", 5)
    box.set(RULES + "range", RANGE)
    box.set("_signalbox.theme", "dark")
    assert sent(box, "undo")["status"] == "accepted"
    assert box.get(f"/queries/state/{RULES}range").status == 404
    assert box.value("n.a") == 5
    assert sent(box, "redo")["status"] == "accepted"
    assert refused(box, "set", key="n.a", value=10) == ("rule", "range")


def test_a_log_with_rules_stops_programs_that_would_ignore_them(box: Server) -> None:
    box.set("free", 1)
    rule = box.set(RULES + "range", RANGE)["revision"]
    box.set("free", 2)
    assert box.stop() == 0
    with closing(apsw.Connection(str(box.data_dir / STORE_FILE))) as store:
        versions = dict(store.execute("SELECT revision, version FROM transactions"))
    assert versions == {rule - 1: 2, rule: 3, rule + 1: 2}


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_rule_and_a_write_that_it_forbids_have_one_order(kind: str, tmp_path: Any) -> None:
    with Site(tmp_path, kind) as site, ThreadPoolExecutor(2) as pool:
        one, other = site.nodes(2)
        for number in range(10):
            key, name = f"n{number}", f"{RULES}r{number}"
            rule = {"match": key, "schema": {"type": "null"}}
            ruled = pool.submit(sent, one, "set", key=name, value=rule)
            written = pool.submit(sent, other, "set", key=key, value=1)
            assert ruled.result()["status"] == "accepted"
            if written.result()["status"] == "accepted":
                assert written.result()["revision"] < ruled.result()["revision"]
            else:
                assert written.result()["rule"] == f"r{number}"
        reach(ruled.result()["revision"], one, other)
        assert_equal_when_ended(one, other)


def test_a_restore_with_rules_goes_on_while_others_write(box: Server) -> None:
    set_many(box, {f"n.{number}": number % 10 for number in range(3_000)})
    then = box.get("/queries/status").json()["revision"]
    set_many(box, {f"n.{number}": (number + 1) % 10 for number in range(3_000)})
    box.set(RULES + "range", RANGE)
    ended = Event()

    def write() -> None:
        for number in count():
            if ended.is_set():
                return
            box.set("elsewhere", number)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        told = sent(box, "restore", to_revision=then, match="n.**", rules=True)
        ended.set()
        writing.result()
    assert (told["status"], told["changes"]) == ("accepted", 3_001)


def set_many(box: Server, values: dict[str, Any]) -> None:
    import_lines(box, *({"type": "set", "key": key, "value": values[key]} for key in values))


def test_rules_that_come_along_leave_what_is_kept(box: Server) -> None:
    then = box.set("n.a", 5)["revision"]
    box.set("n.a", 6)
    box.set(RULES + "range", RANGE)
    for leaves in ({"keep": [RULES + "range"]}, {"without": ["_signalbox."]}):
        told = sent(box, "restore", to_revision=then, rules=True, dry_run=True, **leaves)
        assert [effect["key"] for effect in told["effects"]] == ["n.a"]


def test_a_reversal_of_which_nothing_is_left_is_refused(box: Server) -> None:
    box.set("n.a", 50)
    cleared = sent(box, "delete", key="n.a")
    box.set(RULES + "range", RANGE)
    told = sent(box, "undo", of=cleared["id"], keep="refused")
    assert (told["code"], told["rule"]) == ("rule", "range")
    box.post({"type": "delete", "key": RULES + "range"})
    assert sent(box, "undo", of=cleared["id"])["changes"] == 1
    assert box.value("n.a") == 50


def test_lines_of_an_import_that_lock_nothing_get_no_hint(box: Server) -> None:
    box.set(RULES + "mine", {"match": "a", "actors": ["nobody"]})
    lines = import_lines(box, {"type": "set", "key": "a", "value": 1})
    line = next(one for one in lines if one["type"] == "rejected")
    assert line["code"] == "interlocked"
    assert "atomic" not in line["message"]


def test_a_preview_counts_the_rules_as_the_import_does(server: StartServer) -> None:
    box = server()
    lines = [
        {"type": "set", "key": f"{RULES}r{number}", "value": {"match": f"k{number}"}}
        for number in range(5_001)
    ]
    for dry_run in (1, 0):
        *_, summary = import_lines(box, *lines, atomic=1, dry_run=dry_run)
        assert (summary["status"], summary["code"]) == ("rejected", "too_large")


@pytest.mark.parametrize(
    ("before", "there", "back"), [(1.0, 2, 1), ({"a": 1, "b": 2}, 5, {"b": 2, "a": 1})]
)
def test_a_value_that_comes_back_in_another_spelling_is_no_change(
    server: StartServer, before: Any, there: Any, back: Any
) -> None:
    box = server()
    box.set("g", before)
    box.set(RULES + "never", {"match": "g", "schema": {"const": "never"}})
    lines = [{"type": "set", "key": "g", "value": value} for value in (there, back)]
    for dry_run in (1, 0):
        *_, summary = import_lines(box, *lines, atomic=1, dry_run=dry_run)
        assert (summary["status"], summary["changes"]) == ("accepted", 0)
