"""Every setting of the server: name, parser, default and help, in one table."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import platformdirs

from signalbox.server.engines.address import AddressError, read_address
from signalbox.server.model.errors import StoreError
from signalbox.server.model.numbers import decimal, whole

BODY_SECONDS: Final = 30.0
"""No setting: between two parts of a request's body, and for the rest of a request. The command
line names it where an import has paused for longer."""


class Setting(NamedTuple):
    """`--name` on the command line, `SIGNALBOX_NAME` in the environment."""

    name: str
    parse: Callable[[str], Any]
    default: Any
    help: str

    @property
    def is_flag(self) -> bool:
        """Whether the setting's option takes no value."""
        return self.parse is _parse_boolean

    @property
    def variable(self) -> str:
        """The environment variable of the setting."""
        return "SIGNALBOX_" + self.name.upper()

    @property
    def option(self) -> str:
        """The command line option of the setting."""
        return "--" + self.name.replace("_", "-")


class Settings(NamedTuple):
    data_dir: Path
    port: int
    engine: str | None
    require_durable: bool
    linger: float | None
    max_connections: int
    log: Path | None


def default_data_dir() -> Path:
    """The user's data directory for Signalbox."""
    return Path(platformdirs.user_data_dir("signalbox", appauthor=False))


def command_line(data_dir: Path, *arguments: str, program: Sequence[str] = ("signalbox",)) -> str:
    """The command line by which the `program` does something with a data directory."""
    chosen = [] if data_dir == default_data_dir() else ["--data-dir", str(data_dir)]
    return shell_command(*program, *chosen, *arguments)


def shell_command(*words: str) -> str:
    """The command line of these words, quoted for the shell of this system."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _parse_folder(text: str) -> Path:
    """A setting that names a folder."""
    path = Path(text).expanduser().absolute()
    str(path).encode()  # SQLite opens no other path
    return path


def _parse_file(text: str) -> Path:
    """A setting that names a file. Raises `ValueError` where no file has such a name."""
    if "\0" in text:
        raise ValueError
    return Path(text).expanduser().absolute()


def _parse_port(text: str) -> int:
    """The setting `port`, from 0 to 65535."""
    return whole(text, most=65535)


def _parse_engine(text: str) -> str:
    """The setting `engine`: a local log, or the address of a shared one."""
    if text not in ("sqlite", "memory"):
        read_address(text)
    return text


def _parse_boolean(text: str) -> bool:
    """A setting that is on or off."""
    if text.lower() not in ("0", "1", "false", "true", "no", "yes"):
        raise ValueError
    return text.lower() in ("1", "true", "yes")


def _parse_count(text: str) -> int:
    """A setting that is a count, of 1 at least."""
    return whole(text, least=1)


TABLE: Final = (
    Setting(
        "data_dir",
        _parse_folder,
        None,
        "Folder of the store; by default the user's data directory.",
    ),
    Setting(
        "port", _parse_port, 0, "Port on 127.0.0.1; 0 takes the last one again, or any free one."
    ),
    Setting(
        "engine",
        _parse_engine,
        None,
        "Where the event log lives: sqlite, memory (gone with the server), nats://HOST:PORT/STREAM "
        "or redis://HOST:PORT/DB?stream=NAME (tls:// and rediss:// encrypted). By default the one "
        "last used here, sqlite for a new folder.",
    ),
    Setting(
        "require_durable",
        _parse_boolean,
        False,
        "1 refuses an engine that may lose what was accepted: no fsync before, and no quorum.",
    ),
    Setting(
        "linger",
        decimal,
        None,
        "Seconds to wait before ending, once unused.",
    ),
    Setting(
        "max_connections", _parse_count, 4096, "Connections open at once; one more is answered 429."
    ),
    Setting(
        "log",
        _parse_file,
        None,
        "File of the log, instead of stderr; beyond 1 MiB it becomes the old log, of which one is "
        "kept.",
    ),
)


_ALLOWED: Final = {
    "data_dir": "is a folder whose path is UTF-8; ~name must be a user of this computer",
    "port": "are 0 to 65535; 0 takes the last one again, or any free one",
    "require_durable": "are 0, 1, false, true, no and yes",
    "linger": "are seconds from 0 on, such as 2 or 0.5",
    "max_connections": "is an integer from 1",
    "log": "is a file; ~name must be a user of this computer",
}
"""The allowed values of each setting, for its error."""


def read_settings(given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings: as `given` (by name, None where not), else by environment, else the default.

    Raises `StoreError` naming the setting, the value and what is allowed.
    """
    values = {
        setting.name: _setting_value(setting, given.get(setting.name), environ) for setting in TABLE
    }
    values["data_dir"] = values["data_dir"] or default_data_dir()
    return Settings(**values)


def _setting_value(setting: Setting, option: Any, environ: Mapping[str, str]) -> Any:
    """A setting's value by option, environment variable or default. Raises `StoreError`."""
    text = environ.get(setting.variable) if option is None else str(option)
    # An unset variable in a script would choose another store.
    if option == "" or (setting.name == "data_dir" and text == ""):
        raise StoreError(f"The setting {setting.name} is empty: {setting.help}")
    if not text:
        return setting.default
    try:
        return setting.parse(text)
    except AddressError as error:
        raise StoreError(f"The setting {setting.name}: {error}.") from None
    except (ValueError, RuntimeError):  # the latter where nobody has the home ~name
        setting_is = f"The setting {setting.name} is {text[:80]!r}"
        raise StoreError(f"{setting_is}; allowed {_ALLOWED[setting.name]}.") from None
