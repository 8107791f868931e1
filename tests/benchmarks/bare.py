"""A program: gevent and bottle, answering a POST without doing anything.

Prints {"port"} and serves until it is killed. Where somebody listens to its stream, it passes every
body on to them, unread, and keeps nothing.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import socket  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from typing import Any  # noqa: E402

import bottle  # noqa: E402
from gevent.pywsgi import WSGIHandler, WSGIServer  # noqa: E402
from gevent.queue import SimpleQueue  # noqa: E402

from unread import ACK  # noqa: E402


class Handler(WSGIHandler):
    """Without TCP_NODELAY every answer would wait 40 ms, which would be no fair comparison."""

    def handle(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().handle()


def application() -> Any:
    app = bottle.Bottle()
    listening: list[SimpleQueue[bytes]] = []

    def commands() -> bytes:
        for queue in listening:
            queue.put(bottle.request.body.read())
        bottle.response.content_type = "application/json"
        return ACK

    def stream() -> Iterator[bytes]:
        queue: SimpleQueue[bytes] = SimpleQueue()
        listening.append(queue)
        bottle.response.content_type = "text/event-stream"
        yield b"event: caught-up\n\n"
        try:
            while True:
                yield b"data: " + queue.get() + b"\n\n"
        finally:
            listening.remove(queue)

    app.post("/commands", callback=commands)
    app.get("/queries/stream", callback=stream)
    return app


def main() -> None:
    server = WSGIServer(("127.0.0.1", 0), application(), handler_class=Handler, log=None)
    server.start()
    print(json.dumps({"port": server.server_port}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
