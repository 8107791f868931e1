"""The app's own settings: which keys exist under `_signalbox.` and which values they take."""

from typing import Any, Final, Literal

import msgspec

from server.errors import Invalid, quoted
from server.keys import RESERVED


class ComputerSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`every` is in seconds."""

    enabled: bool = False
    every: float = 1.0

    def __post_init__(self) -> None:
        if not 0.1 <= self.every <= 3600:
            raise ValueError("every is allowed from 0.1 to 3600 seconds")


class WindowGeometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In pixels of the desktop."""

    x: int
    y: int
    width: int
    height: int
    maximized: bool = False


Theme = Literal["system", "light", "dark"]

COMPUTER: Final = "_signalbox.sources.computer"
SETTINGS: Final[dict[str, Any]] = {
    COMPUTER: ComputerSetting,
    "_signalbox.theme": Theme,
    "_signalbox.window.geometry": WindowGeometry,
    "_signalbox.window.raise": int,
}

_ALLOWED: Final = {
    COMPUTER: 'an object with "enabled", true or false, and "every", seconds from 0.1 to 3600',
    "_signalbox.theme": '"system", "light" or "dark"',
    "_signalbox.window.geometry": (
        'an object with the integers "x", "y", "width" and "height" and "maximized", true or false'
    ),
    "_signalbox.window.raise": "an integer",
}


def check_setting(key: str, value: Any) -> None:
    """Raises `Invalid` for a value that the app cannot use; keys outside `_signalbox.` are free."""
    if not key.startswith(RESERVED):
        return
    if key not in SETTINGS:
        raise Invalid(
            f"The key {key} is no setting of the app; there are {', '.join(SETTINGS)}.", key=key
        )
    try:
        msgspec.convert(value, SETTINGS[key])
    except msgspec.ValidationError as error:
        raise Invalid(
            f"The value of {key} is {quoted(value)}; allowed is {_ALLOWED[key]}.", key=key
        ) from error
