"""A program: answers whatever arrives with the same acknowledgement, without reading it.

Prints {"port"} and serves until it is killed: what the load itself can make at most.
"""

import json
import selectors
import socket

ACK = (
    b'{"id":"0123456789ab-1f","status":"accepted","revision":123456,'
    b'"changed":true,"changes":1,"duplicate":false}'
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ACK), ACK)


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(json.dumps({"port": listening.getsockname()[1]}), flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listening:
                    connection, _ = listening.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    selector.register(connection, selectors.EVENT_READ, connection)
                elif not answer(key.data):
                    selector.unregister(key.data)
                    key.data.close()


def answer(connection: socket.socket) -> bool:
    """Whether the client is still there."""
    try:
        return bool(connection.recv(4096)) and bool(connection.send(ANSWER))
    except ConnectionError:
        return False


if __name__ == "__main__":
    main()
