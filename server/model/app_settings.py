"""The app's own settings: which keys exist under `_signalbox.` and which values they take."""

import re
from typing import Any, Final, Literal

import msgspec

from signalbox.server.model.errors import Invalid, quoted
from signalbox.server.model.keys import RESERVED, RULES
from signalbox.server.model.rule_records import check_rule

_UNITS: Final = {
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 7 * 86_400_000,
    "y": 365 * 86_400_000,
}
_AGE: Final = re.compile(r"[0-9]{1,6}[smhdwy]")
_NUMBER: Final = "[2-9]|[1-9][0-9]{1,2}"
_NODE: Final = "[A-Za-z0-9-]{10,24}"
_WINDOW_SUFFIX: Final = re.compile(rf"(?:{_NODE})(?:\.(?:{_NUMBER}))?|{_NUMBER}")
"""Suffix of a further window's key: its number, or a node's id and perhaps a number."""


class ComputerSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`every` is in seconds. `node` is the computer's node, where several share a store."""

    enabled: bool = False
    every: float = 1.0
    node: str | None = None

    def __post_init__(self) -> None:
        """Check how often the source is to measure the computer."""
        if not 0.1 <= self.every <= 3600:
            raise ValueError("every is allowed from 0.1 to 3600 seconds")


class WindowGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Position and size in pixels of the desktop."""

    x: int
    y: int
    width: int
    height: int
    maximized: bool = False


class RetentionSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`max_age`: a number with its unit, such as 2d; null keeps for ever."""

    max_age: str | None

    def __post_init__(self) -> None:
        """Check the age from which on the setting lets changes be removed."""
        if self.max_age is not None and not _AGE.fullmatch(self.max_age):
            raise ValueError("max_age is a number and a unit")


def age_milliseconds(age: str) -> int:
    """The milliseconds of an age in a retention setting, such as `90s`, `36h` or `2d`."""
    return int(age[:-1]) * _UNITS[age[-1]]


Theme = Literal["system", "light", "dark"]

COMPUTER: Final = "_signalbox.sources.computer"
RETENTION: Final = "_signalbox.retention"
"""Retention of all keys; followed by a dot and a prefix, of those below the prefix."""
GEOMETRY: Final = "_signalbox.window.geometry"
"""Geometry of the first window; followed by a dot and a number from 2, of another one.

Where several nodes share a store, a dot and the node's id come before that.
"""
SETTINGS: Final[dict[str, Any]] = {
    COMPUTER: ComputerSetting,
    RETENTION: RetentionSetting,
    "_signalbox.theme": Theme,
    GEOMETRY: WindowGeometry,
    "_signalbox.window.raise": int,
}

PORTABLE: Final = (
    RETENTION,
    RETENTION + ".**",
    RULES + "**",
    COMPUTER.rpartition(".")[0] + ".**",
    "_signalbox.theme",
)
"""Patterns of the settings that go with the keys to another store; windows stay where they are."""

_ALLOWED: Final = {
    COMPUTER: 'an object with "enabled", true or false, and "every", seconds from 0.1 to 3600',
    RETENTION: (
        'an object with "max_age", null or a number with one of the units s, m, h, d, w and y, '
        'such as "2d"'
    ),
    "_signalbox.theme": '"system", "light" or "dark"',
    GEOMETRY: (
        'an object with the integers "x", "y", "width" and "height" and "maximized", true or false'
    ),
    "_signalbox.window.raise": "an integer",
}


def check_setting(key: str, value: Any) -> None:
    """Raises `Invalid` for a value that the app cannot use; keys outside `_signalbox.` are free."""
    if not key.startswith(RESERVED):
        return
    if key.startswith(RULES):
        check_rule(key, value)
        return
    name = _setting_name(key)
    if name not in SETTINGS:
        names = ", ".join(
            [*SETTINGS, RETENTION + ".<prefix>", GEOMETRY + ".<number>", RULES + "<name>"]
        )
        raise Invalid(f"The key {key} is no setting of the app; there are {names}.", key=key)
    try:
        msgspec.convert(value, SETTINGS[name])
    except msgspec.ValidationError as error:
        raise Invalid(
            f"The value of {key} is {quoted(value)}; allowed is {_ALLOWED[name]}.", key=key
        ) from error


def _setting_name(key: str) -> str:
    """The name in `SETTINGS` of the setting that the key is."""
    if key.startswith(RETENTION + "."):
        return RETENTION
    is_place = key.startswith(GEOMETRY + ".") and _WINDOW_SUFFIX.fullmatch(key, len(GEOMETRY) + 1)
    return GEOMETRY if is_place else key
