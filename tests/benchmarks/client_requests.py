"""A program: one kind of request of a client, one after the other; its own CPU time.

Given {"client": "signalbox" or "redis", "kind": "set" or "get", "port", "token", "times"}, prints
{"microseconds"}: CPU time of this process for each.
"""

import json
import sys
from collections.abc import Callable
from time import process_time
from typing import Any

KEY = "bench.key"


def main() -> None:
    given = json.loads(sys.argv[1])
    request = signalbox_request(given) if given["client"] == "signalbox" else redis_request(given)
    for number in range(100):  # connections, caches
        request(number)
    started = process_time()
    for number in range(given["times"]):
        request(number)
    spent = process_time() - started
    print(json.dumps({"microseconds": spent / given["times"] * 1e6}), flush=True)


def signalbox_request(given: dict[str, Any]) -> Callable[[int], object]:
    import signalbox

    box = signalbox.connect(url=f"http://127.0.0.1:{given['port']}", token=given["token"])
    if given["kind"] == "set":
        return lambda number: box.set(KEY, {"number": number})
    return lambda _: box.item(KEY)


def redis_request(given: dict[str, Any]) -> Callable[[int], object]:
    """The same with redis-py: the value is JSON there, too."""
    import redis

    client = redis.Redis(port=given["port"])
    if given["kind"] == "set":
        return lambda number: client.set(KEY, json.dumps({"number": number}))
    return lambda _: json.loads(client.get(KEY) or "null")


if __name__ == "__main__":
    main()
