"""Any sequence of requests, restarts among them, does over HTTP what the model does."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.brokers import options
from support.command_model import Command, Model, RefusedError, same
from support.harness import Server
from support.random_commands import COMMAND, KEY, placed
from support.raw_http import Client, assert_sound, folded

STATUS = {"conflict": 409, "type": 422, "invalid": 422, "not_found": 404, "id_reused": 409}
SETTINGS = settings(
    deadline=None,
    max_examples=15,
    stateful_step_count=25,
    suppress_health_check=list(HealthCheck),
)


class Box:
    """A server that can be stopped, killed and started again on its data."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder, self._options = folder, options
        self.numbers = count(1)
        self.start()

    def start(self) -> None:
        self.server = Server(self._folder, *self._options)
        self.client = Client(self.server)

    def restart(self, end: Callable[[], int]) -> None:
        before = self.server
        self.client.close()
        end()
        self.start()
        assert (self.server.store, self.server.port) == (before.store, before.port)
        assert self.server.write_token == before.write_token

    def end(self) -> None:
        self.client.close()
        self.server.stop()
        assert self.server.stderr.read_text() == ""


class Requests(RuleBasedStateMachine):
    """Each run works below a prefix of its own, so that all share one server."""

    box: ClassVar[Box]
    durable: ClassVar[bool]
    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.box.numbers)
        self.prefix = f"run{self.number}."
        self.ids = count(1)
        self.model = Model()
        self.model.revision = self.base = self.box.client.get("status").json()["revision"]
        self.accepted: list[tuple[str, int]] = []

    def post(self, command: Command, identity: str, **more: Any) -> dict[str, Any]:
        answer = self.box.client.send(**{**command, "id": identity, **more})
        outcome: dict[str, Any] = answer.json()
        assert outcome["id"] == identity
        assert answer.status == (STATUS[outcome["code"]] if "code" in outcome else 200)
        return outcome

    @rule(target=sent, wish=COMMAND)
    def send(self, wish: Command) -> tuple[Command, dict[str, Any]]:
        command = placed(wish, self.prefix, self.base)
        identity = f"run{self.number}-{next(self.ids)}"
        outcome = self.post(command, identity)
        changes = self.model.answer(command)
        if isinstance(changes, RefusedError):
            assert (outcome["status"], outcome["code"]) == ("rejected", changes.code)
            assert changes.revision in (None, outcome.get("revision"))
            return command, outcome
        assert outcome == {
            "id": identity,
            "status": "accepted",
            "revision": self.model.revision,
            "changed": changes > 0,
            "changes": changes,
            "duplicate": False,
        }
        if changes:
            self.accepted.append((identity, self.model.revision))
        return command, outcome

    @rule(wish=COMMAND)
    def try_dry(self, wish: Command) -> None:
        """A dry run says what would happen and does nothing."""
        command = placed(wish, self.prefix, self.base)
        outcome = self.post(command, f"run{self.number}-dry", dry_run=True)
        changes = self.model.answer(command, dry_run=True)
        if isinstance(changes, RefusedError):
            assert (outcome["status"], outcome["code"]) == ("rejected", changes.code)
            return
        assert (outcome["dry_run"], outcome["revision"]) == (True, None)
        assert outcome["changes"] == changes

    @rule(earlier=sent)
    def send_again(self, earlier: tuple[Command, dict[str, Any]]) -> None:
        """The same id and payload gets the first outcome, whatever has happened since."""
        command, outcome = earlier
        assert self.post(command, outcome["id"]) == outcome | {"duplicate": True}

    @rule(earlier=sent)
    def ask_for_outcome(self, earlier: tuple[Command, dict[str, Any]]) -> None:
        command, outcome = earlier
        record = self.box.client.get(f"attempts/{outcome['id']}").json()
        assert {name: record[name] for name in outcome} == outcome
        assert (record["type"], record["actor"]) == (command["type"], "script")

    @rule(earlier=sent)
    def reuse_id(self, earlier: tuple[Command, dict[str, Any]]) -> None:
        outcome = self.post({"type": "set", "key": "other", "value": 0}, earlier[1]["id"])
        assert (outcome["status"], outcome["code"]) == ("rejected", "id_reused")

    @rule(key=KEY)
    def read_key(self, key: str) -> None:
        answer = self.box.client.get(f"state/{self.prefix}{key}")
        held = self.model.held.get(self.prefix + key)
        if held is None:
            assert (answer.status, answer.json()["code"]) == (404, "not_found")
        else:
            found = answer.json()
            assert answer.headers["etag"] == f'"{held.revision}"'
            assert (found["key"], found["revision"]) == (self.prefix + key, held.revision)
            assert same(found["value"], held.value)

    @rule()
    def read_tree(self) -> None:
        tree = self.box.client.get("tree", prefix=self.prefix).json()
        assert tree["total"] == len(self.model.held)
        segments = [key.removeprefix(self.prefix).split(".")[0] for key in self.model.held]
        counted = {segment: segments.count(segment) for segment in sorted(set(segments))}
        assert {child["segment"]: child["keys"] for child in tree["children"]} == counted

    @precondition(lambda self: self.durable)
    @rule(kill=st.booleans(), earlier=consumes(sent))
    def restart(self, kill: bool, earlier: tuple[Command, dict[str, Any]]) -> None:
        server = self.box.server
        self.box.restart(server.kill if kill else server.stop)
        self.send_again(earlier)

    @invariant()
    def all_is_as_the_model_has_it(self) -> None:
        page = self.box.client.get("state", match=f"{self.prefix}**", limit=1000).json()
        found = {item["key"]: (item["value"], item["revision"]) for item in page["items"]}
        assert page["total"] == len(found)
        assert page["revision"] == self.model.revision
        assert {key: held.revision for key, held in self.model.held.items()} == {
            key: revision for key, (_, revision) in found.items()
        }
        assert all(same(found[key][0], held.value) for key, held in self.model.held.items())

    def teardown(self) -> None:
        """The stream sends the same: each accepted command once, in order."""
        with self.box.server.stream(match=f"{self.prefix}**", after=self.base) as stream:
            events = [event.data for event in stream.until("caught-up")[:-1]]
        assert [(event["id"], event["revision"]) for event in events] == self.accepted
        assert same(folded(events), self.model.values())


@pytest.mark.parametrize("kind", ["memory", "sqlite", "nats", "redis"])
def test_any_sequence_of_requests_does_what_the_model_does(kind: str, tmp_path: Path) -> None:
    box = Box(tmp_path / "store", *options(kind))
    machine = type("Machine", (Requests,), {"box": box, "durable": kind != "memory"})
    try:
        run_state_machine_as_test(machine, settings=SETTINGS)
    finally:
        box.end()
    if kind != "memory":
        assert assert_sound(tmp_path / "store") > 0
