"""A virtual screen whose pixels lie in memory: looking at it disturbs nobody."""

import mmap
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, sleep
from typing import Final

WIDTH, HEIGHT = 1280, 800
LOOK_SECONDS: Final = 0.002
SECONDS: Final = 30.0
"""After which what does not appear never will."""


class Screen:
    """`name` is what programs find in DISPLAY."""

    def __init__(self, name: str, pixels: memoryview) -> None:
        self.name = name
        self._pixels = pixels

    def await_text(self) -> float:
        """When (`perf_counter`) there was text first in every tenth of the screen's middle."""
        return self._await(self._has_text)

    def await_nothing(self) -> None:
        """Until the window that was shown is closed."""
        self._await(lambda: not self._has_text())

    def _has_text(self) -> bool:
        return all(map(self._has_ink, range(10)))

    def _await(self, look: Callable[[], bool]) -> float:
        end = perf_counter() + SECONDS
        while (now := perf_counter()) < end:
            if look():
                return now
            sleep(LOOK_SECONDS)
        raise TimeoutError("The screen does not show what it should.")

    def _has_ink(self, tenth: int) -> bool:
        """Whether some line of this tenth of the middle has two colours."""
        first = HEIGHT // 4 + tenth * HEIGHT // 20
        lines = range(first, first + HEIGHT // 20, 2)
        starts = (line * WIDTH + WIDTH * 3 // 8 for line in lines)
        return any(len(set(self._pixels[start : start + WIDTH // 8])) > 1 for start in starts)


@contextmanager
def screen(folder: Path) -> Iterator[Screen]:
    """A new one; its pixels are a file in `folder`."""
    read, write = os.pipe()
    size = f"{WIDTH}x{HEIGHT}x24"
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "-noreset"]
    process = subprocess.Popen(
        [*command, "-fbdir", str(folder)], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as answer:
        name = f":{answer.readline().strip()}"
    try:
        yield Screen(name, _pixels(folder / "Xvfb_screen0"))
    finally:
        process.terminate()
        process.wait()


def _pixels(path: Path) -> memoryview:
    """One number for each, line by line; the file is an X window dump (XWDFile.h)."""
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    header, colours = (struct.unpack_from(">I", data, at)[0] for at in (0, 76))
    start = header + colours * 12
    return data[start : start + WIDTH * HEIGHT * 4].cast("I")
