"""An attempt whose sender got `unknown` gets its outcome later; none gets it without need."""

from collections.abc import Sequence
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


@pytest.fixture
def published(node_store: NodeStore) -> PublishedOutcomes:
    return PublishedOutcomes(node_store)


def refusing(_transactions: Sequence[Any], _expected: int = 0) -> None:
    raise Unavailable("The server takes nothing.")


def test_an_attempt_that_is_rejected_later_is_found_as_rejected(
    node_store: NodeStore, silence: SilentLog, published: PublishedOutcomes, log_address: str
) -> None:
    send_until_unknown(node_store, "doubt")
    other_node_appends(log_address)
    silence.end(refusing)
    record = published.outcome("doubt")
    assert (record["status"], record["code"]) == ("rejected", "unavailable")
    assert record["message"].endswith("Nothing was written.")
    assert published.codes("doubt") == ["unavailable"]
    silence.end()
    again = enqueue(node_store, "doubt").wait()  # it was never written: a new attempt
    assert (again.error, again.answer()["duplicate"]) == (None, False)
    assert published.outcome("doubt")["status"] == "accepted"


def test_an_attempt_is_rejected_if_the_log_cannot_be_read(
    node_store: NodeStore,
    silence: SilentLog,
    published: PublishedOutcomes,
    log_address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send_until_unknown(node_store, "doubt")
    other_node_appends(log_address)

    def overtaken(transactions: Sequence[Transaction], expected: int) -> None:
        """Another node is first, and its transactions cannot be read."""
        other_node_appends(log_address, expected + 1)
        monkeypatch.setattr(node_store.log, "read", lambda *_: [])
        real(transactions, expected)

    real = silence.real[0]
    silence.end(overtaken)
    assert published.outcome("doubt")["code"] == "unavailable"


def test_an_attempt_that_is_written_later_has_one_outcome(
    node_store: NodeStore, silence: SilentLog, published: PublishedOutcomes
) -> None:
    send_until_unknown(node_store, "doubt")
    silence.deliver()
    silence.end()
    assert published.outcome("doubt")["status"] == "accepted"
    records, _ = node_store.readmodel.attempts()
    assert [one["id"] for one in records] == ["doubt"]
    assert node_store.projection.unknown_outcomes() == []


def test_on_a_full_disk_the_outcome_is_stored_later(
    node_store: NodeStore, silence: SilentLog, published: PublishedOutcomes, log_address: str
) -> None:
    send_until_unknown(node_store, "doubt")
    with full_database(node_store):
        other_node_appends(log_address)
        silence.end(refusing)
        waiting = enqueue(node_store, "large", value="x" * 200_000).wait()
        assert waiting.answer()["code"] == "unavailable"
    assert published.outcome("doubt")["code"] == "unavailable"


def test_no_sender_gets_unknown_while_that_cannot_be_stored(
    node_store: NodeStore,
    silence: SilentLog,
    published: PublishedOutcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(node_store.projection, "resolve_unknown", refusing)
        sender = gevent.spawn(enqueue(node_store, "doubt").wait)
        sender.join(2 * TIMEOUT)
        assert not sender.ready()
        silence.deliver()
        silence.end()
        assert sender.get(timeout=SECONDS).error is None
        assert published.outcome("doubt")["status"] == "accepted"
    node_store.writer.run_between_commits(lambda _: None)
    assert node_store.projection.unknown_outcomes() == []


def test_a_command_sent_again_has_the_outcome_of_the_first_one(
    node_store: NodeStore, silence: SilentLog, published: PublishedOutcomes
) -> None:
    first = enqueue(node_store, "doubt")
    gevent.idle()
    again = enqueue(node_store, "doubt")
    assert isinstance(first.wait().error, OutcomeUnknown)
    assert isinstance(again.wait().error, OutcomeUnknown)
    send_until_unknown(node_store, "doubt")
    assert published.codes("doubt") == []
    silence.deliver()
    silence.end()
    assert published.outcome("doubt")["status"] == "accepted"
    assert enqueue(node_store, "doubt").wait().answer()["duplicate"]
    assert node_store.projection.unknown_outcomes() == []


def test_a_command_sent_again_while_the_server_ends_is_unknown_too(
    node_store: NodeStore, silence: SilentLog, published: PublishedOutcomes
) -> None:
    del silence
    send_until_unknown(node_store, "doubt")
    again = enqueue(node_store, "doubt")
    other = enqueue(node_store, "other")
    node_store.writer.close()
    assert isinstance(again.wait().error, OutcomeUnknown)
    assert type(other.wait().error) is Unavailable
    assert published.codes("doubt") == []


def test_another_command_with_an_unknown_id_is_not_unknown(
    node_store: NodeStore, silence: SilentLog
) -> None:
    del silence
    send_until_unknown(node_store, "doubt")
    assert type(enqueue(node_store, "doubt", value=2).wait().error) is Unavailable


# What is never unknown.


def test_a_dry_run_is_never_unknown(node_store: NodeStore, silence: SilentLog) -> None:
    del silence
    attempt, dry = enqueue(node_store, "doubt"), enqueue(node_store, "dry", dry_run=True)
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
    node_store: NodeStore,
    silence: SilentLog,
    published: PublishedOutcomes,
    command: dict[str, Any],
    code: str,
) -> None:
    doubt = enqueue(node_store, "doubt")
    gevent.idle()
    fields = {"type": "set", "key": "k", "value": 1} | command
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields["type"] == "batch":
        del fields["value"]
    body = fields | {"id": "bad"}
    bad = node_store.writer.enqueue(prepare_attempt(read_attempt(body, "me", "unused")))
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
    node_store: NodeStore,
) -> None:
    """Lines that are too large for one transaction, on a machine that is slow to say so."""
    line = b'{"type":"set","key":"huge.%d","value":"' + b"x" * 200_000 + b'"}'
    lines = [(number, prepare_command(read_line(line % number))) for number in range(1, 90)]
    batch = Batch(lines, "me", True, batch_limits(node_store.writer.max_bytes))

    def slowly(state: State) -> Changes:
        gevent.sleep(3 * TIMEOUT)
        return batch.decide(state)

    attempt = Attempt("slow-1", "me", "import", b"f", None, decide=slowly, preload_keys=batch.keys)
    others = [enqueue(node_store, f"other-{number}", key=f"o.{number}") for number in range(3)]
    slow = node_store.writer.enqueue(attempt)
    late = enqueue(node_store, "late")
    assert slow.wait().answer()["code"] == "too_large"
    assert [one.wait().error for one in (*others, late)] == [None] * 4
