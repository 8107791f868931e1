"""A state in a dict, and what a command would change in it: for the tests of deciding."""

import json
from collections.abc import Collection, Iterator
from typing import Any

import pytest

from signalbox.server.model.commands import read_command
from signalbox.server.model.decide import Changes, decide
from signalbox.server.model.errors import SignalboxError
from signalbox.server.model.events import Entry
from signalbox.server.model.rules import RuleSet, rules_of


class DictState:
    """A state held in a dict: all that deciding may ask for."""

    def __init__(self, held: dict[str, Any] | None = None, revision: int = 7) -> None:
        self.held = {key: Entry(json.dumps(value), 3) for key, value in (held or {}).items()}
        self.revision = revision

    @property
    def rules(self) -> RuleSet:
        return rules_of((key, entry.raw) for key, entry in self.held.items())

    def get(self, key: str) -> Entry | None:
        return self.held.get(key)

    def exists(self, key: str) -> bool:
        return key in self.held

    def keys(self, prefix: str) -> Iterator[str]:
        return (key for key, _ in self.scan(prefix))

    def look_up(self, keys: Collection[str]) -> None:
        """Everything is at hand."""

    def scan(self, prefix: str) -> Iterator[tuple[str, Entry]]:
        return ((key, self.held[key]) for key in sorted(self.held) if key.startswith(prefix))

    def count(self, prefix: str) -> int:
        return sum(key.startswith(prefix) for key in self.held)

    def apply(self, decided_changes: Changes) -> None:
        self.revision += bool(decided_changes)
        for key, raw in decided_changes.items():
            self.held.pop(key, None)
            if raw is not None:
                self.held[key] = Entry(raw, self.revision)

    def values(self) -> dict[str, Any]:
        return {key: json.loads(entry.raw) for key, entry in self.held.items()}


def decided_changes(held: dict[str, Any], **command: Any) -> dict[str, Any]:
    """What `command` changes, None for a deletion."""
    found = decide(DictState(held), read_command(command))
    return {key: None if raw is None else json.loads(raw) for key, raw in found.items()}


def decided_batch(held: dict[str, Any], *commands: dict[str, Any]) -> dict[str, Any]:
    """As `decided_changes`, for a batch."""
    return decided_changes(held, type="batch", commands=list(commands))


def refused_decision(
    error: type[SignalboxError], held: dict[str, Any], **command: Any
) -> SignalboxError:
    with pytest.raises(error) as caught:
        decided_changes(held, **command)
    return caught.value
