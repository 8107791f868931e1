"""Measures this computer: load, memory, disk and network."""

from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import psutil

from signalbox.server.sources.reported_failures import ReportedFailures

GB: Final = 1e9
KB: Final = 1e3


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
