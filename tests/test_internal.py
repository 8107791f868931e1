"""What nobody foresaw is one command's `internal`: its batch-mates and the server go on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from signalbox.server.model.commands import Attempt, read_attempt
from signalbox.server.model.decide import Changes, State
from support.local_store import Store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store.db" if request.param == "sqlite" else None) as opened:
        yield opened


def add(key: str, identity: str, chosen: bool = True) -> Attempt:
    attempt = read_attempt({"type": "add", "key": key, "id": identity}, "tester", "unused")
    return attempt._replace(has_sender_id=chosen)


def faulty(identity: str) -> Attempt:
    def decide(_: State) -> Changes:
        raise ZeroDivisionError

    return add("never", identity)._replace(decide=decide)


def outcomes(store: Store, *attempts: Attempt) -> list[dict[str, Any]]:
    """Of attempts that wait together."""
    return [one.wait().answer() for one in [store.writer.enqueue(attempt) for attempt in attempts]]


def test_deciding_that_fails_spoils_it_for_nobody_else(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, third = outcomes(store, add("n", "a"), faulty("b"), add("n", "c"))
    assert (first["status"], third["status"]) == ("accepted", "accepted")
    assert (second["status"], second["code"]) == ("rejected", "internal")
    assert store.readmodel.current.get("n").raw == "2"  # type: ignore[union-attr]
    assert "ZeroDivisionError" in caplog.text


def test_what_was_internal_may_be_sent_again(store: Store) -> None:
    outcomes(store, faulty("b"))
    assert outcomes(store, add("n", "b"))[0]["status"] == "accepted"


def test_writing_that_fails_spoils_it_for_nobody_else(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """An id that was taken although it was to be new: SQLite refuses the whole group."""
    outcomes(store, add("n", "taken"))
    first, second, third = outcomes(
        store, add("n", "x"), add("never", "taken", chosen=False), add("n", "y")
    )
    assert (first["status"], third["status"]) == ("accepted", "accepted")
    assert (second["status"], second["code"]) == ("rejected", "internal")
    assert third["revision"] == first["revision"] + 1
    assert store.readmodel.current.get("never") is None
    assert store.readmodel.current.get("n").raw == "3"  # type: ignore[union-attr]
    assert "ConstraintError" in caplog.text
    assert store.readmodel.current.keys() == 1
