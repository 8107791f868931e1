"""A program: puts into NATS KV as fast as it is answered, one after the other.

Given {"url", "seconds"}, prints {"requests", "seconds"}.
"""

import asyncio
import json
import sys
from itertools import count
from time import perf_counter

import nats


async def main() -> None:
    given = json.loads(sys.argv[1])
    client = await nats.connect(given["url"])
    bucket = await client.jetstream().create_key_value(bucket=f"bare{perf_counter():.0f}")
    started = perf_counter()
    for number in count(1):
        await bucket.put(f"bench.k{number % 1000:03}", str(number).encode())
        if (spent := perf_counter() - started) > given["seconds"]:
            break
    print(json.dumps({"requests": number, "seconds": spent}), flush=True)
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
