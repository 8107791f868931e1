"""The server that the window uses: one that runs already, else a child that is kept running."""

import logging
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final, TypeVar

from signalbox import client
from signalbox.desktop import paths
from signalbox.desktop.server_log import open_log

T = TypeVar("T")

log: Final = logging.getLogger(__name__)

ACTOR: Final = "desktop"
MOST_ENDS: Final = 6
WITHIN_SECONDS: Final = 60.0
"""A server that ended so often within so short a time is not started again."""


class ServerProcess:
    """`start` it, let a thread `keep` it. However this process goes, its child goes as well."""

    def __init__(self, data_dir: Path) -> None:
        self.endpoint: client.Endpoint
        self.box: client.Box
        self.log = paths.log_file(data_dir)
        self.data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._keeping = threading.Lock()
        self.closed = threading.Event()

    def start(self) -> None:
        """Find the server or start one. Raises `NotRunning` with what it said last."""
        end = monotonic() + client.PATIENCE
        while True:
            endpoint = client.find(self.data_dir) or self._launch()
            try:
                box = _box(endpoint)
            except client.NotRunning:  # it was about to end
                if monotonic() > end:
                    raise
            else:
                self.endpoint, self.box = endpoint, box
                return

    def ask(self, question: Callable[[client.Box], T]) -> T:
        """Its answer, also where the server ends meanwhile and `keep` brings another."""
        while True:
            box = self.box
            try:
                return question(box)
            except client.NotRunning:
                if box is self.box:
                    raise

    def keep(self, back: Callable[[bool], None]) -> None:
        """Until `close`: start the server again whenever it has ended, then call `back`.

        `back` is told whether it is as it was, so that the page finds it by itself.
        Raises `NotRunning` where it ends again and again. Whoever comes second waits for the first.
        """
        with self._keeping:
            self._keep(back)

    def close(self) -> None:
        """Let go of the server: it ends as soon as nobody else uses it."""
        self.closed.set()
        self._let_go()

    def stop(self) -> None:
        """End the server, if it is ours, and wait until it has gone."""
        self.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _keep(self, back: Callable[[bool], None]) -> None:
        ends: list[float] = []
        while self._ended():
            now = monotonic()
            ends = [end for end in ends if now - end < WITHIN_SECONDS] + [now]
            if len(ends) == MOST_ENDS:
                raise client.NotRunning(f"The server keeps ending; {self.log} says why.")
            self.closed.wait(_pause(len(ends)))
            self._restart(back)

    def _ended(self) -> bool:
        """Wait for the server's end; False where the window was closed meanwhile."""
        process = self._process
        if process is not None and process.pid == self.endpoint.pid:
            process.wait()
        else:
            wait_for(self.endpoint.pid)
        return not self.closed.is_set()

    def _restart(self, back: Callable[[bool], None]) -> None:
        before, box = self.endpoint, self.box
        try:
            self.start()
        except client.NotRunning as error:
            log.warning("The server did not come back: %s", error)
            return
        log.warning("The server %d ended; now it is %d.", before.pid, self.endpoint.pid)
        box.close()  # whoever waits on it takes the new one
        back(self.endpoint._replace(pid=before.pid) == before)

    def _launch(self) -> client.Endpoint:
        if self.closed.is_set():
            raise client.NotRunning("The window is closed.")
        with open_log(self.log) as stderr:
            endpoint, _ = client.start_server(self.data_dir, stderr, self._starting)
        return endpoint

    def _starting(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        if self.closed.is_set():  # meanwhile
            self._let_go()


def _box(endpoint: client.Endpoint) -> client.Box:
    """A client of this very server. Raises `NotRunning`."""
    url, token = endpoint.url, endpoint.write_token
    box = client.Box(url, token, ACTOR, directory=endpoint.directory)
    box.query("status")
    return box


def wait_for(pid: int) -> None:
    """Return once no process of that number runs, without asking again and again."""
    import psutil  # noqa: PLC0415 - a server of our own is started without it

    try:
        psutil.Process(pid).wait()
    except psutil.NoSuchProcess:
        return


def _pause(ends: int) -> float:
    """Seconds before the start after so many ends: none at first, then 0.25, doubled each time."""
    return 0.0 if ends == 1 else float(2 ** (ends - 4))
