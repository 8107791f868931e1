"""Nodes on one shared log, whose senders work through one disturbance after another."""

import random
from collections import Counter
from collections.abc import Sequence
from threading import Event
from time import monotonic
from typing import Final

from explained import Explained
from sent import Sender, Sent, begun, ended, told
from support.harness import Server
from support.nodes import BOUND, log_status, reach, until
from support.raw_http import Client

EACH: Final = 2
"""Senders at each node."""
PAUSE: Final = 0.02
"""Seconds between two commands of one sender: the machine has other work as well."""
SLOWEST: Final = "ms the slowest answer"
SETTLED_SECONDS: Final = 90.0
"""Within which all that was in doubt has an outcome, once everything works again."""


class Episodes:
    """`chance` decides everything that is left to chance."""

    def __init__(self, nodes: Sequence[Server], seed: int) -> None:
        self.chance = random.Random(seed)
        self.figures: Counter[str] = Counter()
        self._nodes = nodes
        self._explained = Explained()
        self._number = 0
        self._over = Event()
        self._senders: list[Sender] = []

    def begin(self) -> None:
        """Let all senders start; return once each has had something accepted."""
        self._number += 1
        self._over = Event()
        self._senders = begun(
            Sender(node, self._name(place, turn), self.chance.getrandbits(32), self._over, PAUSE)
            for place, node in enumerate(self._nodes)
            for turn in range(EACH)
        )
        until(lambda: all(one.has_written for one in self._senders), SETTLED_SECONDS)

    def end(self) -> None:
        """Once all works again: what was unknown has an outcome, and all answers were true.

        Raises `AssertionError` where it is not.
        """
        self._over.set()
        sent = ended(self._senders, 2 * BOUND) + [
            self._settled(place, node) for place, node in enumerate(self._nodes)
        ]
        first = self._nodes[0]
        reach(max(one.revision for one in sent), *self._nodes)
        with first.stream(after=self._explained.model.revision) as stream:
            log = [one.data for one in stream.until("caught-up") if one.name == "change"]
        reads = [one for sender in self._senders for one in sender.read]
        problems = self._explained.problems(sent, log, reads)
        assert problems == [], f"episode {self._number}: {problems[:5]}"
        for node in self._nodes:
            state = node.get("/queries/export", format="json").json()
            assert state == self._explained.model.values(), f"episode {self._number}"
        self._count(sent)

    def _settled(self, place: int, node: Server) -> Sent:
        """A command that is accepted there: behind it nothing that it was sent is in doubt."""
        until(lambda: log_status(node)["connected"], SETTLED_SECONDS)
        wish = {"type": "set", "key": f"end.{place}", "value": self._number}
        one = Sent(f"{self._name(place, EACH)}-0", wish, monotonic())
        with Client(node) as client:

            def is_accepted() -> bool:
                told(one, client)
                return one.status == "accepted"

            until(is_accepted, SETTLED_SECONDS)
        return one

    def _name(self, place: int, turn: int) -> str:
        return f"e{self._number}n{place}s{turn}"

    def _count(self, sent: Sequence[Sent]) -> None:
        self.figures["commands"] += len(sent)
        for one in sent:
            is_away = (one.status, one.code) == ("rejected", "unavailable")
            self.figures["unavailable" if is_away else one.status] += 1
        self.figures["revisions"] = self._explained.model.revision
        slowest = [self.figures[SLOWEST], *(int(1000 * one.slowest) for one in self._senders)]
        self.figures[SLOWEST] = max(slowest)
