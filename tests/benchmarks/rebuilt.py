"""A program: `signalbox rebuild`.

Given {"folder"}, prints {"ok", "seconds", "whole"}: the seconds until the last transaction had been
replayed, and until the result was on disk and verified.
"""

import json
import sys
from pathlib import Path
from time import perf_counter

from signalbox.server import maintenance


def main() -> None:
    folder = Path(json.loads(sys.argv[1])["folder"])
    started, replayed = perf_counter(), 0.0

    def note(done: int, total: int) -> None:
        nonlocal replayed
        replayed = perf_counter() - started

    ok = maintenance.rebuild(folder, note)["ok"]
    result = {"ok": ok, "seconds": replayed, "whole": perf_counter() - started}
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
