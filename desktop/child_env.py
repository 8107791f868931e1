"""The environment of programs that are not ours, such as a file viewer or what `run` starts."""

import os
import sys
from collections.abc import Mapping
from typing import Final

LIBRARY_PATH: Final = "LD_LIBRARY_PATH"
LOADER_PREFIX: Final = "_PYI_"


def environment(own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """A copy without the variables of the bundle's loader (PyInstaller): they lead to our own
    libraries, which other programs must not load.
    """
    if not getattr(sys, "frozen", False):
        return dict(own)
    child = {name: value for name, value in own.items() if not name.startswith(LOADER_PREFIX)}
    child.pop(LIBRARY_PATH, None)
    if (original := child.pop(f"{LIBRARY_PATH}_ORIG", None)) is not None:
        child[LIBRARY_PATH] = original
    return child
