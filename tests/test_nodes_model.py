"""Any sequence of requests to two nodes does what the model does, whichever node it is sent to."""

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
    rule,
    run_state_machine_as_test,
)

from support.command_model import Command, Model, RefusedError, same
from support.harness import Server
from support.nodes import KINDS, Site, assert_equal_when_ended, reach
from support.random_commands import COMMAND, placed
from support.raw_http import Client, assert_sound, folded

SETTINGS = settings(
    deadline=None,
    max_examples=10,
    stateful_step_count=20,
    suppress_health_check=list(HealthCheck),
)
NODE = st.sampled_from([0, 1])


class Pair:
    """Two nodes of one log, each of which can end and start again on its data."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.numbers = count(1)
        self.servers: list[Server] = site.nodes(2)
        self.clients = [Client(server) for server in self.servers]

    def restart(self, number: int, kill: bool) -> None:
        before = self.servers[number]
        self.clients[number].close()
        before.kill() if kill else before.stop()
        self.servers[number] = after = self._site.again(before)
        self.clients[number] = Client(after)
        assert (after.store, after.write_token) == (before.store, before.write_token)

    def close(self) -> None:
        for client in self.clients:
            client.close()


class Requests(RuleBasedStateMachine):
    """Each run works below a prefix of its own, so that all share one log.

    Nobody waits for a node to catch up before it gets a command: what it decides must be right
    all the same. Queries wait, since a node that is behind answers for the revision it tells.
    """

    pair: ClassVar[Pair]
    sent = Bundle("sent")

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.pair.numbers)
        self.prefix = f"run{self.number}."
        self.ids = count(1)
        self.model = Model()
        revisions = [one.get("status").json()["revision"] for one in self.pair.clients]
        self.model.revision = self.base = max(revisions)
        self.accepted: list[tuple[str, int]] = []

    def post(self, node: int, command: Command, identity: str) -> dict[str, Any]:
        outcome: dict[str, Any]
        outcome = self.pair.clients[node].send(**{**command, "id": identity}).json()
        assert outcome["id"] == identity
        return outcome

    def done(self, node: int, wish: Command) -> tuple[Command, dict[str, Any]]:
        command = placed(wish, self.prefix, self.base)
        identity = f"run{self.number}-{next(self.ids)}"
        outcome = self.post(node, command, identity)
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

    @rule(target=sent, node=NODE, wish=COMMAND)
    def send(self, node: int, wish: Command) -> tuple[Command, dict[str, Any]]:
        return self.done(node, wish)

    @rule(target=sent, node=NODE, wishes=st.lists(COMMAND, min_size=2, max_size=4))
    def alternate(self, node: int, wishes: list[Command]) -> tuple[Command, dict[str, Any]]:
        """One command behind the other, each at the other node, which has no time to catch up."""
        for turn, wish in enumerate(wishes):
            last = self.done((node + turn) % 2, wish)
        return last

    @rule(node=NODE, earlier=sent)
    def send_again(self, node: int, earlier: tuple[Command, dict[str, Any]]) -> None:
        """The same id and payload gets the first outcome at any node, where it is in the log."""
        command, outcome = earlier
        if outcome.get("changed"):
            assert self.post(node, command, outcome["id"]) == outcome | {"duplicate": True}

    @rule(node=NODE, earlier=sent)
    def reuse_id(self, node: int, earlier: tuple[Command, dict[str, Any]]) -> None:
        if earlier[1].get("changed"):
            outcome = self.post(node, {"type": "set", "key": "other", "value": 0}, earlier[1]["id"])
            assert (outcome["status"], outcome["code"]) == ("rejected", "id_reused")

    @rule(node=NODE, kill=st.booleans(), earlier=consumes(sent))
    def restart(self, node: int, kill: bool, earlier: tuple[Command, dict[str, Any]]) -> None:
        self.pair.restart(node, kill)
        command, outcome = earlier
        if outcome.get("changed"):
            assert self.post(node, command, outcome["id"]) == outcome | {"duplicate": True}

    @invariant()
    def both_are_as_the_model_has_it(self) -> None:
        reach(self.model.revision, *self.pair.servers)
        for client in self.pair.clients:
            page = client.get("state", match=f"{self.prefix}**", limit=1000).json()
            found = {item["key"]: (item["value"], item["revision"]) for item in page["items"]}
            assert page["total"] == len(found)
            assert page["revision"] == self.model.revision
            assert {key: held.revision for key, held in self.model.held.items()} == {
                key: revision for key, (_, revision) in found.items()
            }
            assert all(same(found[key][0], held.value) for key, held in self.model.held.items())

    def teardown(self) -> None:
        """Both streams tell the same story: each accepted command once, in order."""
        for server in self.pair.servers:
            reach(self.model.revision, server)
            with server.stream(match=f"{self.prefix}**", after=self.base) as stream:
                events = [event.data for event in stream.until("caught-up")[:-1]]
            assert [(event["id"], event["revision"]) for event in events] == self.accepted
            assert same(folded(events), self.model.values())


@pytest.mark.parametrize("kind", KINDS)
def test_any_sequence_of_requests_to_two_nodes_does_what_the_model_does(
    kind: str, tmp_path: Path
) -> None:
    with Site(tmp_path, kind) as site:
        pair = Pair(site)
        try:
            machine = type("Machine", (Requests,), {"pair": pair})
            run_state_machine_as_test(machine, settings=SETTINGS)
        finally:
            pair.close()
        assert_equal_when_ended(*pair.servers)
        for server in pair.servers:
            assert server.stderr.read_text() == ""
            assert assert_sound(server.data_dir) > 0
