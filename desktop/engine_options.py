"""`--engine` and `--require-durable`, for a server that is started or already runs.

One that is started gets them as environment variables, as every setting of the server can be.
"""

import os
from pathlib import Path
from typing import Any, Final

from signalbox import client

ENGINE: Final = "SIGNALBOX_ENGINE"
DURABLE: Final = "SIGNALBOX_REQUIRE_DURABLE"
_ANYWHERE: Final = {"data_dir": os.curdir}
"""A folder for reading the settings, of which only the others are used."""


def choose_engine(engine: str | None, require_durable: bool) -> None:
    """From now on servers that this process starts get these settings."""
    if engine:
        os.environ[ENGINE] = engine
    if require_durable:
        os.environ[DURABLE] = "1"


def is_engine_chosen() -> bool:
    """Whether a server is to have an engine other than the one that its folder had."""
    return bool(os.environ.get(ENGINE))


def settings_error() -> str | None:
    """Why no server would accept the settings; None where one would."""
    from signalbox.server.model.errors import StoreError  # noqa: PLC0415 - only for whoever chooses an engine
    from signalbox.server.settings import read_settings  # noqa: PLC0415

    try:
        read_settings(_ANYWHERE)
    except StoreError as error:
        return str(error)
    return None


def check_server(box: client.Box) -> None:
    """Raises `NotRunning` where the server that runs has another engine, or is not durable."""
    if _has_requirements():
        _check_status(box.query("status"))


def check_running_server(data_dir: Path) -> None:
    """As `check_server`, for the server of a data directory, if one runs."""
    if _has_requirements() and (endpoint := client.find(data_dir)) is not None:
        with client.Box(endpoint.url, endpoint.read_token, directory=endpoint.directory) as box:
            check_server(box)


def _has_requirements() -> bool:
    """Whether the command line asks for an engine, or for a durable one."""
    return bool(os.environ.get(ENGINE) or os.environ.get(DURABLE))


def _check_status(status: dict[str, Any]) -> None:
    """Raises `NotRunning` where the running server has another engine, or is not durable."""
    from signalbox.server.settings import read_settings  # noqa: PLC0415 - as above

    if error := settings_error():
        raise client.NotRunning(error)
    settings, running = read_settings(_ANYWHERE), _running_engine(status)
    if settings.engine is not None and (chosen := _without_secrets(settings.engine)) != running:
        raise client.NotRunning(
            f"The server that runs uses the engine {running}, not {chosen}. End it first; a store "
            "moves to another engine with signalbox migrate, given the same --data-dir."
        )
    log = status["log"]
    is_durable = log["durable"] if log else running != "memory"
    if settings.require_durable and not is_durable:
        raise client.NotRunning(
            f"The server that runs is not durable ({status['durability']}), which "
            "--require-durable demands."
        )


def _running_engine(status: dict[str, Any]) -> str:
    """The engine of a server as `--engine` names it, without secrets."""
    log = status["log"]
    return str(log["address"] if log else status["engine"].lower())


def _without_secrets(engine: str) -> str:
    """The engine's address without its password, for messages."""
    from signalbox.server.engines.address import read_address  # noqa: PLC0415 - as above

    return read_address(engine).redacted if "://" in engine else engine
