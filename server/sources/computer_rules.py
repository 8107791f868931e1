"""Rules that describe the keys of *this computer*: titles and units, and no bounds, which
could refuse what it measures.
"""

from typing import Any, Final

from signalbox.server.model.keys import RULES

_DESCRIPTIONS: Final = (
    ("cpu.percent", "Processor load", "%"),
    ("cpu.core*.percent", "Load of one core", "%"),
    ("cpu.count", "Processor cores", None),
    ("cpu.temperature", "Hottest sensor", "°C"),
    ("memory.percent", "Memory in use", "%"),
    ("memory.available_gb", "Memory available", "GB"),
    ("swap.percent", "Swap space in use", "%"),
    ("disk.percent", "Disk space in use", "%"),
    ("disk.free_gb", "Disk space free", "GB"),
    ("disk.read_kb", "Read from disk", "kB/s"),
    ("disk.written_kb", "Written to disk", "kB/s"),
    ("network.received_kb", "Received from the network", "kB/s"),
    ("network.sent_kb", "Sent to the network", "kB/s"),
    ("load.1min", "Load average, 1 minute", None),
    ("load.5min", "Load average, 5 minutes", None),
    ("load.15min", "Load average, 15 minutes", None),
    ("processes", "Processes", None),
    ("started", "Started, in seconds since 1970", "s"),
    ("battery.percent", "Battery", "%"),
    ("battery.plugged", "Plugged in", None),
)
"""The end of a pattern below `computer.`, the title and the unit of its keys."""


def describing_rules() -> dict[str, Any]:
    """The rules by their keys."""
    rules: dict[str, Any] = {}
    for pattern, title, unit in _DESCRIPTIONS:
        schema = {"title": title, "readOnly": True} | ({"unit": unit} if unit else {})
        name = f"computer.{pattern.replace('*', 's')}"
        rules[RULES + name] = {"match": f"computer.{pattern}", "schema": schema}
    return rules
