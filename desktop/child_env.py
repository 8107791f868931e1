"""Programs that are not ours, such as a file viewer or the command of `signalbox run`."""

import os
import sys
from collections.abc import Mapping
from typing import Final

LIBRARIES: Final = "LD_LIBRARY_PATH"
LOADERS: Final = "_PYI_"


def environment(ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Theirs, without what the bundle's loader has put into ours: its libraries are our own."""
    if not getattr(sys, "frozen", False):
        return dict(ours)
    theirs = {name: value for name, value in ours.items() if not name.startswith(LOADERS)}
    theirs.pop(LIBRARIES, None)
    if (before := theirs.pop(f"{LIBRARIES}_ORIG", None)) is not None:
        theirs[LIBRARIES] = before
    return theirs
