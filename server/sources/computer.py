"""The source *this computer*: load, memory, disk and network of this computer as keys."""

from collections.abc import Sequence
from functools import cached_property
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

import gevent
import msgspec
from gevent.event import Event
from gevent.threadpool import ThreadPool

from signalbox.server.feed import Feed
from signalbox.server.model.app_settings import COMPUTER, RETENTION, ComputerSetting
from signalbox.server.model.commands import Attempt, Batch, Set
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.read.read_model import ReadModel
from signalbox.server.sources.computer_rules import describing_rules
from signalbox.server.sources.reported_failures import ReportedFailures
from signalbox.server.write.writer import Writer

if TYPE_CHECKING:
    from signalbox.server.sources.measurement import Measurement

ACTOR: Final = "computer"
RETENTION_KEY: Final = f"{RETENTION}.computer"
RETRY_SECONDS: Final = 1.0


class ComputerSource:
    """While its setting enables it, submits one batch every so many seconds.

    Where several nodes share the store, only the node does that the setting names.
    """

    def __init__(
        self, readmodel: ReadModel, feed: Feed, writer: Writer, node: str | None = None
    ) -> None:
        """Begin to measure this computer as its setting says; `node` is this node's id."""
        self._readmodel = readmodel
        self._node = node
        self._writer = writer
        self._setting_changed = Event()
        self._has_retention = False
        self._has_described = False
        self._failures = ReportedFailures()
        # psutil stores the last measurement for each thread: all are made by one thread.
        self._thread = ThreadPool(1)
        feed.add_listener(self._on_commit)
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        """Stop measuring this computer."""
        self._greenlet.kill()
        self._thread.kill()

    def _on_commit(self, transactions: Sequence[Transaction], _: Sequence[Outcome]) -> None:
        """Measure as the setting says from now on, where somebody has changed that."""
        if any(transaction.changes_below(COMPUTER) for transaction in transactions):
            self._setting_changed.set()

    def _setting(self) -> ComputerSetting:
        """This computer's setting for its source; off where it is for another node's computer."""
        item = self._readmodel.current.get(COMPUTER)
        if item is None:
            return ComputerSetting()
        setting = msgspec.json.decode(item.raw, type=ComputerSetting)
        is_ours = self._node in (None, setting.node)
        return setting if is_ours else ComputerSetting()

    def _run(self) -> None:
        """Measure this computer and write what has changed, as often as the setting says."""
        pause = self._measure_first()
        while True:
            self._setting_changed.wait(pause)
            self._setting_changed.clear()
            pause = self._measure_and_write()

    @cached_property
    def _measurement(self) -> "Measurement":
        """The measurements of this computer."""
        from signalbox.server.sources.measurement import Measurement  # noqa: PLC0415 - loads psutil, which most servers never need

        return Measurement()

    def _measure_first(self) -> float | None:
        """As `_measure_and_write`, without writing: rates need two measurements."""
        try:
            setting = self._setting()
            if setting.enabled:
                self._thread.apply(self._measurement.read)
        except Exception as error:  # noqa: BLE001 - as in `_measure_and_write`
            self._failures.report("This computer", error)
            return RETRY_SECONDS
        return setting.every if setting.enabled else None

    def _measure_and_write(self) -> float | None:
        """Measure and write once if enabled; seconds until the next time, None for never.

        An error ends only this step.
        """
        try:
            setting = self._setting()
            if setting.enabled:
                self._set_default_retention()
                self._describe_keys()
                self._write(self._thread.apply(self._measurement.read))
        except Exception as error:  # noqa: BLE001 - logged; the next step may succeed
            self._failures.report("This computer", error)
            return RETRY_SECONDS
        return setting.every if setting.enabled else None

    def _set_default_retention(self) -> None:
        """Keep two days of measurements, unless there is a retention setting for them."""
        if not self._has_retention and self._readmodel.current.get(RETENTION_KEY) is None:
            self._submit([Set(key=RETENTION_KEY, value={"max_age": "2d"}, expect="absent")])
        self._has_retention = True

    def _describe_keys(self) -> None:
        """Describe the keys by rules, each once: one that a person has deleted stays away."""
        if self._has_described:
            return
        history = self._readmodel.log.history
        members: list[Any] = [
            Set(key=key, value=rule, expect="absent")
            for key, rule in describing_rules().items()
            if not history(key, limit=1).items
        ]
        self._has_described = not members or self._submit(members)

    def _write(self, values: dict[str, Any]) -> None:
        """Write measured values to keys below `computer.`."""
        members: list[Any] = [
            Set(key="computer." + key, value=value) for key, value in values.items()
        ]
        self._submit(members)

    def _submit(self, members: list[Any]) -> bool:
        """Write by a batch, as everybody writes; nobody else waits. Whether that was accepted."""
        attempt = Attempt(
            token_hex(8), ACTOR, "batch", b"", Batch(commands=members), has_sender_id=False
        )
        return self._writer.enqueue(attempt).wait().error is None
