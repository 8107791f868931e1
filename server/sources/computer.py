"""The source *this computer*: load, memory, disk and network of this computer as keys."""

import logging
from collections.abc import Callable, Sequence
from secrets import token_hex
from time import monotonic
from typing import Any, Final

import gevent
import msgspec
import psutil
from gevent.event import Event
from gevent.threadpool import ThreadPool

from signalbox.server.feed import Feed
from signalbox.server.model.app_settings import COMPUTER, RETENTION, ComputerSetting
from signalbox.server.model.commands import Attempt, Batch, Set
from signalbox.server.model.events import Transaction
from signalbox.server.model.outcomes import Outcome
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.error_messages import reason
from signalbox.server.write.writer import Writer

logger: Final = logging.getLogger(__name__)

ACTOR: Final = "computer"
RETENTION_KEY: Final = f"{RETENTION}.computer"
GB: Final = 1e9
KB: Final = 1e3
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
        if any(
            change.key == COMPUTER for transaction in transactions for change in transaction.changes
        ):
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
        measure = Measurement()
        pause = self._measure_first(measure)
        while True:
            self._setting_changed.wait(pause)
            self._setting_changed.clear()
            pause = self._measure_and_write(measure)

    def _measure_first(self, measure: "Measurement") -> float | None:
        """As `_measure_and_write`, without writing: rates need two measurements."""
        try:
            setting = self._setting()
            if setting.enabled:
                self._thread.apply(measure.read)
        except Exception as error:  # noqa: BLE001 - as in `_measure_and_write`
            self._failures.report("This computer", error)
            return RETRY_SECONDS
        return setting.every if setting.enabled else None

    def _measure_and_write(self, measure: "Measurement") -> float | None:
        """Measure and write once if enabled; seconds until the next time, None for never.

        An error ends only this step.
        """
        try:
            setting = self._setting()
            if setting.enabled:
                self._set_default_retention()
                self._write(self._thread.apply(measure.read))
        except Exception as error:  # noqa: BLE001 - logged; the next step may succeed
            self._failures.report("This computer", error)
            return RETRY_SECONDS
        return setting.every if setting.enabled else None

    def _set_default_retention(self) -> None:
        """Keep two days of measurements, unless there is a retention setting for them."""
        if not self._has_retention and self._readmodel.current.get(RETENTION_KEY) is None:
            self._submit([Set(key=RETENTION_KEY, value={"max_age": "2d"}, expect="absent")])
        self._has_retention = True

    def _write(self, values: dict[str, Any]) -> None:
        """Write measured values to keys below `computer.`."""
        members: list[Any] = [
            Set(key="computer." + key, value=value) for key, value in values.items()
        ]
        self._submit(members)

    def _submit(self, members: list[Any]) -> None:
        """Write the measurements by a batch, as everybody writes."""
        self._writer.submit(
            Attempt(token_hex(8), ACTOR, "batch", b"", Batch(commands=members), has_sender_id=False)
        )


class ReportedFailures:
    """Failures to measure, each logged once, not every second."""

    def __init__(self) -> None:
        """No failure to measure was logged yet."""
        self._reported: set[str] = set()

    def report(self, what: str, error: Exception) -> None:
        """Log a failed measurement, once for each thing that is measured."""
        if what not in self._reported:
            self._reported.add(what)
            logger.warning("%s could not be measured and is tried again: %s.", what, reason(error))


class Measurement:
    """Measurements by psutil; rates are those since the previous measurement.

    What cannot be measured is left out: not every computer or container has everything.
    """

    def __init__(self) -> None:
        """No measurement was made yet: the first one has no rates."""
        self._failures = ReportedFailures()
        self._counters: dict[str, float] = {}
        self._at = monotonic()

    def read(self) -> dict[str, Any]:
        """Measure all: by key (without `computer.`). Percent, GB (1e9 bytes), kB/s, seconds."""
        measured: dict[str, Any] = {}
        for part in (*_LEVELS, self._rates):
            try:
                measured |= part()
            except Exception as error:  # noqa: BLE001 - logged; psutil raises of many kinds
                self._failures.report(f"This computer's {part.__name__.strip('_')}", error)
        return measured

    def _rates(self) -> dict[str, float]:
        """What network and disk have transferred since the last measurement, in KB/s."""
        now, before, self._counters = monotonic(), self._counters, _counters()
        seconds, self._at = max(now - self._at, 0.001), now
        return {
            name + "_kb": round((count - before[name]) / seconds / KB, 1)
            for name, count in self._counters.items()
            if name in before
        }


def _memory() -> dict[str, float]:
    """Memory in use, in percent, and what is left of it."""
    memory = psutil.virtual_memory()
    return {
        "memory.percent": memory.percent,
        "memory.available_gb": round(memory.available / GB, 2),
    }


def _swap() -> dict[str, float]:
    """Swap space in use, in percent."""
    return {"swap.percent": psutil.swap_memory().percent}


def _disk() -> dict[str, float]:
    """Disk space in use, in percent, and what is left of it."""
    disk = psutil.disk_usage("/")
    return {"disk.percent": disk.percent, "disk.free_gb": round(disk.free / GB, 2)}


def _processor() -> dict[str, float | None]:
    """Load of the processor and of each of its cores, in percent, since the last measurement."""
    levels = {"cpu.percent": psutil.cpu_percent(), "cpu.count": psutil.cpu_count()}
    for number, percent in enumerate(psutil.cpu_percent(percpu=True)):
        levels[f"cpu.core{number}.percent"] = percent
    return levels


def _load() -> dict[str, float]:
    """The system's load averages."""
    averages = zip((1, 5, 15), psutil.getloadavg(), strict=True)
    return {f"load.{minutes}min": round(load, 2) for minutes, load in averages}


def _processes() -> dict[str, int]:
    """The number of processes of this computer."""
    return {"processes": len(psutil.pids())}


def _start() -> dict[str, int]:
    """When this computer was started, in seconds since 1970."""
    return {"started": int(psutil.boot_time())}


def _battery() -> dict[str, Any]:
    """How full the battery is, in percent, and whether it is plugged in, where there is one."""
    read: Callable[[], Any] | None = getattr(psutil, "sensors_battery", None)
    charge = read() if read else None
    if not charge:
        return {}
    return {
        "battery.percent": round(charge.percent, 1),
        "battery.plugged": bool(charge.power_plugged),
    }


def _temperature() -> dict[str, float]:
    """Temperature of the hottest sensor, if there is one."""
    sensors: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    degrees = [entry.current for entries in sensors.values() for entry in entries if entry.current]
    return {"cpu.temperature": max(degrees)} if degrees else {}


def _counters() -> dict[str, float]:
    """What network and disk have transferred since this computer was started, in bytes."""
    network, disk = psutil.net_io_counters(), psutil.disk_io_counters()
    counters: dict[str, float] = {}
    if network:
        counters |= {"network.received": network.bytes_recv, "network.sent": network.bytes_sent}
    if disk:
        counters |= {"disk.read": disk.read_bytes, "disk.written": disk.write_bytes}
    return counters


_LEVELS: Final = (
    _memory,
    _swap,
    _disk,
    _processor,
    _load,
    _processes,
    _start,
    _battery,
    _temperature,
)
