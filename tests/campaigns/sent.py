"""Senders of random commands, and the answers to each of them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import Any, Final

from support.command_model import Command
from support.harness import Server
from support.nodes import LOST
from support.raw_http import Client

KEYS: Final = ["a", "a.x", "a.y", "b", "b.x", "c"]
VALUES: Final = [None, True, False, 0, 1, -2.5, "", "text", [1], {"x": 1}, {"x": {"y": None}}]
RARE: Final = ["delete", "toggle", "merge", "rename", "prefix", "batch"]
KINDS: Final = ["set"] * 8 + ["add"] * 4 + RARE


@dataclass
class Sent:
    """One command under one id; times in seconds of one clock. No `status`: nobody answered."""

    id: str
    command: Command
    sent: float
    answered: float | None = None
    status: str = ""
    code: str = ""
    revision: int = 0
    changed: bool = True

    @property
    def is_open(self) -> bool:
        """Whether it may be in the log or not."""
        return self.status in ("", "unknown")


@dataclass
class Read:
    """One key's value, as one of the nodes has shown it."""

    key: str
    revision: int
    value: Any


def command(chance: random.Random, known: dict[str, int]) -> Command:
    """Any command; what it expects is what its sender knows, or something else."""
    kind = chance.choice(KINDS)
    key = chance.choice(KEYS)
    if kind == "batch":
        members = [command(chance, {}) for _ in range(chance.randint(1, 4))]
        return {"type": "batch", "commands": [one for one in members if one["type"] != "batch"]}
    if kind == "prefix":
        return {"type": "delete_prefix", "prefix": chance.choice(["a.", "b.", "d."])}
    if kind == "rename":
        return {"type": kind, "key": key, "to": chance.choice(KEYS), "replace": True}
    made: Command = {"type": kind, "key": key}
    if kind in ("set", "merge"):
        made["value"] = chance.choice(VALUES)
    if kind == "add":
        made["by"] = chance.choice([1, -1, 2**70])
    if chance.random() < 0.4:
        made["expect"] = chance.choice(["absent", "present", {"revision": known.get(key, 1)}])
    return made


class Sender(Thread):
    """Sends one after another until it is over, or until nobody answers any more."""

    def __init__(self, server: Server, name: str, seed: int, over: Event, pause: float = 0) -> None:
        super().__init__(daemon=True)
        self.name = name
        self.sent: list[Sent] = []
        self.read: list[Read] = []
        self.slowest = 0.0
        self.is_lost = False
        self._server, self._over, self._pause = server, over, pause
        self._chance = random.Random(seed)
        self._known: dict[str, int] = {}

    @property
    def has_written(self) -> bool:
        return any(one.status == "accepted" for one in self.sent)

    def run(self) -> None:
        try:
            with Client(self._server) as client:
                while not self._over.wait(self._pause):
                    self._send(client)
                    if self._chance.random() < 0.2:
                        self._look(client)
        except LOST:
            self.is_lost = True

    def _send(self, client: Client) -> None:
        wish = command(self._chance, self._known)
        self.sent.append(one := Sent(f"{self.name}-{len(self.sent)}", wish, monotonic()))
        told(one, client)
        assert one.answered is not None
        self.slowest = max(self.slowest, one.answered - one.sent)
        if one.code == "conflict" or (one.status == "accepted" and one.changed):
            self._known[wish.get("key", "")] = one.revision

    def _look(self, client: Client) -> None:
        answer = client.get(f"state/{self._chance.choice(KEYS)}")
        if answer.status == 200:
            found = answer.json()
            self.read.append(Read(found["key"], found["revision"], found["value"]))


def told(one: Sent, client: Client) -> None:
    """Send it, and note what comes. Raises one of `LOST` where nothing does."""
    answer = client.send(**one.command, id=one.id, actor=one.id.partition("-")[0]).json()
    one.answered = monotonic()
    one.status, one.code = answer["status"], answer.get("code", "")
    one.revision, one.changed = answer.get("revision") or 0, answer.get("changed", True)


def begun(senders: Iterator[Sender]) -> list[Sender]:
    """All of them, started."""
    made = list(senders)
    for sender in made:
        sender.start()
    return made


def ended(senders: list[Sender], seconds: float) -> list[Sent]:
    """What all of them have sent. Before, they must be stopped, or their server ended."""
    for sender in senders:
        sender.join(seconds)
        assert not sender.is_alive(), f"{sender.name} waits for an answer"
    return [one for sender in senders for one in sender.sent]
