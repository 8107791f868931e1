"""`--engine` and `--require-durable`: told to servers that we start, asked of one that runs.

They travel as variables of the environment, which every setting of the server is as well.
"""

import os
from pathlib import Path
from typing import Any, Final

from signalbox import client

ENGINE: Final = "SIGNALBOX_ENGINE"
DURABLE: Final = "SIGNALBOX_REQUIRE_DURABLE"
_ANYWHERE: Final = {"data_dir": os.curdir}
"""For settings that are read for all but their folder, which has been found already."""


def wish(engine: str | None, require_durable: bool) -> None:
    """From now on servers that this process starts get these settings."""
    if engine:
        os.environ[ENGINE] = engine
    if require_durable:
        os.environ[DURABLE] = "1"


def is_wished() -> bool:
    """Whether a server is to have an engine other than the one that its folder had."""
    return bool(os.environ.get(ENGINE))


def problem() -> str | None:
    """Why no server would take the settings."""
    from signalbox.server.model.errors import StoreError  # noqa: PLC0415 - only whoever wishes needs the server's
    from signalbox.server.settings import read_settings  # noqa: PLC0415

    try:
        read_settings(_ANYWHERE)
    except StoreError as error:
        return str(error)
    return None


def check(box: client.Box) -> None:
    """Raises `NotRunning` where the server that runs is not what was wished for."""
    if os.environ.get(ENGINE) or os.environ.get(DURABLE):
        _check(box.query("status"))


def check_running(data_dir: Path) -> None:
    """As `check`, for the server of a data directory, if one runs."""
    if not (os.environ.get(ENGINE) or os.environ.get(DURABLE)):
        return
    if (found := client.find(data_dir)) is not None:
        with client.Box(found.url, found.read_token, directory=found.directory) as box:
            check(box)


def _check(status: dict[str, Any]) -> None:
    from signalbox.server.settings import read_settings  # noqa: PLC0415 - as above

    if wrong := problem():
        raise client.NotRunning(wrong)
    settings, runs = read_settings(_ANYWHERE), _shown(status)
    if settings.engine is not None and (wanted := _address(settings.engine)) != runs:
        raise client.NotRunning(
            f"The server that runs uses the engine {runs}, not {wanted}. End it first; a store "
            "moves to another engine with signalbox migrate, given the same --data-dir."
        )
    log = status["log"]
    is_durable = log["durable"] if log else runs != "memory"
    if settings.require_durable and not is_durable:
        raise client.NotRunning(
            f"The server that runs is not durable ({status['durability']}), which "
            "--require-durable demands."
        )


def _shown(status: dict[str, Any]) -> str:
    """The engine of a server as `--engine` names it, without secrets."""
    log = status["log"]
    return str(log["address"] if log else status["engine"].lower())


def _address(engine: str) -> str:
    from signalbox.server.engines.address import read_address  # noqa: PLC0415 - as above

    return read_address(engine).redacted if "://" in engine else engine
