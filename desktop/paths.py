"""The data directory and the log file; folders are created for their owner only."""

from pathlib import Path

import platformdirs

from signalbox import client


def make_data_dir(option: str | None = None) -> Path:
    """The folder of the store: `--data-dir`, `SIGNALBOX_DATA_DIR` or the user's data folder."""
    folder = chosen_data_dir(option)
    try:
        return _create_private(folder)
    except FileExistsError:
        check_folder(folder)
        check_links(folder)
        raise


def chosen_data_dir(option: str | None = None) -> Path:
    """The chosen data directory, not created. Raises `NotRunning` where the variable is empty."""
    return client.expand_data_dir(option) if option else client.default_data_dir()


def log_file(data_dir: Path) -> Path:
    """The log of the server of `data_dir`: in that folder, or where the system keeps logs."""
    is_default = data_dir == platformdirs.user_data_path("signalbox", appauthor=False)
    logs = platformdirs.user_log_path("signalbox", appauthor=False)
    return _create_private(logs if is_default else data_dir / "log") / "server.log"


def check_links(data_dir: Path) -> None:
    """Raises `NotRunning` where a symbolic link leads to nothing instead of to a store."""
    from signalbox.server.model.errors import StoreError  # noqa: PLC0415 - for this alone
    from signalbox.server.store.checks_before_opening import resolve_link  # noqa: PLC0415
    from signalbox.server.store.file_names import STORE_FILE  # noqa: PLC0415

    try:
        resolve_link(data_dir / STORE_FILE)
    except StoreError as error:
        raise client.NotRunning(str(error)) from error


def check_folder(data_dir: Path) -> None:
    """Raises `NotRunning` where the data directory is a file, such as a backup."""
    if data_dir.is_file():
        raise client.NotRunning(
            f"The data directory {data_dir} is a file; needed is the folder in which the store is."
        )


def check_files(*files: Path) -> None:
    """Raises `NotRunning` for the first in whose place is something else, such as a folder."""
    from signalbox.server.model.errors import StoreError  # noqa: PLC0415 - the window's alone
    from signalbox.server.store import plain_file  # noqa: PLC0415

    try:
        plain_file.check_regular(*files)
    except StoreError as error:
        raise client.NotRunning(str(error)) from error


def data_dir_error(error: OSError) -> str:
    """Which folder cannot be made or used, and why, as a sentence."""
    from signalbox.server.runtime.error_messages import reason  # noqa: PLC0415 - for this alone

    subject = f"The data directory {error.filename}" if error.filename else "The data directory"
    return f"{subject} cannot be used: {reason(error)}."


def _create_private(folder: Path) -> Path:
    """Create the folder for its owner only, unless it is there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
