"""A real nats-server of the tests, on a free port in a directory of its own; or three of them."""

import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic
from typing import Final, Self

from redis_server import free_port

SECONDS: Final = 30.0
PROGRAM: Final = Path(sys.executable).with_name("nats-server")


class NatsServer:
    """`config` is added to its configuration; `folder` holds the data over restarts."""

    def __init__(self, folder: Path, config: str = "", port: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = folder / "nats.conf"
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'jetstream {{ store_dir: "{folder / "data"}" }}\n'
            f"{config}\n"
        )
        self.start()

    def start(self) -> None:
        """Start it, again on the same port and data; return once it answers."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(PROGRAM), "-c", str(self._config)], stdout=log, stderr=log
            )

    def wait(self) -> None:
        end = monotonic() + SECONDS
        while not self._answers():
            assert monotonic() < end, self.said()
            assert self.process.poll() is None, self.said()

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as sock:
                return sock.recv(4096).startswith(b"INFO ")
        except OSError:
            return False


class NatsCluster:
    """Three servers with JetStream that know each other."""

    def __init__(self, folder: Path) -> None:
        routes = [free_port() for _ in range(3)]
        known = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self.servers = []
        for number, route in enumerate(routes):
            config = (
                f"server_name: n{number}\n"
                f'cluster {{ name: c, listen: "127.0.0.1:{route}", routes: [{known}] }}'
            )
            self.servers.append(NatsServer(folder / f"n{number}", config))

    @property
    def url(self) -> str:
        return "nats://" + ",".join(f"127.0.0.1:{one.port}" for one in self.servers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()
