"""A program: plain gevent, sending the same bytes to every connection.

Prints {"port"}. Greets each connection with `ready`; given {"events", "streams"} on stdin, it sends
each event to each of so many connections and prints {"at"}: when it began (`perf_counter`).
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from time import perf_counter  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.server import StreamServer  # noqa: E402


def main() -> None:
    connections: list[Any] = []

    def accept(connection: Any, _: Any) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connections.append(connection)
        connection.sendall(b"ready\n\n")
        connection.recv(4096)
        while connection.recv(4096):
            pass
        connections.remove(connection)

    server = StreamServer(("127.0.0.1", 0), accept)
    server.start()
    print(json.dumps({"port": server.server_port}), flush=True)
    # Reading stdin would block every greenlet: it belongs in a thread.
    while line := gevent.get_hub().threadpool.apply(sys.stdin.readline):
        order = json.loads(line)
        events = [event.encode() for event in order["events"]]
        assert len(connections) == order["streams"]
        print(json.dumps({"at": perf_counter()}), flush=True)
        for event in events:
            for connection in connections:
                connection.sendall(event)


if __name__ == "__main__":
    main()
