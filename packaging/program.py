"""Where the bundled program begins."""

import os
import sys

LIBRARIES = "LD_LIBRARY_PATH"
LOADERS = "_PYI_"


def give_back(environ: dict[str, str] | os._Environ[str]) -> None:
    """Undo what the bundle's loader did for this process alone.

    It made the bundle's libraries those of every program that we start: a file viewer, or the
    command of `signalbox run`, would find the wrong ones. Our own are found all the same, as the
    loader reads that once. A server that we start is made to begin anew: else it would rely on it.
    """
    for name in [name for name in environ if name.startswith(LOADERS)]:
        del environ[name]
    before = environ.pop(f"{LIBRARIES}_ORIG", None)
    environ.pop(LIBRARIES, None)
    if before is not None:
        environ[LIBRARIES] = before


if __name__ == "__main__":
    if sys.platform == "linux":
        give_back(os.environ)
    from desktop.__main__ import main

    sys.exit(main())
