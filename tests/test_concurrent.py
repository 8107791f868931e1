"""Many clients at once: one sequential order, that of revisions, explains every outcome."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import pytest

from support.brokers import options
from support.command_model import Command, Model, RefusedError, same
from support.harness import Server
from support.raw_http import Client, assert_sound, folded, serving

CLIENTS = 12
EACH = 40

Result = TypeVar("Result")


@pytest.fixture(params=["memory", "sqlite", "nats", "redis"], scope="module")
def box(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("concurrent") / "store"
    with serving(folder, *options(request.param)) as server:
        yield server
    if request.param != "memory":
        assert_sound(folder)


class Told(NamedTuple):
    """One request as its sender saw it; times in seconds of one clock."""

    command: Command
    outcome: dict[str, Any]
    sent: float
    answered: float


def at_once(box: Server, work: Callable[[Client, int], Result]) -> list[Result]:
    """`work(client, number)` by `CLIENTS` clients that all begin at the same moment."""
    ready = Barrier(CLIENTS)

    def run(number: int) -> Result:
        with Client(box) as client:
            ready.wait()
            return work(client, number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(run, range(CLIENTS)))


def revision(box: Server) -> int:
    return int(box.get("/queries/status").json()["revision"])


def send(client: Client, command: Command) -> Told:
    sent = monotonic()
    outcome = client.send(**command).json()
    return Told(command, outcome, sent, monotonic())


def test_every_add_counts_once_and_has_a_revision_of_its_own(box: Server) -> None:
    def add(client: Client, number: int) -> list[int]:
        command = {"type": "add", "key": "sum.total", "by": number + 1}
        return [int(send(client, command).outcome["revision"]) for _ in range(EACH)]

    before = revision(box)
    revisions = [one for part in at_once(box, add) for one in part]
    assert sorted(revisions) == list(range(before + 1, before + 1 + EACH * CLIENTS))
    with Client(box) as client:
        assert client.value("sum.total") == EACH * sum(range(1, CLIENTS + 1))


def test_of_all_who_expect_one_revision_exactly_one_wins(box: Server) -> None:
    def compete(client: Client, number: int) -> list[tuple[int, bool, int]]:
        tries = []
        for turn in range(EACH):
            item = client.get("state/cas.key").json()
            outcome = client.send(
                "set", key="cas.key", value=[number, turn], expect={"revision": item["revision"]}
            ).json()
            won = outcome["status"] == "accepted"
            tries.append((item["revision"], won, outcome["revision"]))
        return tries

    box.set("cas.key", "start")
    tries = [one for part in at_once(box, compete) for one in part]
    winners = [expected for expected, won, _ in tries if won]
    assert len(winners) == len(set(winners))
    assert len(winners) >= EACH
    assert {expected for expected, won, _ in tries if not won} <= set(winners)
    assert all(actual > expected for expected, _, actual in tries)
    with box.stream(match="cas.key", after=min(winners)) as stream:
        changes = [event.data["revision"] for event in stream.until("caught-up")[:-1]]
    assert [min(winners), *changes[:-1]] == sorted(winners)


def test_a_revision_that_was_answered_lies_before_all_that_is_sent_later(box: Server) -> None:
    def write(client: Client, number: int) -> list[Told]:
        return [
            send(client, {"type": "set", "key": f"time.{number % 3}", "value": [number, turn]})
            for turn in range(EACH)
        ]

    told = [one for part in at_once(box, write) for one in part]
    by_answer = sorted(told, key=lambda one: one.answered)
    for later in told:
        earlier = [one for one in by_answer if one.answered < later.sent]
        if earlier:
            assert max(one.outcome["revision"] for one in earlier) < later.outcome["revision"]


def test_who_was_answered_reads_the_own_write_or_something_newer(box: Server) -> None:
    def write_and_read(client: Client, number: int) -> None:
        for turn in range(EACH):
            outcome = client.send("set", key="own.key", value=[number, turn]).json()
            item = client.get("state/own.key").json()
            assert item["revision"] >= outcome["revision"]
            page = client.get("state", match="own.**", search="[").json()
            assert page["revision"] >= outcome["revision"]
            assert page["items"][0]["revision"] >= item["revision"]

    at_once(box, write_and_read)


def wishes(number: int) -> Iterator[Command]:
    """What one client wants: everything, of few keys, so that all get in each other's way."""
    chance = random.Random(number)
    keys = [f"mix.{letter}" for letter in "abcd"]
    for turn in range(EACH):
        key, other = chance.sample(keys, 2)
        member: Command = chance.choice(
            [
                {"type": "set", "key": key, "value": turn % 5},
                {"type": "set", "key": key, "value": turn, "expect": "absent"},
                {"type": "delete", "key": key, "expect": "present"},
                {"type": "add", "key": key},
                {"type": "toggle", "key": other},
                {"type": "merge", "key": key, "value": {str(number): turn}},
                {"type": "rename", "key": key, "to": other},
                {"type": "delete_prefix", "prefix": "mix."},
            ]
        )
        last = {"type": "set", "key": other, "value": True}
        yield {"type": "batch", "commands": [member, last]} if turn % 4 == 3 else member


def test_acknowledgements_come_in_the_one_order_that_explains_all_outcomes(box: Server) -> None:
    sent: dict[str, Command] = {}

    def wish(client: Client, number: int) -> list[dict[str, Any]]:
        told = []
        for turn, command in enumerate(wishes(number)):
            identity = f"mix-{box.pid}-{number}-{turn}"
            sent[identity] = command
            told.append(send(client, command | {"id": identity}).outcome)
        return told

    model = Model()
    model.revision = revision(box)
    with box.stream(match="mix.**", acks=True) as stream:
        stream.until("caught-up")
        outcomes = [one for part in at_once(box, wish) for one in part]
        box.set("mix.end", "end", id=f"end-{box.pid}")
        events = list(until_end(iter(stream), f"end-{box.pid}"))
    acks = [event.data for event in events if event.name == "ack"]
    assert [ack["id"] for ack in acks if ack["id"] not in sent] == []
    explain(model, sent, acks)
    by_id = {ack["id"]: ack for ack in acks}
    assert len(by_id) == len(acks) == len(outcomes)
    for outcome in outcomes:
        assert by_id[outcome["id"]] == outcome | {"actor": "script"}
    changes = [event.data for event in events if event.name == "change"]
    assert same(folded(changes), model.values())


def until_end(stream: Iterator[Any], identity: str) -> Iterator[Any]:
    for event in stream:
        if event.data["id"] == identity:
            return
        yield event


def explain(model: Model, sent: dict[str, Command], acks: list[dict[str, Any]]) -> None:
    """Each command, done by the model in the order of acks, has the outcome that was answered."""
    for ack in acks:
        expected = model.answer(sent[ack["id"]])
        if isinstance(expected, RefusedError):
            assert (ack["status"], ack["code"]) == ("rejected", expected.code)
            assert expected.revision in (None, ack.get("revision"))
        else:
            assert (ack["status"], ack["changes"]) == ("accepted", expected)
            assert ack["revision"] == model.revision


def test_the_same_id_sent_by_many_at_once_is_done_once(box: Server) -> None:
    def same_id(client: Client, number: int) -> list[dict[str, Any]]:
        return [
            client.send("add", key="once.n", id=f"once-{box.pid}-{turn}", actor="all").json()
            for turn in range(EACH)
        ]

    outcomes = [one for part in at_once(box, same_id) for one in part]
    with Client(box) as client:
        assert client.value("once.n") == EACH
    for turn in range(EACH):
        same_one = [one for one in outcomes if one["id"] == f"once-{box.pid}-{turn}"]
        assert len({one["revision"] for one in same_one}) == 1
        assert sorted(one["duplicate"] for one in same_one) == [False] + [True] * (CLIENTS - 1)


def test_one_clients_rejection_spoils_nobody_elses_command(box: Server) -> None:
    def half_refused(client: Client, number: int) -> list[str]:
        return [
            send(client, {"type": "add", "key": f"part.{number}.{turn % 2}"}).outcome["status"]
            for turn in range(EACH)
        ]

    box.post(
        {
            "type": "batch",
            "commands": [
                {"type": "set", "key": f"part.{number}.1", "value": "text"}
                for number in range(CLIENTS)
            ],
        }
    )
    assert at_once(box, half_refused) == [["accepted", "rejected"] * (EACH // 2)] * CLIENTS


def test_the_folded_log_is_the_state(box: Server) -> None:
    with box.stream(after=0) as stream:
        events = [event.data for event in stream.until("caught-up")[:-1]]
    assert [event["revision"] for event in events] == list(range(1, revision(box) + 1))
    with Client(box) as client:
        assert same(folded(events), client.state())
