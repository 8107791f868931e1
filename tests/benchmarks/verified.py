"""A program: `signalbox verify`.

Given {"folder"}, prints {"ok", "seconds", "megabytes"}: the most memory that this process had.
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter

from programs import memory
from signalbox.server import maintenance


def main() -> None:
    folder = Path(json.loads(sys.argv[1])["folder"])
    started = perf_counter()
    ok = maintenance.verify(folder)["ok"]
    told = {"ok": ok, "seconds": perf_counter() - started}
    print(json.dumps(told | {"megabytes": memory(os.getpid(), "VmHWM")}), flush=True)


if __name__ == "__main__":
    main()
