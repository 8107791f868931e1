"""Signalbox: the client for scripts is what `import signalbox` offers, the program what is below.

The client is loaded once a name of it is wanted, since a server must be able to begin without it.
"""

from importlib import import_module
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from signalbox.client import (
        AsyncBox,
        Batch,
        Box,
        Change,
        Conflict,
        Difference,
        Endpoint,
        Interlocked,
        Knob,
        Mirror,
        NotFound,
        NotRunning,
        Rejected,
        RuleBroken,
        Stranger,
        Version,
        Violation,
        Watch,
        connect,
        default_data_dir,
        find,
        start_server,
    )

__all__ = [
    "AsyncBox",
    "Batch",
    "Box",
    "Change",
    "Conflict",
    "Difference",
    "Endpoint",
    "Interlocked",
    "Knob",
    "Mirror",
    "NotFound",
    "NotRunning",
    "Rejected",
    "RuleBroken",
    "Stranger",
    "Version",
    "Violation",
    "Watch",
    "connect",
    "default_data_dir",
    "find",
    "start_server",
]

_HERE = Path(__file__).parent
if not (_HERE / "server").exists():  # a checkout has the program's parts beside this folder
    __path__.append(str(_HERE.parent))


def main() -> int:
    """`signalbox`, the program; its exit status. See `signalbox.desktop`."""
    from signalbox.desktop.__main__ import main as program  # noqa: PLC0415 - `import signalbox` needs none of it

    return program()


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("signalbox.client"), name)
