"""kill -9 of a server on SQLite at random moments, again and again, and what is left each time."""

import random
from collections import Counter
from pathlib import Path
from threading import Event
from time import sleep
from typing import Final, Self

from explained import Explained
from sent import Read, Sender, Sent, begun, ended, told
from support.harness import SECONDS, Server
from support.raw_http import Client, assert_sound

SENDERS: Final = 6
LONGEST: Final = 0.7
"""Seconds that a server runs while commands are sent."""


def campaign(folder: Path, seed: int, rounds: int) -> Counter[str]:
    """Raises `AssertionError` at the first round after which an answer proves wrong."""
    figures = Counter[str]()
    with Life(folder / "store", seed) as life:
        for _ in range(rounds):
            figures += life.round()
    return figures


class Life:
    """Of one store, over many servers."""

    def __init__(self, data_dir: Path, seed: int) -> None:
        self._data_dir = data_dir
        self._chance = random.Random(seed)
        self._explained = Explained()
        self._number = 0
        self._server = Server(data_dir)

    def round(self) -> Counter[str]:
        """One death; the store is looked at before and after the next server starts."""
        self._number += 1
        sent, reads = self._die()
        revision = assert_sound(self._data_dir)
        self._server = Server(self._data_dir)
        with self._server.stream(after=self._explained.model.revision) as stream:
            log = [one.data for one in stream.until("caught-up") if one.name == "change"]
        problems = self._explained.problems(sent, log, reads)
        assert problems == [], f"round {self._number}: {problems[:5]}"
        assert self._explained.model.revision == revision
        with Client(self._server) as client:
            assert client.state() == self._explained.model.values(), f"round {self._number}"
            self._ask_again(client, sent)
        return _figures(sent, {one["id"] for one in log})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()

    def _die(self) -> tuple[list[Sent], list[Read]]:
        """What was sent, and what was read, until the server was killed."""
        over = Event()
        senders = begun(
            Sender(self._server, f"r{self._number}s{turn}", self._chance.getrandbits(32), over)
            for turn in range(SENDERS)
        )
        sleep(self._chance.uniform(0, LONGEST))  # the moment is what is tried here
        self._server.kill()
        sent = ended(senders, SECONDS)
        return sent, [one for sender in senders for one in sender.read]

    def _ask_again(self, client: Client, sent: list[Sent]) -> None:
        """Every outcome is still what was answered; what is sent again is done once, or not yet."""
        for one in self._chance.sample(sent, min(20, len(sent))):
            if one.status == "accepted" and one.changed:
                again = Sent(one.id, one.command, 0.0)
                told(again, client)
                assert (again.status, again.revision) == ("accepted", one.revision), again
        assert client.get("status").json()["revision"] == self._explained.model.revision


def _figures(sent: list[Sent], there: set[str]) -> Counter[str]:
    unanswered = [one for one in sent if one.is_open]
    found = Counter({"rounds": 1, "commands": len(sent), "unanswered": len(unanswered)})
    found["accepted"] = sum(one.status == "accepted" for one in sent)
    found["rejected"] = sum(one.status == "rejected" for one in sent)
    found["of the unanswered written"] = sum(one.id in there for one in unanswered)
    return found
