"""Move a store: copy it, compare the copy, and record in the data directory where its log is."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Self

from signalbox.server.engines.shared_log import LogMetadata, shared_log
from signalbox.server.migration.comparing import differences
from signalbox.server.migration.copying import Progress, check_sizes, copy
from signalbox.server.migration.locations import (
    LocalLog,
    Location,
    MigrationLog,
    RemoteLog,
    parse_location,
)
from signalbox.server.model.errors import StoreError, Unavailable
from signalbox.server.settings import command_line
from signalbox.server.store.checks_before_opening import check_exists
from signalbox.server.store.data_dir import lock_data_dir
from signalbox.server.store.file_names import STORE_FILE


class MigrationResult(NamedTuple):
    """The result of a migration, with the names of locations.

    `log_location` is where the log of the data directory's store is now; None: there is no store.
    `new_revisions` counts those that the source has got meanwhile: then nothing was switched.
    """

    source: str
    target: str
    store: str
    revisions: int
    copied: int
    problems: list[str]
    new_revisions: int
    log_location: str | None
    is_log_moved: bool
    """Whether this migration has changed `log_location`."""
    concerns_data_dir: bool
    """Whether the data directory's log was at the source, or it is the target."""


class Migration:
    """In a `with` block call `check_sizes`, `copy`, `compare`, `switch`, in this order.

    Holds the lock of each folder that has a store of the migration, or will have one.
    """

    def __init__(self, data_dir: Path, target: str, source: str | None) -> None:
        """A migration from `source`, None: the log in use, to `target`. Raises `AddressError`."""
        self._data_dir = data_dir
        self._stack = ExitStack()
        self._own_log: LocalLog | None = None
        self.to = parse_location(target, data_dir)
        self._given_source = source and parse_location(source, data_dir)
        self._copied = self._revision = 0
        self._problems: list[str] = []

    def __enter__(self) -> Self:
        """Open both logs of the migration. Raises `StoreInUse`, `StoreError`, `Unavailable`."""
        with ExitStack() as stack:
            source = self._given_source.folder if self._given_source else self._data_dir
            if source is not None:  # else a mistyped one would be created
                check_exists(source / STORE_FILE)
            has_store = (self._data_dir / STORE_FILE).exists()
            if has_store or self._is_target:
                stack.callback(lock_data_dir(self._data_dir).release)
            if has_store:
                self._own_log = LocalLog(self._data_dir, None, "sqlite")
                stack.callback(self._own_log.close)
            self.source = self._given_source or parse_location(
                self._followed or "sqlite", self._data_dir
            )
            self._source_log = self._open_source(stack)
            self._target_log = self._source_log
            if not self.is_same_place:
                self._target_log = self._open(stack, self.to, self._source_log.metadata)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Close both logs of the migration."""
        self._stack.close()

    @property
    def is_same_place(self) -> bool:
        """Whether the log is to be moved to where it is."""
        return self.source.name == self.to.name

    def check_sizes(self, progress: Progress) -> None:
        """Check that the target takes every transaction. Raises as `copying.check_sizes`."""
        if not self.is_same_place:
            check_sizes(self._source_log, self._target_log, progress)

    def copy(self, progress: Progress) -> None:
        """Copy to the target what the source has after it. Raises as `copying.copy`."""
        before = self._target_log.last_revision()
        self._revision = self._source_log.last_revision()
        if not self.is_same_place:
            self._revision = copy(self._source_log, self._target_log, progress)
        self._copied = self._revision - before

    def compare(self, progress: Progress) -> None:
        """Read both logs from their beginnings and compare them."""
        if self.is_same_place:
            return
        with TemporaryDirectory(prefix="signalbox-") as folder:
            self._problems = differences(
                self._source_log, self._target_log, self._revision, Path(folder), progress
            )

    def switch(self) -> MigrationResult:
        """Record the target as the data directory's log, where that was at the source."""
        new_revisions = self._source_log.last_revision() - self._revision
        before, concerns_data_dir = self._followed, self._is_source or self._is_target
        if not (new_revisions or self._problems):
            self._set_log_address()
        return MigrationResult(
            self.source.name,
            self.to.name,
            self._source_log.metadata.store,
            self._revision,
            self._copied,
            self._problems,
            new_revisions,
            self._log_location(),
            self._followed != before,
            concerns_data_dir,
        )

    @property
    def _followed(self) -> str | None:
        """The address of the log that this data directory follows; None where it is local."""
        return self._own_log.database.meta("engine") if self._own_log else None

    @property
    def _is_target(self) -> bool:
        """Whether the log is copied into this data directory."""
        return self.to.folder == self._data_dir

    @property
    def _is_source(self) -> bool:
        """Whether the log is copied from this data directory, or from the one it follows."""
        return self.source.folder == self._data_dir or self.source.name == self._log_location()

    def _set_log_address(self) -> None:
        """Record the target's address in the data directory's store."""
        if self._own_log is None:
            return
        if self._is_target:
            self._own_log.database.set_log_address(None)
        elif self._is_source and self.to.address is not None:
            self._own_log.database.set_log_address(self.to.text)

    def _log_location(self) -> str | None:
        """Where the log of this data directory is before the move."""
        if self._own_log is None:
            return None
        return parse_location(self._followed or "sqlite", self._data_dir).name

    def _open_source(self, stack: ExitStack) -> MigrationLog:
        """The error of an unavailable log says that the data directory's replica can be moved.

        Raises as `_open`.
        """
        try:
            return self._open(stack, self.source, None)
        except (StoreError, Unavailable) as error:
            if self._given_source or self._own_log is None:
                raise
            instead = command_line(
                self._data_dir, "migrate", "--from", "sqlite", "--to", self.to.name
            )
            raise type(error)(
                f"{error} What this data directory has of it, up to revision "
                f"{self._own_log.last_revision()}, can be moved instead: {instead}"
            ) from error

    def _open(
        self, stack: ExitStack, location: Location, metadata: LogMetadata | None
    ) -> MigrationLog:
        """The log at a location; `stack` closes it. With `metadata` it is created where it is
        missing.
        """
        opened: MigrationLog
        if location.address is not None:
            opened = RemoteLog(shared_log(location.address), metadata)
            stack.callback(opened.close)
        elif location.folder == self._data_dir and self._own_log is not None:
            if metadata is not None:
                self._own_log.create_replica_if_empty(metadata)
            return self._own_log
        else:
            assert location.folder is not None
            if location.folder != self._data_dir:
                stack.callback(lock_data_dir(location.folder).release)
            opened = self._open_local(location.folder, metadata, location.name)
            stack.callback(opened.close)
        return opened

    def _open_local(self, folder: Path, metadata: LogMetadata | None, name: str) -> LocalLog:
        """The log in a folder. Raises `StoreError` where a target folder follows another log."""
        opened = LocalLog(folder, metadata, name)
        if metadata is not None and (followed := opened.database.meta("engine")):
            opened.close()
            followed = parse_location(followed, folder).name
            raise StoreError(
                f"{folder} is a replica of the log at {followed}. Choose a new folder."
            )
        return opened
