"""What a stream's leader says is believed where a majority has confirmed that it still leads."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any

import pytest

from signalbox.server.engines import failover
from signalbox.server.engines.address import Address, read_address
from signalbox.server.engines.failover import ServerFailover
from signalbox.server.engines.jetstream import quorum
from signalbox.server.engines.jetstream.api import Answer
from signalbox.server.engines.jetstream.quorum import check_majority, confirmed_answer
from signalbox.server.engines.shared_log import LogMetadata, LogStatus, Partitioned
from signalbox.server.model.errors import Unavailable

SECOND = 10**9


pytestmark = pytest.mark.usefixtures("no_loop")


def stream_info(
    *silent: float | None, leader: str = "n0", end: int = 7, since: str = "then"
) -> Answer:
    """The answer of a leader that has not heard from each other copy for so many seconds."""
    copies = [
        {"name": f"n{number}", "peer": f"p{number}", "active": int((seconds or 0) * SECOND)}
        for number, seconds in enumerate(silent, start=1)
    ]
    cluster: dict[str, Any] = {"leader": leader, "leader_since": since, "replicas": copies}
    return Answer(state={"last_seq": end}, cluster=cluster)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        stream_info(),
        stream_info(0.5, 1.9),
        stream_info(0.5, 60),
        stream_info(2.9, None),
        stream_info(1, 1, 9, 9),
    ],
    ids=["one server", "one copy", "all", "one is away", "one never came", "three of five"],
)
def test_a_leader_with_a_majority_is_trusted(answer: Answer) -> None:
    check_majority(answer, "there")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (stream_info(4, 5), "there is cut off: of 2 other servers with a copy 0 have answered"),
        (stream_info(None, None), "cut off"),
        (stream_info(0.1, 9, 9, 9), "cut off"),
        (stream_info(4), "cut off"),
        (stream_info(0.1, 0.1, leader=""), "there has no leader now"),
    ],
    ids=["cut off", "heard nobody yet", "two of five", "one of two", "no leader"],
)
def test_a_leader_without_a_majority_is_not_trusted(answer: Answer, problem: str) -> None:
    with pytest.raises(Partitioned, match=problem):
        check_majority(answer, "there")


class Leader:
    """Answers `first`, and then as a leader that has heard from its copies at these moments."""

    def __init__(self, first: Answer, *moments: Sequence[float], since: str = "then") -> None:
        self.begun, self.questions = monotonic(), 0
        self._first, self._moments, self._since = first, moments, since

    async def ask(self) -> Answer:
        self.questions += 1
        if self.questions == 1:
            return self._first
        now = monotonic() - self.begun
        last = (max((at for at in moments if at <= now), default=-9.0) for moments in self._moments)
        return stream_info(*(now - at + 1e-6 for at in last), end=8, since=self._since)


def test_if_all_copies_answer_one_request_confirms_the_end() -> None:
    leader = Leader(stream_info(1.0, 1.9))
    assert asyncio.run(confirmed_answer(leader.ask, "there")).last_sequence == 7
    assert leader.questions == 1


def test_if_one_copy_is_away_another_must_answer_two_heartbeats() -> None:
    leader = Leader(stream_info(0.1, 60), [0, 0.3, 1.0], [])
    assert asyncio.run(confirmed_answer(leader.ask, "there")).last_sequence == 7
    assert monotonic() - leader.begun >= 1.0


def test_delayed_answers_that_arrive_together_confirm_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quorum, "CONFIRM_SECONDS", 1.2)
    leader = Leader(stream_info(0.1, 60), [0, 0.3, 0.31, 0.32], [])
    with pytest.raises(Partitioned, match="too few of its servers answer"):
        asyncio.run(confirmed_answer(leader.ask, "there"))


def test_a_change_of_leadership_confirms_nothing() -> None:
    leader = Leader(stream_info(0.1, 60), [0, 0.3, 1.0], [], since="now")
    with pytest.raises(Partitioned, match="another leader"):
        asyncio.run(confirmed_answer(leader.ask, "there"))


# Of several servers.

ADDRESS = read_address("nats://one,two,three/team")
STATUS = LogStatus(LogMetadata("store"), 7, "durable", True)


class Servers:
    """Each of which may be `cut off` or `dead`."""

    def __init__(self) -> None:
        self.state: dict[str, str] = {}
        self.asked: list[str] = []

    def join(self, one: Address) -> LogStatus:
        ((host, _),) = one.hosts
        self.asked.append(host)
        if state := self.state.get(host):
            raise (Partitioned if state == "cut off" else Unavailable)(f"{host} is {state}.")
        return STATUS

    def joined(self, known: ServerFailover) -> list[str]:
        """The servers that were asked, in order."""
        self.asked.clear()
        known.connect(self.join)
        return self.asked


def test_the_first_server_that_is_not_partitioned_is_used_and_kept() -> None:
    servers, known = Servers(), ServerFailover(ADDRESS)
    servers.state = {"one": "cut off", "two": "dead"}
    assert servers.joined(known) == ["one", "two", "three"]
    servers.state = {}
    assert servers.joined(known) == ["three"]
    servers.state = {"three": "dead"}
    assert servers.joined(known) == ["three", "one"]


def test_a_partitioned_server_is_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    servers, known = Servers(), ServerFailover(ADDRESS)
    assert servers.joined(known) == ["one"]
    servers.state = {"one": "cut off"}
    with pytest.raises(Unavailable, match=r"^one is cut off\.$"):
        servers.joined(known)
    monkeypatch.setattr(failover, "PARTITION_SECONDS", 0.0)
    assert servers.joined(known) == ["one", "two"]


def test_if_no_server_is_available_each_reason_is_given() -> None:
    servers = Servers()
    servers.state = dict.fromkeys(("one", "three"), "dead") | {"two": "cut off"}
    with pytest.raises(Unavailable, match=r"^one is dead\. two is cut off\. three is dead\.$"):
        servers.joined(ServerFailover(ADDRESS))
