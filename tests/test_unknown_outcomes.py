"""An attempt whose sender got `unknown` gets its outcome later; none gets it without need."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gevent
import pytest

from signalbox.server.http.commands.import_batches import Batch, batch_limits
from signalbox.server.model.commands import Attempt, read_attempt, read_line
from signalbox.server.model.decide import (
    Changes,
    State,
    prepare_attempt,
    prepare_command,
)
from signalbox.server.model.errors import OutcomeUnknown, Unavailable
from signalbox.server.model.events import Transaction
from support.brokers import new_log
from support.engine_stores import NodeStore, full_database
from support.silent_log import (
    SECONDS,
    TIMEOUT,
    PublishedOutcomes,
    SilentLog,
    enqueue,
    other_node_appends,
    send_until_unknown,
)


@pytest.fixture(params=["nats", "redis"])
def address(request: pytest.FixtureRequest) -> str:
    return new_log(request.param)


@pytest.fixture
def store(tmp_path: Path, address: str) -> Iterator[NodeStore]:
    with NodeStore(tmp_path / "signalbox.db", address, TIMEOUT) as made:
        yield made


@pytest.fixture
def published(store: NodeStore) -> PublishedOutcomes:
    return PublishedOutcomes(store)


@pytest.fixture
def silence(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> SilentLog:
    return SilentLog(store, monkeypatch)


def refusing(_transactions: Sequence[Any], _expected: int = 0) -> None:
    raise Unavailable("The server takes nothing.")


def test_an_attempt_that_is_rejected_later_is_found_as_rejected(
    store: NodeStore, silence: SilentLog, published: PublishedOutcomes, address: str
) -> None:
    send_until_unknown(store, "doubt")
    other_node_appends(address)
    silence.end(refusing)
    record = published.outcome("doubt")
    assert (record["status"], record["code"]) == ("rejected", "unavailable")
    assert record["message"].endswith("Nothing was written.")
    assert published.codes("doubt") == ["unavailable"]
    silence.end()
    again = enqueue(store, "doubt").wait()  # it was never written: a new attempt
    assert (again.error, again.answer()["duplicate"]) == (None, False)
    assert published.outcome("doubt")["status"] == "accepted"


def test_an_attempt_is_rejected_if_the_log_cannot_be_read(
    store: NodeStore,
    silence: SilentLog,
    published: PublishedOutcomes,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send_until_unknown(store, "doubt")
    other_node_appends(address)

    def overtaken(transactions: Sequence[Transaction], expected: int) -> None:
        """Another node is first, and its transactions cannot be read."""
        other_node_appends(address, expected + 1)
        monkeypatch.setattr(store.log, "read", lambda *_: [])
        real(transactions, expected)

    real = silence.real[0]
    silence.end(overtaken)
    assert published.outcome("doubt")["code"] == "unavailable"


def test_an_attempt_that_is_written_later_has_one_outcome(
    store: NodeStore, silence: SilentLog, published: PublishedOutcomes
) -> None:
    send_until_unknown(store, "doubt")
    silence.deliver()
    silence.end()
    assert published.outcome("doubt")["status"] == "accepted"
    records, _ = store.readmodel.attempts()
    assert [one["id"] for one in records] == ["doubt"]
    assert store.projection.unknown_outcomes() == []


def test_on_a_full_disk_the_outcome_is_stored_later(
    store: NodeStore, silence: SilentLog, published: PublishedOutcomes, address: str
) -> None:
    send_until_unknown(store, "doubt")
    with full_database(store):
        other_node_appends(address)
        silence.end(refusing)
        waiting = enqueue(store, "large", value="x" * 200_000).wait()
        assert waiting.answer()["code"] == "unavailable"
    assert published.outcome("doubt")["code"] == "unavailable"


def test_no_sender_gets_unknown_while_that_cannot_be_stored(
    store: NodeStore,
    silence: SilentLog,
    published: PublishedOutcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(store.projection, "resolve_unknown", refusing)
        sender = gevent.spawn(enqueue(store, "doubt").wait)
        sender.join(2 * TIMEOUT)
        assert not sender.ready()
        silence.deliver()
        silence.end()
        assert sender.get(timeout=SECONDS).error is None
        assert published.outcome("doubt")["status"] == "accepted"
    store.writer.run_between_commits(lambda _: None)
    assert store.projection.unknown_outcomes() == []


def test_a_command_sent_again_has_the_outcome_of_the_first_one(
    store: NodeStore, silence: SilentLog, published: PublishedOutcomes
) -> None:
    first = enqueue(store, "doubt")
    gevent.idle()
    again = enqueue(store, "doubt")
    assert isinstance(first.wait().error, OutcomeUnknown)
    assert isinstance(again.wait().error, OutcomeUnknown)
    send_until_unknown(store, "doubt")
    assert published.codes("doubt") == []
    silence.deliver()
    silence.end()
    assert published.outcome("doubt")["status"] == "accepted"
    assert enqueue(store, "doubt").wait().answer()["duplicate"]
    assert store.projection.unknown_outcomes() == []


def test_a_command_sent_again_while_the_server_ends_is_unknown_too(
    store: NodeStore, silence: SilentLog, published: PublishedOutcomes
) -> None:
    del silence
    send_until_unknown(store, "doubt")
    again = enqueue(store, "doubt")
    other = enqueue(store, "other")
    store.writer.close()
    assert isinstance(again.wait().error, OutcomeUnknown)
    assert type(other.wait().error) is Unavailable
    assert published.codes("doubt") == []


def test_another_command_with_an_unknown_id_is_not_unknown(
    store: NodeStore, silence: SilentLog
) -> None:
    del silence
    send_until_unknown(store, "doubt")
    assert type(enqueue(store, "doubt", value=2).wait().error) is Unavailable


# What is never unknown.


def test_a_dry_run_is_never_unknown(store: NodeStore, silence: SilentLog) -> None:
    del silence
    attempt, dry = enqueue(store, "doubt"), enqueue(store, "dry", dry_run=True)
    assert isinstance(attempt.wait().error, OutcomeUnknown)
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
def test_an_invalid_command_is_rejected_and_stored_without_the_engines_answer(
    store: NodeStore,
    silence: SilentLog,
    published: PublishedOutcomes,
    command: dict[str, Any],
    code: str,
) -> None:
    doubt = enqueue(store, "doubt")
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
    assert published.outcome("bad")["code"] == code


def test_a_value_that_is_too_large_never_reaches_the_writer() -> None:
    body = {"type": "set", "key": "k", "value": "x" * 300_000}
    refusal = prepare_attempt(read_attempt(body, "me", "one")).refusal
    assert refusal is not None
    assert refusal.code == "too_large"


def test_a_slow_decision_is_not_answered_as_a_silent_engine(
    store: NodeStore,
) -> None:
    """Lines that are too large for one transaction, on a machine that is slow to say so."""
    line = b'{"type":"set","key":"huge.%d","value":"' + b"x" * 200_000 + b'"}'
    lines = [(number, prepare_command(read_line(line % number))) for number in range(1, 90)]
    batch = Batch(lines, True, batch_limits(store.writer.max_bytes))

    def slowly(state: State) -> Changes:
        gevent.sleep(3 * TIMEOUT)
        return batch.decide(state)

    attempt = Attempt("slow-1", "me", "import", b"f", None, decide=slowly, preload_keys=batch.keys)
    others = [enqueue(store, f"other-{number}", key=f"o.{number}") for number in range(3)]
    slow = store.writer.enqueue(attempt)
    late = enqueue(store, "late")
    assert slow.wait().answer()["code"] == "too_large"
    assert [one.wait().error for one in (*others, late)] == [None] * 4
