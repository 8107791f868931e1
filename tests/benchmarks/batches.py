"""A program: sets 100 keys at once, again and again, with the Python client or with redis-py.

Given {"client": "signalbox" or "redis", "port", "token", "seconds"}, prints {"requests",
"seconds"}.
"""

import json
import sys
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Any

SIZE = 100


def main() -> None:
    given = json.loads(sys.argv[1])
    send = signalbox_batches(given) if given["client"] == "signalbox" else redis_pipelines(given)
    started = perf_counter()
    for number in count(1):
        send(number)
        if (spent := perf_counter() - started) >= given["seconds"]:
            break
    print(json.dumps({"requests": number, "seconds": spent}), flush=True)


def signalbox_batches(given: dict[str, Any]) -> Callable[[int], None]:
    import signalbox

    box = signalbox.connect(url=f"http://127.0.0.1:{given['port']}", token=given["token"])
    nonce = str(perf_counter())

    def send(number: int) -> None:
        with box.batch() as batch:
            for key in range(SIZE):
                batch.set(f"batch.k{key:03}", f"{nonce}.{number}")

    return send


def redis_pipelines(given: dict[str, Any]) -> Callable[[int], None]:
    """The same in one MULTI."""
    import redis

    client = redis.Redis(port=given["port"])
    nonce = str(perf_counter())

    def send(number: int) -> None:
        with client.pipeline() as pipeline:
            for key in range(SIZE):
                pipeline.set(f"batch.k{key:03}", f"{nonce}.{number}")
            pipeline.execute()

    return send


if __name__ == "__main__":
    main()
