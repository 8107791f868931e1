"""A program: XADD and HSET in a MULTI as fast as it is answered, one after the other.

Given {"port", "seconds"}, prints {"requests", "seconds"}.
"""

import json
import sys
from itertools import count
from time import perf_counter

import redis


def main() -> None:
    given = json.loads(sys.argv[1])
    client = redis.Redis(port=given["port"])
    started = perf_counter()
    for number in count(1):
        key, value = f"bench.k{number % 1000:03}", str(number)
        with client.pipeline(transaction=True) as both:
            both.xadd("bare:log", {"key": key, "value": value})
            both.hset("bare:state", key, value)
            both.execute()
        if (spent := perf_counter() - started) > given["seconds"]:
            break
    print(json.dumps({"requests": number, "seconds": spent}), flush=True)


if __name__ == "__main__":
    main()
