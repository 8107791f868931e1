"""A store moves: copied, compared, and the data directory says where its log is from now on."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self

from signalbox.server.engines.shared_log import LogMetadata, shared_log
from signalbox.server.migration.comparing import differences
from signalbox.server.migration.copying import Progress, copy, measure
from signalbox.server.migration.locations import (
    File,
    Log,
    Place,
    Remote,
    read_place,
)
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.settings import command_line
from signalbox.server.store.data_dir import STORE_FILE, lock_data_dir
from signalbox.server.store.open_checks import check_exists


class Moved(NamedTuple):
    """`follows` is where the data directory has its log now, as it is shown; None: it has none.

    `behind` counts revisions that the source has got meanwhile: nothing was settled then.
    """

    source: str
    target: str
    store: str
    revisions: int
    copied: int
    problems: list[str]
    behind: int
    follows: str | None
    is_led: bool
    """Whether that is new."""
    is_ours: bool
    """Whether the data directory has had its log at the source, or is the target."""


class Migration:
    """In a `with` block: `measure`, `copy`, `compare`, `settle`.

    Holds the lock of a folder that has a store, or is to have one.
    """

    def __init__(self, data_dir: Path, target: str, source: str | None) -> None:
        """Raises `AddressError`."""
        self._data_dir = data_dir
        self._stack = ExitStack()
        self._home: File | None = None
        self.to = read_place(target, data_dir)
        self._given = source and read_place(source, data_dir)
        self._copied = self._revision = 0
        self._problems: list[str] = []

    def __enter__(self) -> Self:
        """Raises `StoreInUse`, `StoreError`, `Unavailable`."""
        with ExitStack() as stack:
            source = self._given.folder if self._given else self._data_dir
            if source is not None:  # else a mistyped one would be made
                check_exists(source / STORE_FILE)
            has_store = (self._data_dir / STORE_FILE).exists()
            if has_store or self._is_target:
                stack.callback(lock_data_dir(self._data_dir).release)
            if has_store:
                self._home = File(self._data_dir, None, "sqlite")
                stack.callback(self._home.close)
            self.source = self._given or read_place(self._followed or "sqlite", self._data_dir)
            self._from = self._open_source(stack)
            self._to = self._from
            if not self.is_there_already:
                self._to = self._open(stack, self.to, self._from.metadata)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def is_there_already(self) -> bool:
        """Whether source and target are one place."""
        return self.source.shown == self.to.shown

    def measure(self, progress: Progress) -> None:
        """See whether the target takes everything. Raises as `copying.measure`."""
        if not self.is_there_already:
            measure(self._from, self._to, progress)

    def copy(self, progress: Progress) -> None:
        """Bring the target to where the source is. Raises as `copying.copy`."""
        before = self._to.last_revision()
        self._revision = self._from.last_revision()
        if not self.is_there_already:
            self._revision = copy(self._from, self._to, progress)
        self._copied = self._revision - before

    def compare(self, progress: Progress) -> None:
        """Read both from their beginnings and see what differs."""
        if self.is_there_already:
            return
        with TemporaryDirectory(prefix="signalbox-") as folder:
            self._problems = differences(
                self._from, self._to, self._revision, Path(folder), progress
            )

    def settle(self) -> Moved:
        """Let the data directory say where its log is, where it has had the source's so far."""
        behind = self._from.last_revision() - self._revision
        before, is_ours = self._followed, self._is_source or self._is_target
        if not (behind or self._problems):
            self._lead()
        return Moved(
            self.source.shown,
            self.to.shown,
            self._from.metadata.store,
            self._revision,
            self._copied,
            self._problems,
            behind,
            self._follows(),
            self._followed != before,
            is_ours,
        )

    @property
    def _followed(self) -> str | None:
        return self._home.database.meta("engine") if self._home else None

    @property
    def _is_target(self) -> bool:
        return self.to.folder == self._data_dir

    @property
    def _is_source(self) -> bool:
        return self.source.folder == self._data_dir or self.source.shown == self._follows()

    def _lead(self) -> None:
        if self._home is None:
            return
        if self._is_target:
            self._home.database.set_log_address(None)
        elif self._is_source and self.to.address is not None:
            self._home.database.set_log_address(self.to.text)

    def _follows(self) -> str | None:
        if self._home is None:
            return None
        return read_place(self._followed or "sqlite", self._data_dir).shown

    def _open_source(self, stack: ExitStack) -> Log:
        """Where the log that the data directory follows is away, say what its replica is good for.

        Raises as `_open`.
        """
        try:
            return self._open(stack, self.source, None)
        except (StoreError, Unavailable) as error:
            if self._given or self._home is None:
                raise
            instead = command_line(
                self._data_dir, "migrate", "--from", "sqlite", "--to", self.to.shown
            )
            raise type(error)(
                f"{error} What this data directory has of it, up to revision "
                f"{self._home.last_revision()}, can be moved instead: {instead}"
            ) from error

    def _open(self, stack: ExitStack, place: Place, metadata: LogMetadata | None) -> Log:
        opened: Log
        if place.address is not None:
            opened = Remote(shared_log(place.address), metadata)
            stack.callback(opened.close)
        elif place.folder == self._data_dir and self._home is not None:
            if metadata is not None:
                self._home.found(metadata)
            return self._home
        else:
            assert place.folder is not None
            if place.folder != self._data_dir:
                stack.callback(lock_data_dir(place.folder).release)
            opened = self._file(place.folder, metadata, place.shown)
            stack.callback(opened.close)
        return opened

    def _file(self, folder: Path, metadata: LogMetadata | None, shown: str) -> File:
        opened = File(folder, metadata, shown)
        if metadata is not None and (followed := opened.database.meta("engine")):
            opened.close()
            raise StoreError(
                f"{folder} is a replica of the log at {read_place(followed, folder).shown}. Choose "
                "a new folder."
            )
        return opened
