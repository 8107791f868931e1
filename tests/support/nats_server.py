"""A real nats-server of the tests, on a free port in a directory of its own; or three of them."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Final, Self

from support.ports import free_port
from support.tcp_proxy import Proxy

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

    def told(self, what: str, body: Any = None) -> dict[str, Any]:
        """JetStream's answer to one question, as `STREAM.INFO.name`; empty where none comes."""
        text = "" if body is None else json.dumps(body)
        asked = f"CONNECT {{}}\r\nSUB told 1\r\nPUB $JS.API.{what} told {len(text)}\r\n{text}\r\n"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as plain:
                plain.sendall(asked.encode())
                with plain.makefile("rb") as lines:
                    while (line := lines.readline()) and not line.startswith(b"MSG "):
                        pass
                    told: dict[str, Any] = json.loads(lines.read(int((line.split() or [b"0"])[-1])))
                    return told
        except (OSError, ValueError):
            return {}  # it has ended, or there is no leader who would answer

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
    """Three servers with JetStream that reach each other over networks that can fail."""

    def __init__(self, folder: Path) -> None:
        routes = [free_port() for _ in range(3)]
        self._links = {
            (one, other): Proxy(routes[other]) for one, other in permutations(range(3), 2)
        }
        self.servers = []
        for number, route in enumerate(routes):
            known = (
                f'"nats://127.0.0.1:{link.port}"'
                for (one, _), link in self._links.items()
                if one == number
            )
            # What it advertises nobody listens on: all reach each other by these routes alone.
            config = (
                f"server_name: n{number}\n"
                f'cluster {{ name: c, listen: "127.0.0.1:{route}", advertise: "127.0.0.1:1", '
                f"no_advertise: true, routes: [{', '.join(known)}] }}"
            )
            self.servers.append(NatsServer(folder / f"n{number}", config))

    def part(self, *numbers: int) -> None:
        """What these servers and the others say to each other is held up from now on."""
        for (one, other), link in self._links.items():
            if (one in numbers) != (other in numbers):
                link.hold("client")
                link.hold("server")

    def wait_for_leader(self) -> None:
        """Return once the servers have found each other, and each can be given a copy."""
        wanted = {"name": "found", "subjects": ["found"], "num_replicas": len(self.servers)}
        asked = self.servers[0].told
        # A leader that has not heard of all of them yet refuses to place so many copies.
        self._until(lambda: "config" in asked("STREAM.CREATE.found", wanted))
        self._until(lambda: "error" in asked("STREAM.DELETE.found"))

    def lead(self, number: int, stream: str) -> None:
        """Let that server decide on what is appended to the stream."""
        wanted = {"placement": {"preferred": f"n{number}"}}

        def leads() -> bool:
            cluster = self.servers[number].told(f"STREAM.INFO.{stream}").get("cluster", {})
            if cluster.get("leader") == f"n{number}":
                return all(one.get("current") for one in cluster["replicas"])
            self.servers[number].told(f"STREAM.LEADER.STEPDOWN.{stream}", wanted)
            return False

        self._until(leads)

    def leader(self, stream: str) -> int:
        """Which of the servers decides on what is appended to the stream."""
        names: set[str] = set()

        def is_known() -> bool:
            told = (server.told(f"STREAM.INFO.{stream}") for server in self.servers)
            names.update((one.get("cluster") or {}).get("leader", "") for one in told)
            names.discard("")
            return bool(names)

        self._until(is_known)
        return int(min(names).removeprefix("n"))

    def heard(self, stream: str) -> list[float]:
        """Seconds since the stream's leader has heard of each copy of it that has gone silent."""
        for server in self.servers:
            if server.process.poll() is None:
                cluster = server.told(f"STREAM.INFO.{stream}").get("cluster", {})
                silent = [one["active"] / 10**9 for one in cluster.get("replicas", ())]
                return sorted(silent)[1:] or [0.0]
        return [0.0]

    def _until(self, check: Callable[[], bool]) -> None:
        end = monotonic() + SECONDS
        while not check():
            assert monotonic() < end, [one.said()[-1000:] for one in self.servers]
            sleep(0.1)  # between two questions to servers that have no event for their answer

    def join(self) -> None:
        """All reach each other, and what was held up arrives."""
        for link in self._links.values():
            link.mend()

    @property
    def url(self) -> str:
        return "nats://" + ",".join(f"127.0.0.1:{one.port}" for one in self.servers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.kill()
        for link in self._links.values():
            link.close()
