"""What was told `unknown` gets an outcome, whatever it becomes; and what need not be, is not."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
import pytest

from any_engine import NodeStore, full
from brokers import new_log
from server.commands import Attempt, read_attempt, read_line
from server.decide import Changes, State, judged, prepared
from server.engines.address import read_address
from server.engines.base import Unsettled
from server.errors import Unavailable, Unknown
from server.events import Change, Transaction
from server.http.batches import Batch, room
from server.joining import shared_log
from server.outcomes import Outcome
from server.waiting import Waiting

PATIENCE = 0.2


@pytest.fixture(params=["nats", "redis"])
def address(request: pytest.FixtureRequest) -> str:
    return new_log(request.param)


@pytest.fixture
def store(tmp_path: Path, address: str) -> Iterator[NodeStore]:
    with NodeStore(tmp_path / "signalbox.db", address, PATIENCE) as made:
        yield made


class Silence:
    """Nothing that is sent meanwhile arrives, and nothing is answered."""

    def __init__(self, store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self._log = store.log
        self.real = store.log.append, store.log.last_revision
        self.sent: list[Transaction] = []
        monkeypatch.setattr(self._log, "append", self._append)
        monkeypatch.setattr(self._log, "last_revision", self._unanswered)

    def end(self, append: Callable[..., None] | None = None) -> None:
        """From now on it answers; appends by `append`, if that is given."""
        self._patch.setattr(self._log, "append", append or self.real[0])
        self._patch.setattr(self._log, "last_revision", self.real[1])

    def deliver(self) -> None:
        """What was sent arrives late."""
        self.real[0](self.sent, self.sent[0].revision - 1)

    def _append(self, transactions: Sequence[Transaction], _expected: int) -> None:
        self.sent = list(transactions)
        raise Unsettled("nobody answers")

    def _unanswered(self) -> int:
        raise Unavailable("nobody answers.")


@pytest.fixture
def silence(store: NodeStore, monkeypatch: pytest.MonkeyPatch) -> Silence:
    return Silence(store, monkeypatch)


def refusing(_transactions: Sequence[Transaction], _expected: int) -> None:
    raise Unavailable("The server takes nothing.")


def sent(store: NodeStore, identity: str, **command: Any) -> Waiting:
    body = {"type": "set", "key": "k", "value": 1} | command | {"id": identity}
    return store.writer.enqueue(judged(read_attempt(body, "me", "unused")))


def told_unknown(store: NodeStore, identity: str, **command: Any) -> None:
    assert isinstance(sent(store, identity, **command).wait().error, Unknown)
    assert store.readmodel.attempt(identity) is None


def somebody_else_writes(address: str, revision: int = 1) -> None:
    with closing(shared_log(read_address(address))) as other:
        other.connect(None)
        change = Change("z", str(revision), revision == 1)
        made = Transaction(revision, f"other-{revision}", "you", revision, "set", b"f", [change])
        other.append([made], revision - 1)


def outcome(store: NodeStore, identity: str) -> dict[str, Any]:
    with gevent.Timeout(20):
        while (record := store.readmodel.attempt(identity)) is None:
            gevent.sleep(0.01)
    return record


def test_what_is_refused_in_the_end_is_found_as_refused(
    store: NodeStore, silence: Silence, address: str
) -> None:
    announced: list[Outcome] = []
    store.feed.listen(lambda _, outcomes: announced.extend(outcomes))
    told_unknown(store, "doubt")
    somebody_else_writes(address)
    silence.end(refusing)
    record = outcome(store, "doubt")
    assert (record["status"], record["code"]) == ("rejected", "unavailable")
    assert record["message"].endswith("Nothing was written.")
    assert [one.answer()["code"] for one in announced if one.attempt.id == "doubt"] == [
        "unavailable"
    ]
    silence.end()
    again = sent(store, "doubt").wait()  # it was never written: a new attempt
    assert (again.error, again.answer()["duplicate"]) == (None, False)
    assert outcome(store, "doubt")["status"] == "accepted"


def test_what_is_refused_because_the_log_cannot_be_followed_is_found(
    store: NodeStore, silence: Silence, address: str, monkeypatch: pytest.MonkeyPatch
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
    assert outcome(store, "doubt")["code"] == "unavailable"


def test_what_is_written_in_the_end_has_one_outcome(store: NodeStore, silence: Silence) -> None:
    told_unknown(store, "doubt")
    silence.deliver()
    silence.end()
    assert outcome(store, "doubt")["status"] == "accepted"
    records, _ = store.readmodel.attempts()
    assert [one["id"] for one in records] == ["doubt"]
    assert store.readmodel.in_doubt() == []


def test_while_the_disk_is_full_the_outcome_waits_for_room(
    store: NodeStore, silence: Silence, address: str
) -> None:
    told_unknown(store, "doubt")
    with full(store):
        somebody_else_writes(address)
        silence.end(refusing)
        waiting = sent(store, "large", value="x" * 200_000).wait()
        assert waiting.answer()["code"] == "unavailable"
    assert outcome(store, "doubt")["code"] == "unavailable"


@pytest.mark.parametrize("arrives", [True, False])
def test_it_has_its_outcome_also_where_the_server_has_ended_meanwhile(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch, arrives: bool
) -> None:
    with NodeStore(tmp_path / "signalbox.db", address, PATIENCE) as store:
        silence = Silence(store, monkeypatch)
        told_unknown(store, "doubt")
        if arrives:
            silence.deliver()
        store.log.close()
    with NodeStore(tmp_path / "signalbox.db", address) as store:
        assert store.readmodel.attempt("doubt") is None
        store.node.receive(store.log.read(0, 10) or written(address))
        if arrives:
            assert outcome(store, "doubt")["status"] == "accepted"
        else:
            assert outcome(store, "doubt")["code"] == "unavailable"
            assert store.run(type="set", key="k", value=1, id="doubt", actor="me").error is None
    with NodeStore(tmp_path / "signalbox.db", address) as store:
        assert store.readmodel.in_doubt() == []


def written(address: str) -> list[Transaction]:
    somebody_else_writes(address)
    with closing(shared_log(read_address(address))) as log:
        log.connect(None)
        return log.read(0, 10)


# What is never unknown.


def test_a_dry_run_is_never_in_doubt(store: NodeStore, silence: Silence) -> None:
    del silence
    wish, dry = sent(store, "doubt"), sent(store, "dry", dry_run=True)
    assert isinstance(wish.wait().error, Unknown)
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
    store: NodeStore, silence: Silence, command: dict[str, Any], code: str
) -> None:
    doubt = sent(store, "doubt")
    gevent.idle()
    fields = {"type": "set", "key": "k", "value": 1} | command
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields["type"] == "batch":
        del fields["value"]
    body = fields | {"id": "bad"}
    bad = store.writer.enqueue(judged(read_attempt(body, "me", "unused")))
    assert bad.wait().answer()["code"] == code
    assert isinstance(doubt.wait().error, Unknown)
    silence.end()
    assert outcome(store, "bad")["code"] == code


def test_a_value_that_is_too_large_never_reaches_the_writer() -> None:
    body = {"type": "set", "key": "k", "value": "x" * 300_000}
    refusal = judged(read_attempt(body, "me", "one")).refusal
    assert refusal is not None
    assert refusal.code == "too_large"


def test_however_long_deciding_takes_it_is_not_the_engine_that_does_not_answer(
    store: NodeStore,
) -> None:
    """Lines that are too large for one transaction, on a machine that is slow to say so."""
    line = b'{"type":"set","key":"huge.%d","value":"' + b"x" * 200_000 + b'"}'
    lines = [(number, prepared(read_line(line % number))) for number in range(1, 90)]
    batch = Batch(lines, True, room(store.writer.max_bytes))

    def slowly(state: State) -> Changes:
        gevent.sleep(3 * PATIENCE)
        return batch.decide(state)

    attempt = Attempt("slow-1", "me", "import", b"f", None, decide=slowly, touches=batch.keys)
    others = [sent(store, f"other-{number}", key=f"o.{number}") for number in range(3)]
    slow = store.writer.enqueue(attempt)
    late = sent(store, "late")
    assert slow.wait().answer()["code"] == "too_large"
    assert [one.wait().error for one in (*others, late)] == [None] * 4
