"""What a refusal says: the field, what was given in JSON's words, and what is allowed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.harness import Server
from support.raw_http import JSON, Client, lines, serving

SET = {"type": "set", "key": "k", "value": 1}
EXPECT = (
    '"any", "absent", "present", {"revision": n} and {"store_revision": n} with an integer from 0'
)
MEMBERS = "set, delete, delete_prefix, add, toggle, merge, rename"
KINDS = f"{MEMBERS}, batch, restore, undo, redo"
ID = "allowed are 1 to 64 of A-Z a-z 0-9 _ -."
ACTOR = "allowed are 1 to 64 of A-Z a-z 0-9 _ . @ -."


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("messages") / "store") as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    with Client(box) as made:
        yield made


def member(**fields: Any) -> dict[str, Any]:
    """A batch whose fourth command is this one."""
    return {"type": "batch", "commands": [SET, SET, SET, fields]}


MESSAGES: list[tuple[dict[str, Any], str]] = [
    ({}, f"The field type is missing; allowed are {KINDS}."),
    ({"type": None}, f"The field type is null; allowed are {KINDS}."),
    ({"type": {"a": 1}}, f'The field type is {{"a": 1}}; allowed are {KINDS}.'),
    (
        {"type": "set", "value": 1},
        "The field key is missing; set has type, key, value, expect.",
    ),
    (
        SET | {"ttl": 5},
        "The field ttl is unknown; set has type, key, value, expect.",
    ),
    (SET | {"key": None}, "The field key is null; allowed is a text."),
    (SET | {"key": ["a"]}, 'The field key is ["a"]; allowed is a text.'),
    (SET | {"expect": "foo"}, f'The field expect is "foo"; allowed are {EXPECT}.'),
    (SET | {"expect": None}, f"The field expect is null; allowed are {EXPECT}."),
    (
        SET | {"expect": {"revision": "1"}},
        f'The field expect is {{"revision": "1"}}; allowed are {EXPECT}.',
    ),
    (
        SET | {"expect": {"revision": 20, "store_revision": None}},
        f'The field expect is {{"revision": 20, "store_revision": null}}; allowed are {EXPECT}.',
    ),
    (
        SET | {"expect": {"revision": 1, "store_revision": 1}},
        f'The field expect is {{"revision": 1, "store_revision": 1}}; allowed are {EXPECT}.',
    ),
    (SET | {"expect": {}}, f"The field expect is {{}}; allowed are {EXPECT}."),
    (
        SET | {"expect": {"revision": -1}},
        f'The field expect is {{"revision": -1}}; allowed are {EXPECT}.',
    ),
    (
        {"type": "delete_prefix", "prefix": "a.", "expect": "absent"},
        'The field expect is "absent"; for a prefix "any" and {"store_revision": n} are allowed.',
    ),
    ({"type": "add", "key": "n", "by": "1"}, 'The field by is "1"; allowed is a number.'),
    ({"type": "add", "key": "n", "by": True}, "The field by is true; allowed is a number."),
    (
        {"type": "rename", "key": "a", "to": "b", "replace": "yes"},
        'The field replace is "yes"; allowed are true and false.',
    ),
    (
        {"type": "rename", "key": "a.", "to": "a.b."},
        'The field to is "a.b."; allowed is what does not lie inside key, "a.".',
    ),
    (SET | {"id": 7}, f"The field id is 7; {ID}"),
    (SET | {"id": {}}, f"The field id is {{}}; {ID}"),
    (SET | {"actor": None}, f"The field actor is null; {ACTOR}"),
    (SET | {"actor": 1.5}, f"The field actor is 1.5; {ACTOR}"),
    (SET | {"dry_run": None}, "The field dry_run is null; allowed are true and false."),
    ({"type": "batch", "commands": {}}, "The field commands is {}; allowed is a list of commands."),
    (
        {"type": "batch"},
        "The field commands is missing; batch has type, commands.",
    ),
    (
        {"type": "batch", "commands": [SET, 5]},
        "The field commands[1] is 5; allowed is a command, an object.",
    ),
    (member(), f"The field commands[3].type is missing; allowed are {MEMBERS}."),
    (
        member(type="batch", commands=[]),
        f'The field commands[3].type is "batch"; allowed are {MEMBERS}.',
    ),
    (
        member(**SET, id="x"),
        "The field commands[3].id is unknown; set has type, key, value, expect.",
    ),
    (
        member(type="add"),
        "The field commands[3].key is missing; add has type, key, by, expect.",
    ),
    (
        member(type="add", key="n", by=[]),
        "The field commands[3].by is []; allowed is a number.",
    ),
    (
        member(type="toggle", key="n", expect="no"),
        f'The field commands[3].expect is "no"; allowed are {EXPECT}.',
    ),
    (
        {"type": "set", "key": "_signalbox.theme", "value": 1},
        'The value of _signalbox.theme is 1; allowed is "system", "light" or "dark".',
    ),
]


@pytest.mark.parametrize(("command", "message"), MESSAGES)
def test_a_refusal_names_the_field_what_was_given_and_what_is_allowed(
    client: Client, command: dict[str, Any], message: str
) -> None:
    answer = client.ask("POST", "/commands", lines(command), JSON)
    assert (answer.status, answer.json()["code"]) == (422, "invalid")
    assert answer.json()["message"] == message


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (
            member(type="set", key="a..b", value=1),
            'The key "a..b" of commands[3] has two dots in a row.',
        ),
        (
            member(type="delete_prefix", prefix="a"),
            'The prefix "a" of commands[3] does not end with a dot;',
        ),
        (member(type="rename", key="a", to="b  c"), 'The key "b  c" of commands[3] has two'),
        (member(type="rename", key="a", to="b."), "commands[3].to is"),
        (member(type="rename", key="a", to="a"), "commands[3].to is"),
        (member(type="add", key="n", by="x"), "commands[3].by is"),
        (member(type="delete_prefix", prefix="a.", expect="present"), "commands[3].expect is"),
    ],
)
def test_what_is_wrong_within_a_batch_is_named_with_its_command(
    client: Client, command: dict[str, Any], field: str
) -> None:
    assert field in client.send(**command).json()["message"]


def test_of_a_bad_key_the_broken_rule_alone_is_reported_wherever_it_comes_from(
    client: Client,
) -> None:
    said = 'The key "a*b" has a *, which only patterns have.'
    assert client.send("set", key="a*b", value=1).json()["message"] == said
    line = lines({"type": "set", "key": "a*b", "value": 1})
    imported = client.ask(
        "POST", "/commands/import", line, {"Content-Type": "application/x-ndjson"}
    )
    assert said in [json.loads(line).get("message") for line in imported.body.splitlines()]
    assert client.get("history/a%2Ab").json()["message"] == said


def test_what_was_given_is_cut_and_hides_nothing(client: Client) -> None:
    texts = ("x" * 100_000, ["x" * 100_000], [[1, "\u2028\x9b"] * 100_000])
    for given in (*map(json.dumps, texts), "9" * 50_000):
        body = f'{{"type": "set", "key": {given}, "value": 1}}'.encode()
        message = client.ask("POST", "/commands", body, JSON).json()["message"]
        assert len(message) < 300
        assert message.isprintable()
    unknown: dict[str, Any] = {"n\u202e" + "x" * 100_000: 1}
    message = client.send("delete", **unknown).json()["message"]
    assert "n\\u202ex" in message
    assert len(message) < 200


def test_an_import_tells_the_same_of_each_line(client: Client) -> None:
    told = [
        (command, text) for command, text in MESSAGES if not {"id", "actor", "dry_run"} & {*command}
    ]
    *reported, _ = client.load(lines(*(command for command, _ in told)))
    messages = {line["line"]: line["message"] for line in reported if line["type"] == "rejected"}
    assert messages == {number: text for number, (_, text) in enumerate(told, start=1)}
