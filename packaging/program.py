"""Where the bundled program begins."""

import os
import sys

LIBRARIES = "LD_LIBRARY_PATH"


def give_back(environ: dict[str, str] | os._Environ[str]) -> None:
    """Undo what the bundle's loader did for this process alone.

    It made the bundle's libraries those of every program that we start: a file viewer, or the
    command of `signalbox run`, would find the wrong ones. Our own were found before this line.
    """
    before = environ.pop(f"{LIBRARIES}_ORIG", None)
    environ.pop(LIBRARIES, None)
    if before is not None:
        environ[LIBRARIES] = before


if __name__ == "__main__":
    if sys.platform == "linux":
        give_back(os.environ)
    from desktop.__main__ import main

    sys.exit(main())
