"""A command that takes long: its steps are seen, the rest of what it says only where it fails."""

import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Final

LAST_LINES: Final = 15
"""Of what a command said, shown where it fails."""
PAUSE_SECONDS: Final = 5.0
"""Between two lines where there is no terminal that shows the last one alone."""


def run(
    command: Sequence[str], step: re.Pattern[str], environ: Mapping[str, str] = os.environ
) -> bool:
    """Whether it succeeded. The groups of a line that matches `step` are shown until the next."""
    try:
        process = subprocess.Popen(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return False
    said = deque[str](maxlen=LAST_LINES)
    shown = monotonic()
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if found := step.search(line):
                shown = _show(" ".join(filter(None, found.groups())), shown)
    _clear()
    if process.returncode != 0:
        print("".join(said), file=sys.stderr, end="", flush=True)
    return process.returncode == 0


def _show(text: str, before: float) -> float:
    """When a step was shown last."""
    text = text[: shutil.get_terminal_size().columns - 4]
    if sys.stdout.isatty():
        print(f"\r  {text}\033[K", end="", flush=True)
    elif monotonic() - before >= PAUSE_SECONDS:
        print(f"  {text}", flush=True)
        return monotonic()
    return before


def _clear() -> None:
    if sys.stdout.isatty():
        print("\r\033[K", end="", flush=True)
