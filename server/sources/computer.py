"""The source *this computer*: load, memory, disk and network as keys, written as anybody writes."""

from collections.abc import Callable, Sequence
from secrets import token_hex
from time import monotonic
from typing import Any, Final

import gevent
import msgspec
import psutil
from gevent.event import Event
from gevent.threadpool import ThreadPool

from server.commands import Attempt, Batch, Set
from server.events import Transaction
from server.feed import Feed
from server.outcomes import Outcome
from server.readmodel import ReadModel
from server.reserved import COMPUTER, ComputerSetting
from server.writer import Writer

ACTOR: Final = "computer"
GB: Final = 1e9
KB: Final = 1e3


class ComputerSource:
    """Follows its setting; while enabled it submits one batch every so many seconds."""

    def __init__(self, readmodel: ReadModel, feed: Feed, writer: Writer) -> None:
        self._readmodel = readmodel
        self._writer = writer
        self._switched = Event()
        # psutil remembers for each thread what it read last: all readings are one thread's.
        self._thread = ThreadPool(1)
        feed.listen(self._notice)
        self._greenlet = gevent.spawn(self._run)

    def close(self) -> None:
        self._greenlet.kill()
        self._thread.kill()

    def _notice(self, transactions: Sequence[Transaction], _: Sequence[Outcome]) -> None:
        if any(change.key == COMPUTER for one in transactions for change in one.changes):
            self._switched.set()

    def _setting(self) -> ComputerSetting:
        item = self._readmodel.get(COMPUTER)
        return msgspec.json.decode(item.raw, type=ComputerSetting) if item else ComputerSetting()

    def _run(self) -> None:
        measure = Measurement()
        while True:
            setting = self._setting()
            if setting.enabled:
                self._write(self._thread.apply(measure.take))
            self._switched.wait(setting.every if setting.enabled else None)
            self._switched.clear()

    def _write(self, values: dict[str, Any]) -> None:
        members: list[Any] = [
            Set(key="computer." + key, value=value) for key, value in values.items()
        ]
        self._writer.submit(
            Attempt(token_hex(8), ACTOR, "batch", b"", Batch(commands=members), chosen_id=False)
        )


class Measurement:
    """Readings of psutil; rates are those since the reading before."""

    def __init__(self) -> None:
        self._counters: dict[str, float] = {}
        self._at = monotonic()

    def take(self) -> dict[str, Any]:
        """From key (without `computer.`) to value. Percent, GB (1e9 bytes), kB/s, seconds."""
        now, before, self._counters = monotonic(), self._counters, _counters()
        seconds, self._at = max(now - self._at, 0.001), now
        rates = {
            name + "_kb": round((count - before[name]) / seconds / KB, 1)
            for name, count in self._counters.items()
            if name in before
        }
        return _levels() | rates


def _levels() -> dict[str, Any]:
    memory, swap, disk = psutil.virtual_memory(), psutil.swap_memory(), psutil.disk_usage("/")
    levels = {
        "cpu.percent": psutil.cpu_percent(),
        "cpu.count": psutil.cpu_count(),
        "memory.percent": memory.percent,
        "memory.available_gb": round(memory.available / GB, 2),
        "swap.percent": swap.percent,
        "disk.percent": disk.percent,
        "disk.free_gb": round(disk.free / GB, 2),
        "processes": len(psutil.pids()),
        "started": int(psutil.boot_time()),
    }
    for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
        levels[f"load.{minutes}min"] = round(load, 2)
    for number, percent in enumerate(psutil.cpu_percent(percpu=True)):
        levels[f"cpu.core{number}.percent"] = percent
    return levels | _sensors()


def _sensors() -> dict[str, Any]:
    """What only some computers have."""
    found: dict[str, Any] = {}
    battery: Callable[[], Any] | None = getattr(psutil, "sensors_battery", None)
    if battery and (charge := battery()):
        found |= {
            "battery.percent": round(charge.percent, 1),
            "battery.plugged": bool(charge.power_plugged),
        }
    temperatures: dict[str, Any] = getattr(psutil, "sensors_temperatures", dict)()
    hottest = [
        entry.current for entries in temperatures.values() for entry in entries if entry.current
    ]
    return found | ({"cpu.temperature": max(hottest)} if hottest else {})


def _counters() -> dict[str, float]:
    network, disk = psutil.net_io_counters(), psutil.disk_io_counters()
    counters: dict[str, float] = {}
    if network:
        counters |= {"network.received": network.bytes_recv, "network.sent": network.bytes_sent}
    if disk:
        counters |= {"disk.read": disk.read_bytes, "disk.written": disk.write_bytes}
    return counters
