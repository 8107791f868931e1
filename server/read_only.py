"""A store that lies where nothing can be written: what reads it works on a copy of its files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from server import storefile
from server.errors import StoreError
from server.failures import reason


def is_read_only(store: Path) -> bool:
    """Whether there is a store, and SQLite could not open it as it does: it writes files beside."""
    files = [store.parent, *(file for file in _files(store) if file.exists())]
    return store.exists() and not all(os.access(file, os.W_OK) for file in files)


@contextmanager
def copied(store: Path) -> Iterator[Path]:
    """A copy of the store in a temporary folder that goes afterwards.

    Of both files: what an open that takes the store for immutable leaves out stands in the second.
    Raises `StoreError` where there is no room for it.
    """
    storefile.check_kind(store)
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="signalbox-")))
            for file in _files(store):
                if file.exists():
                    shutil.copyfile(file, folder / file.name)
        except OSError as error:
            raise StoreError(
                f"{store} is read-only, and a copy to read it from cannot be made in "
                f"{gettempdir()}: {reason(error)}. The environment variable TMPDIR chooses another "
                "folder."
            ) from error
        yield folder / store.name


def _files(store: Path) -> tuple[Path, Path]:
    return store, store.with_name(store.name + "-wal")
