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
    """Whether it succeeded. A line that matches `step` is shown for as long as it is the last."""
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
    assert process.stdout is not None
    said = deque[str](maxlen=LAST_LINES)
    shown = monotonic()
    for line in process.stdout:
        said.append(line)
        if step.search(line):
            shown = _show(line.strip(), shown)
    _clear()
    if process.wait() != 0:
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
