"""From a command to what it is for: a server that answers, a window that shows the keys.

The same of the bundle in `dist/`, beside an empty window that was bundled the same way.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final

import ndjson
from programs import ENVIRONMENT, HERE, cpu_milliseconds, running, serving
from rows import Row, at_most
from screen import Screen, screen
from support.desktop_window import DesktopApp
from support.harness import ROOT

KEYS: Final = 1_000
BUNDLED: Final = ROOT / "dist" / "signalbox" / "signalbox"
EMPTY: Final = [sys.executable, str(HERE / "empty_window.py")]
Command = list[str]
ENGINE: Final = {"QTWEBENGINE_CHROMIUM_FLAGS": "--no-sandbox --disable-gpu"}
"""For both windows: root cannot have the sandbox, and a virtual screen no graphics card."""


def measure(folder: Path, quick: bool) -> Iterator[Row]:
    rounds = 2 if quick else 11
    store = folder / "store"
    with serving(store) as server:
        ndjson.send(server, ndjson.lines(KEYS))
        server.stop()
    what = f"{KEYS:,} keys: serve until ready"
    yield _row(what, "bare", [(until_ready(store), _bare_until_ready()) for _ in range(rounds + 1)])
    pairs = [(_cpu_until_ready(store), _bare_cpu_until_ready()) for _ in range(rounds + 1)]
    yield _row(f"{what}, CPU", "bare", pairs)
    what = f"{KEYS:,} keys: window until its rows are shown"
    if shutil.which("Xvfb") is None:
        yield Row(what, "needs Xvfb")
        return
    with screen(folder) as display:
        pairs = [(_window(store, display), _empty(EMPTY, display)) for _ in range(rounds + 1)]
        yield _row(what, "an empty one", pairs)
        what = f"{KEYS:,} keys: window of the bundle until its rows are shown"
        if quick or not BUNDLED.exists():
            yield Row(what, "needs `make build` and full size")
            return
        empty = [_empty_bundle(folder)]
        pairs = [
            (_window(store, display, BUNDLED), _empty(empty, display)) for _ in range(rounds + 1)
        ]
        yield _row(what, "an empty one, bundled", pairs, 1.5)


def _row(
    what: str, other: str, pairs: list[tuple[float, float]], times: float | None = None
) -> Row:
    """Of ours and the other's milliseconds; the first pair has warmed up."""
    ours, others = (median(side) for side in zip(*pairs[1:], strict=True))
    return at_most(what, ours, "ms", None, (other, others), times)


def until_ready(store: Path) -> float:
    """Milliseconds from starting the server to its first line."""
    started = perf_counter()
    with serving(store) as server:
        spent = perf_counter() - started
        server.stop()
    return spent * 1000


def _bare_until_ready() -> float:
    started = perf_counter()
    with running("bare.py"):
        return (perf_counter() - started) * 1000


def _cpu_until_ready(store: Path) -> float:
    with serving(store) as server:
        spent = cpu_milliseconds(server.pid)
        server.stop()
    return spent


def _bare_cpu_until_ready() -> float:
    with running("bare.py") as program:
        return cpu_milliseconds(program.process.pid)


def _window(store: Path, display: Screen, program: Path = DesktopApp.program) -> float:
    """With a server of its own, which it starts."""
    desk, started = DesktopApp(store, display.name), perf_counter()
    desk.program = program
    process = desk.start(ROOT, **ENGINE)
    try:
        shown = display.await_text()
        process.terminate()
        process.wait()
    finally:
        desk.end()
    display.await_nothing()
    return (shown - started) * 1000


def _empty(command: Command, display: Screen) -> float:
    started = perf_counter()
    with _empty_window(command, display):
        shown = display.await_text()
    display.await_nothing()
    return (shown - started) * 1000


@contextmanager
def _empty_window(command: Command, display: Screen) -> Iterator[None]:
    environment = {**ENVIRONMENT, **ENGINE, "DISPLAY": display.name}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _empty_bundle(folder: Path) -> str:
    """The program in it."""
    places = ["--distpath", str(folder), "--workpath", str(folder / "build")]
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", *places]
    subprocess.run([*command, str(ROOT / "packaging" / "empty.spec")], cwd=ROOT, check=True)
    return str(folder / "empty" / "empty")
