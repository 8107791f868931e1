"""The server that the window uses: one that runs already, else a child, restarted when it ends."""

import logging
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Final, TypeVar

from signalbox import client
from signalbox.desktop import paths
from signalbox.server.store import plain_file

T = TypeVar("T")

log: Final = logging.getLogger(__name__)

ACTOR: Final = "desktop"
MAX_ENDS: Final = 6
WITHIN_SECONDS: Final = 60.0
"""A server that ended so often within so short a time is not started again."""


class ServerProcess:
    """`start` it and let a thread `keep_running`. Its child ends however this process ends."""

    def __init__(self, data_dir: Path) -> None:
        """The server of a data directory, for the app; not found or started yet."""
        self.endpoint: client.Endpoint
        self.box: client.Box
        self.log = paths.log_file(data_dir)
        self.data_dir = data_dir
        self._process: subprocess.Popen[bytes] | None = None
        self._keep_running_lock = threading.Lock()
        self.closed = threading.Event()

    def start(self) -> None:
        """Find the server or start one. Raises `NotRunning` with its last words."""
        end = monotonic() + client.SERVER_TIMEOUT
        while True:
            endpoint = client.find(self.data_dir) or self._launch()
            try:
                box = _connect(endpoint)
            except client.NotRunning:  # it was about to end
                if monotonic() > end:
                    raise
            else:
                self.endpoint, self.box = endpoint, box
                return

    def call(self, request: Callable[[client.Box], T]) -> T:
        """The result of `request`; tried again where the server ends and is restarted meanwhile."""
        while True:
            box = self.box
            try:
                return request(box)
            except client.NotRunning:
                if box is self.box:
                    raise

    def keep_running(self, on_restart: Callable[[bool], None]) -> None:
        """Until `close`: start the server again whenever it has ended, then call `on_restart`
        with True where its address is the same, so that the page finds it by itself.

        Raises `NotRunning` where it ends again and again. A second caller waits for the first.
        """
        with self._keep_running_lock:
            self._restart_whenever_ended(on_restart)

    def close(self) -> None:
        """Release the server: it ends as soon as nobody else uses it."""
        self.closed.set()
        self._close_stdin()

    def stop(self) -> None:
        """End the server, if it is ours, and wait until it has gone."""
        self.close()
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def _close_stdin(self) -> None:
        """Close the server's stdin, whose end lets it stop."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _restart_whenever_ended(self, on_restart: Callable[[bool], None]) -> None:
        """Restart the server. Raises `NotRunning` where it ends too often."""
        ends: list[float] = []
        while self._wait_for_end():
            now = monotonic()
            ends = [end for end in ends if now - end < WITHIN_SECONDS] + [now]
            if len(ends) == MAX_ENDS:
                raise client.NotRunning(f"The server keeps ending; {self.log} says why.")
            self.closed.wait(_restart_delay(len(ends)))
            self._restart(on_restart)

    def _wait_for_end(self) -> bool:
        """Wait for the server's end; False where the window was closed meanwhile."""
        process = self._process
        if process is not None and process.pid == self.endpoint.pid:
            process.wait()
        else:
            wait_for_process(self.endpoint.pid)
        return not self.closed.is_set()

    def _restart(self, on_restart: Callable[[bool], None]) -> None:
        """Start the server again; `on_restart` learns whether its address is the same."""
        previous, box = self.endpoint, self.box
        try:
            self.start()
        except client.NotRunning as error:
            log.warning("The server did not come back: %s", error)
            return
        log.warning(
            "The server (process %d) has ended; now it is process %d.",
            previous.pid,
            self.endpoint.pid,
        )
        box.close()  # what waits on it is tried with the new one
        on_restart(self.endpoint._replace(pid=previous.pid) == previous)

    def _launch(self) -> client.Endpoint:
        """Start the server as a child that ends with this process; its endpoint."""
        if self.closed.is_set():
            raise client.NotRunning("The window is closed.")
        # The server keeps this file small; as its stderr it has what a crash prints, too.
        with open_log(self.log) as stderr:
            endpoint, _ = client.start_server(
                self.data_dir, stderr, self._on_process_started, ["--log", str(self.log)]
            )
        return endpoint

    def _on_process_started(self, process: "subprocess.Popen[bytes]") -> None:
        """Keep the server's process, to end it with the app."""
        self._process = process
        if self.closed.is_set():  # meanwhile
            self._close_stdin()


def open_log(path: Path) -> BinaryIO:
    """Open a log for its owner, to append and read. Raises `NotRunning` for what is no file."""
    paths.check_files(path)
    return open(path, "a+b", opener=plain_file.open_private)


def _connect(endpoint: client.Endpoint) -> client.Box:
    """A client of this very server. Raises `NotRunning`."""
    url, token = endpoint.url, endpoint.write_token
    box = client.Box(url, token, ACTOR, directory=endpoint.directory)
    box.query("status")
    return box


def wait_for_process(pid: int) -> None:
    """Return once no process with this id runs, without polling."""
    import psutil  # noqa: PLC0415 - a server of our own is started without it

    try:
        psutil.Process(pid).wait()
    except psutil.NoSuchProcess:
        return


def _restart_delay(ends: int) -> float:
    """Seconds before the next start after `ends` ends: 0, then 0.25, doubled each time."""
    return 0.0 if ends == 1 else float(2 ** (ends - 4))
