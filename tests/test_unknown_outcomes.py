"""What was told `unknown` gets an outcome, whatever it becomes; and what need not be, is not."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent
import pytest

from signalbox.server.http.commands.import_batches import Batch, room
from signalbox.server.model.commands import Attempt, read_attempt, read_line
from signalbox.server.model.decide import (
    Changes,
    State,
    prepare_attempt,
    prepare_command,
)
from signalbox.server.model.errors import OutcomeUnknown, Unavailable
from signalbox.server.model.events import Transaction
from support.any_engine import NodeStore, full
from support.brokers import new_log
from support.silent_log import (
    SECONDS,
    TIMEOUT,
    Announced,
    Silence,
    sent,
    somebody_else_writes,
    told_unknown,
)


@pytest.fixture(params=["nats", "redis"])
def address(request: pytest.FixtureRequest) -> str:
    return new_log(request.param)


@pytest.fixture
def store(tmp_path: Path, address: str) -> Iterator[NodeStore]:
    with NodeStore(tmp_path / "signalbox.db", address, TIMEOUT) as made:
        yield made


@pytest.fixture
def announced(store: NodeStore) -> Announced:
    return Announced(store)


@pytest.fixture
def silence(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> Silence:
    return Silence(store, monkeypatch)


def refusing(_transactions: Sequence[Any], _expected: int = 0) -> None:
    raise Unavailable("The server takes nothing.")


def test_what_is_refused_in_the_end_is_found_as_refused(
    store: NodeStore, silence: Silence, announced: Announced, address: str
) -> None:
    told_unknown(store, "doubt")
    somebody_else_writes(address)
    silence.end(refusing)
    record = announced.outcome("doubt")
    assert (record["status"], record["code"]) == ("rejected", "unavailable")
    assert record["message"].endswith("Nothing was written.")
    assert announced.codes("doubt") == ["unavailable"]
    silence.end()
    again = sent(store, "doubt").wait()  # it was never written: a new attempt
    assert (again.error, again.answer()["duplicate"]) == (None, False)
    assert announced.outcome("doubt")["status"] == "accepted"


def test_what_is_refused_because_the_log_cannot_be_followed_is_found(
    store: NodeStore,
    silence: Silence,
    announced: Announced,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told_unknown(store, "doubt")
    somebody_else_writes(address)

    def overtaken(transactions: Sequence[Transaction], expected: int) -> None:
        """Somebody else is first, and what they have written cannot be read."""
        somebody_else_writes(address, expected + 1)
        monkeypatch.setattr(store.log, "read", lambda *_: [])
        real(transactions, expected)

    real = silence.real[0]
    silence.end(overtaken)
    assert announced.outcome("doubt")["code"] == "unavailable"


def test_what_is_written_in_the_end_has_one_outcome(
    store: NodeStore, silence: Silence, announced: Announced
) -> None:
    told_unknown(store, "doubt")
    silence.deliver()
    silence.end()
    assert announced.outcome("doubt")["status"] == "accepted"
    records, _ = store.readmodel.attempts()
    assert [one["id"] for one in records] == ["doubt"]
    assert store.projection.unknown_outcomes() == []


def test_while_the_disk_is_full_the_outcome_waits_for_room(
    store: NodeStore, silence: Silence, announced: Announced, address: str
) -> None:
    told_unknown(store, "doubt")
    with full(store):
        somebody_else_writes(address)
        silence.end(refusing)
        waiting = sent(store, "large", value="x" * 200_000).wait()
        assert waiting.answer()["code"] == "unavailable"
    assert announced.outcome("doubt")["code"] == "unavailable"


def test_where_a_promise_cannot_be_kept_nobody_is_told_unknown(
    store: NodeStore, silence: Silence, announced: Announced, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(store.projection, "resolve_unknown", refusing)
        sender = gevent.spawn(sent(store, "doubt").wait)
        sender.join(2 * TIMEOUT)
        assert not sender.ready()
        silence.deliver()
        silence.end()
        assert sender.get(timeout=SECONDS).error is None
        assert announced.outcome("doubt")["status"] == "accepted"
    store.writer.run_between_commits(lambda _: None)
    assert store.projection.unknown_outcomes() == []


def test_what_is_sent_again_meanwhile_has_the_outcome_of_the_first(
    store: NodeStore, silence: Silence, announced: Announced
) -> None:
    first = sent(store, "doubt")
    gevent.idle()
    again = sent(store, "doubt")
    assert isinstance(first.wait().error, OutcomeUnknown)
    assert isinstance(again.wait().error, OutcomeUnknown)
    told_unknown(store, "doubt")
    assert announced.codes("doubt") == []
    silence.deliver()
    silence.end()
    assert announced.outcome("doubt")["status"] == "accepted"
    assert sent(store, "doubt").wait().answer()["duplicate"]
    assert store.projection.unknown_outcomes() == []


def test_what_is_sent_again_while_the_server_ends_is_unknown_as_well(
    store: NodeStore, silence: Silence, announced: Announced
) -> None:
    del silence
    told_unknown(store, "doubt")
    again = sent(store, "doubt")
    other = sent(store, "other")
    store.writer.close()
    assert isinstance(again.wait().error, OutcomeUnknown)
    assert type(other.wait().error) is Unavailable
    assert announced.codes("doubt") == []


def test_another_command_under_an_id_in_doubt_is_not_in_doubt(
    store: NodeStore, silence: Silence
) -> None:
    del silence
    told_unknown(store, "doubt")
    assert type(sent(store, "doubt", value=2).wait().error) is Unavailable


# What is never unknown.


def test_a_dry_run_is_never_in_doubt(store: NodeStore, silence: Silence) -> None:
    del silence
    wish, dry = sent(store, "doubt"), sent(store, "dry", dry_run=True)
    assert isinstance(wish.wait().error, OutcomeUnknown)
    assert type(dry.wait().error) is Unavailable


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"type": "nonsense"}, "invalid"),
        ({"key": "_signalbox.theme", "value": "no theme"}, "invalid"),
        (
            {
                "type": "batch",
                "commands": [{"type": "set", "key": "_signalbox.theme", "value": 3}],
                "key": None,
            },
            "invalid",
        ),
    ],
)
def test_what_no_state_could_take_is_refused_while_the_engine_is_silent_and_kept(
    store: NodeStore, silence: Silence, announced: Announced, command: dict[str, Any], code: str
) -> None:
    doubt = sent(store, "doubt")
    gevent.idle()
    fields = {"type": "set", "key": "k", "value": 1} | command
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields["type"] == "batch":
        del fields["value"]
    body = fields | {"id": "bad"}
    bad = store.writer.enqueue(prepare_attempt(read_attempt(body, "me", "unused")))
    assert bad.wait().answer()["code"] == code
    assert isinstance(doubt.wait().error, OutcomeUnknown)
    silence.end()
    assert announced.outcome("bad")["code"] == code


def test_a_value_that_is_too_large_never_reaches_the_writer() -> None:
    body = {"type": "set", "key": "k", "value": "x" * 300_000}
    refusal = prepare_attempt(read_attempt(body, "me", "one")).refusal
    assert refusal is not None
    assert refusal.code == "too_large"


def test_however_long_deciding_takes_it_is_not_the_engine_that_does_not_answer(
    store: NodeStore,
) -> None:
    """Lines that are too large for one transaction, on a machine that is slow to say so."""
    line = b'{"type":"set","key":"huge.%d","value":"' + b"x" * 200_000 + b'"}'
    lines = [(number, prepare_command(read_line(line % number))) for number in range(1, 90)]
    batch = Batch(lines, True, room(store.writer.max_bytes))

    def slowly(state: State) -> Changes:
        gevent.sleep(3 * TIMEOUT)
        return batch.decide(state)

    attempt = Attempt("slow-1", "me", "import", b"f", None, decide=slowly, preload_keys=batch.keys)
    others = [sent(store, f"other-{number}", key=f"o.{number}") for number in range(3)]
    slow = store.writer.enqueue(attempt)
    late = sent(store, "late")
    assert slow.wait().answer()["code"] == "too_large"
    assert [one.wait().error for one in (*others, late)] == [None] * 4
