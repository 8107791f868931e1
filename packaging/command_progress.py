"""Run a command that takes long and show its progress; its output only where it fails."""

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
"""Lines of output that are shown where a command fails."""
PAUSE_SECONDS: Final = 5.0
"""Between two lines of progress where stdout is no terminal."""


def run_with_progress(
    command: Sequence[str], step: re.Pattern[str], environ: Mapping[str, str] = os.environ
) -> bool:
    """Run it; whether it succeeded. Of each line that matches `step` the groups are shown."""
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
    output = deque[str](maxlen=LAST_LINES)
    last_shown = monotonic()
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            output.append(line)
            if found := step.search(line):
                last_shown = _show_step(" ".join(filter(None, found.groups())), last_shown)
    _clear_line()
    if process.returncode != 0:
        print("".join(output), file=sys.stderr, end="", flush=True)
    return process.returncode == 0


def _show_step(text: str, last_shown: float) -> float:
    """Show one step; when a step was last shown."""
    text = text[: shutil.get_terminal_size().columns - 4]
    if sys.stdout.isatty():
        print(f"\r  {text}\033[K", end="", flush=True)
    elif monotonic() - last_shown >= PAUSE_SECONDS:
        print(f"  {text}", flush=True)
        return monotonic()
    return last_shown


def _clear_line() -> None:
    """Remove the line of progress from a terminal."""
    if sys.stdout.isatty():
        print("\r\033[K", end="", flush=True)
