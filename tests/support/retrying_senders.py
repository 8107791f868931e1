"""Clients that send each command until it is accepted, and whether each was applied once."""

from collections.abc import Iterable, Sequence
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, Final

from signalbox.server.engines.shared_log import SharedLog
from support.harness import Server
from support.nodes import BOUND, ELECTION_SECONDS, LOST, reach, until, whole
from support.raw_http import Client


class RetryingSender(Thread):
    """Adds one again and again, each time under the same id until that is accepted."""

    def __init__(self, server: Server, name: str, over: Event) -> None:
        super().__init__(daemon=True)
        self.name = name
        self.told: dict[str, int] = {}
        """The revision of each command that was accepted."""
        self.refusals: set[tuple[str, str]] = set()
        """Status and code of every other answer."""
        self.slowest = 0.0
        self.problem: Exception | None = None
        """What ended it, if not the test."""
        self._server, self._over = server, over
        self.start()

    def run(self) -> None:
        try:
            with Client(self._server) as client:
                while not self._over.is_set():
                    self._send_until_accepted(client, f"{self.name}-{len(self.told)}")
        except LOST as error:
            self.problem = error

    def _send_until_accepted(self, client: Client, identity: str) -> None:
        answer: dict[str, Any] = {}
        while answer.get("status") != "accepted":
            sent = monotonic()
            answer = client.send("add", key=f"count.{self.name}", id=identity).json()
            self.slowest = max(self.slowest, monotonic() - sent)
            if answer["status"] != "accepted":
                self.refusals.add((answer["status"], answer["code"]))
                sleep(0.05)  # as the answer's Retry-After asks, only sooner
        self.told[identity] = answer["revision"]


def start_senders(nodes: Sequence[Server], each: int = 2) -> tuple[Event, list[RetryingSender]]:
    """Start `each` senders at every node; the event that stops them, and the senders."""
    over = Event()
    return over, [
        RetryingSender(node, f"s{place}-{turn}", over)
        for place, node in enumerate(nodes)
        for turn in range(each)
    ]


def await_more_accepted(senders: Sequence[RetryingSender], number: int) -> None:
    """Return when every sender has had `number` more commands accepted."""
    wanted = [len(sender.told) + number for sender in senders]

    def done() -> bool:
        return all(len(one.told) >= most for one, most in zip(senders, wanted, strict=True))

    until(done, ELECTION_SECONDS)


def stop_senders(over: Event, senders: Sequence[RetryingSender]) -> None:
    over.set()
    for sender in senders:
        sender.join(2 * BOUND)


ALLOWED_REFUSALS: Final = {("rejected", "unavailable"), ("unknown", "unavailable")}
"""How commands may be answered while the engine comes and goes, beside being accepted."""


def assert_done_once(senders: Iterable[RetryingSender], log: SharedLog, node: Server) -> None:
    """What was accepted is in the log once, at the revision that was answered; nothing else is."""
    there = {one.id: one.revision for one in whole(log)}
    last = log.last_revision()
    assert len(there) == last
    assert {one: revision for sender in senders for one, revision in sender.told.items()} == there
    reach(last, node)
    for sender in senders:
        assert sender.problem is None
        assert sender.refusals <= ALLOWED_REFUSALS
        assert sender.slowest < BOUND
        assert node.value(f"count.{sender.name}") == len(sender.told)
