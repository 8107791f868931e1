"""Runs the campaigns: `python tests/campaigns/campaign.py [NAME…]` prints one table; see --help.

Each is a store under attack for long, and a model that tells what it must be in the end. What was
found wrong ends the campaign with the seed with which it began.
"""

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import randbits
from time import monotonic
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for support

import failover
import kill
import partition
from support import run_processes

DISK: Final = Path("/var/tmp")
"""A disk, where /tmp may be memory."""

Campaign = Callable[[Path, int, argparse.Namespace], Counter[str]]

CAMPAIGNS: Final[Mapping[str, Campaign]] = {
    "kill": lambda folder, seed, given: kill.campaign(folder, seed, given.rounds),
    "partition": lambda folder, seed, given: partition.campaign(folder, seed, given.minutes * 60),
    "failover": lambda folder, seed, given: failover.campaign(folder, seed, given.failovers),
}


def main() -> int:
    given = _arguments()
    run_processes.start_run_reaper()  # what is started ends with this run, however that ends
    rows = [row(name, given) for name in given.names or CAMPAIGNS]
    print()
    for name, seconds, told in rows:
        print(f"{name:10} {seconds:6.0f} s  {told}")
    return 1 if any("FAILED" in told for _, _, told in rows) else 0


def row(name: str, given: argparse.Namespace) -> tuple[str, float, str]:
    """What one campaign has come to: its figures, or the first thing that was wrong."""
    print(f"{name}: seed {given.seed}", flush=True)
    begun = monotonic()
    with tempfile.TemporaryDirectory(dir=DISK, prefix="signalbox-campaign-") as folder:
        try:
            figures = CAMPAIGNS[name](Path(folder), given.seed, given)
            told = ", ".join(f"{number:,} {what}" for what, number in figures.items())
        except AssertionError as error:
            traceback.print_exception(error)
            told = f"FAILED with seed {given.seed}: {error}"
    return name, monotonic() - begun, told


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *CAMPAIGNS], metavar="NAME")
    parser.add_argument("--rounds", type=int, default=150, help="of kill -9")
    parser.add_argument("--minutes", type=float, default=10, help="of partitions")
    parser.add_argument("--failovers", type=int, default=20, help="of Redis")
    parser.add_argument("--seed", type=int, default=randbits(32))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
