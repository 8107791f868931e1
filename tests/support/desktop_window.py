"""A virtual screen, and on it the real window as a process that a test may end in any way."""

import ctypes
import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

import psutil
import pytest
from playwright.sync_api import Page

from support.harness import ROOT, SECONDS
from support.page_window import playwright_running

T = TypeVar("T")

PROGRAM: Final = Path(sys.executable).with_name("signalbox")
LOOK_SECONDS: Final = 0.02
STREAMS: Final = 2
"""Streams of one window: its page's, and its process's, which watches for second starts."""


def until(look: Callable[[], T | None], what: str, seconds: float = SECONDS) -> T:
    """The first true result of `look`, for what nobody announces; fails after `seconds`."""
    end, pause = monotonic() + seconds, threading.Event()
    while monotonic() < end:
        if found := look():
            return found
        pause.wait(LOOK_SECONDS)
    raise AssertionError(f"It did not come to be: {what}")


@contextmanager
def virtual_screen() -> Iterator[str]:
    """The name of a new display of 1280 by 800."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-noreset"]
    process = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as answer:
        name = f":{answer.readline().strip()}"
    try:
        yield name
    finally:
        process.terminate()
        process.wait()


class DesktopApp:
    """One data directory and the programs that were started on it."""

    program = PROGRAM
    stdout = subprocess.PIPE

    def __init__(self, data_dir: Path, display: str) -> None:
        self.data_dir, self.display = data_dir, display
        self.environ: dict[str, str] = dict(os.environ)
        self.log = data_dir.parent / f"{data_dir.name}.stderr"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, cwd: Path = ROOT, **environ: str | None) -> subprocess.Popen[str]:
        """`signalbox --data-dir …` as installed; None takes a variable away."""
        wanted = {**self.environ, "DISPLAY": self.display, **environ}
        env = {name: value for name, value in wanted.items() if value is not None}
        with self.log.open("a") as stderr:
            process = subprocess.Popen(
                [self.program, "--data-dir", self.data_dir],
                cwd=cwd,
                env=env,
                stdout=self.stdout,
                stderr=stderr,
                text=True,
            )
        self.started.append(process)
        return process

    def open(self, cwd: Path = ROOT, **environ: str | None) -> "ShownWindow":
        """Start it and wait until its page is live."""
        process = self.start(cwd, **environ)
        shown = ShownWindow(self, process)
        self.await_streams()
        return shown

    def command(self, *arguments: str) -> str:
        """What the command line prints, with a server of its own where none runs."""
        ended = subprocess.run(
            [self.program, "--data-dir", self.data_dir, *arguments],
            env=self.environ,
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        return ended.stdout

    def beside(self, *arguments: str) -> subprocess.Popen[str]:
        """The command line, while it runs."""
        process = subprocess.Popen(
            [self.program, "--data-dir", self.data_dir, *arguments],
            env=self.environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def stderr(self) -> str:
        """What all of them wrote."""
        return self.log.read_text()

    def window_log(self) -> str:
        """What the process that has the windows has logged."""
        return (self.data_dir / "log" / "window.log").read_text()

    def endpoint(self) -> dict[str, Any]:
        """Of the server that runs now."""
        return until(self._running, "a server runs")

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON at `path`; a command with `body`; None for 404."""
        endpoint = self.endpoint()
        headers = {
            "Authorization": f"Bearer {endpoint['write_token']}",
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(endpoint["url"] + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            return None

    def value(self, key: str) -> Any:
        """Of a key; None where there is none."""
        item = self.ask(f"/queries/state/{key}")
        return item and item["value"]

    def await_streams(self, count: int = STREAMS) -> None:
        """Until so many are open."""
        until(lambda: self._streams() == count, f"{count} streams are open")

    def _streams(self) -> int | None:
        try:
            streams: int = self.ask("/queries/status")["streams"]
        except OSError:  # the server has gone; another one may come
            return None
        return streams

    def servers(self) -> list[psutil.Process]:
        """Every server process of this data directory."""
        return [process for process in psutil.process_iter() if self._is_server(process)]

    def _is_server(self, process: psutil.Process) -> bool:
        try:
            line = process.cmdline()
        except psutil.Error:  # gone meanwhile
            return False
        is_one = "signalbox.server" in line or "serve" in line
        return is_one and is_running(process) and str(self.data_dir) in line

    def end(self) -> None:
        """Kill whatever still runs."""
        for process in self.started:
            process.kill()
            process.communicate()
        until(lambda: not self.servers(), "the servers have gone")

    def _running(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.data_dir / "endpoint.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found if psutil.pid_exists(found["pid"]) else None


class ShownWindow:
    """One window that is open."""

    def __init__(self, desk: DesktopApp, process: subprocess.Popen[str]) -> None:
        self.desk, self.process = desk, process
        self.id = until(self._find, "the window is on the screen")

    def xdotool(self, *arguments: str, check: bool = True) -> str:
        """What it prints."""
        return self.output("xdotool", *arguments, check=check)

    def press(self, *keys: str) -> None:
        """Give it the focus, as no window manager does here, and press keys one after the other."""
        self.xdotool("windowfocus", "--sync", self.id)
        self.xdotool("key", "--delay", "40", *keys)

    def answer(self, dialog: str, path: Path) -> None:
        """Give a file dialog the focus, as no window manager does here, and write a path there."""
        wanted = ("--onlyvisible", "--name", dialog)
        found = self.xdotool("search", "--sync", *wanted).split()
        self.xdotool("windowfocus", "--sync", found[-1])
        self.xdotool("type", str(path))
        self.xdotool("key", "Return")
        until(lambda: not self.xdotool("search", *wanted, check=False), "the dialog has gone")

    def output(self, *command: str, check: bool = True) -> str:
        """What a program of this screen prints."""
        env = {**os.environ, "DISPLAY": self.desk.display}
        ended = subprocess.run(
            command, env=env, check=check, capture_output=True, text=True, timeout=SECONDS
        )
        return ended.stdout

    def all(self) -> list[str]:
        """The ids of all windows of its process."""
        return (self._find() or "").split()

    def name(self) -> str:
        """Its title."""
        return self.xdotool("getwindowname", self.id).strip()

    def _find(self) -> str | None:
        assert self.process.poll() is None, self.desk.stderr()
        wanted = ["--onlyvisible", "--all", "--pid", str(self.process.pid), "--name", "Signalbox"]
        return self.xdotool("search", *wanted, check=False).strip()

    def place(self) -> dict[str, int]:
        """x, y, width and height on the screen."""
        return self.place_of(self.id)

    def place_of(self, window: str) -> dict[str, int]:
        """The same of another window."""
        shell = self.xdotool("getwindowgeometry", "--shell", window)
        found = {name.lower(): int(value) for name, value in re.findall(r"([A-Z]+)=(\d+)", shell)}
        return {name: found[name] for name in ("x", "y", "width", "height")}

    def is_on_top(self) -> bool:
        """Whether the middle of its place shows it, and no other window."""
        place = self.place()
        x, y = place["x"] + place["width"] // 2, place["y"] + place["height"] // 2
        self.xdotool("mousemove", str(x), str(y))
        return f"WINDOW={self.id}\n" in self.xdotool("getmouselocation", "--shell")

    def colours(self) -> int:
        """How many different colours the window shows."""
        return int(self.output("import", "-window", self.id, "-format", "%k", "info:-"))

    def picture(self, path: Path) -> None:
        """Write what it shows to a file."""
        self.output("import", "-window", self.id, str(path))

    def close(self) -> int:
        """Press its close button; the exit status."""
        press_close(self.desk.display, int(self.id))
        return self.process.wait(SECONDS)

    def renderers(self) -> list[psutil.Process]:
        """Those that draw the page: what the engine's own children have started."""
        own = psutil.Process(self.process.pid)
        return [grandchild for child in own.children() for grandchild in child.children()]

    def processes(self) -> list[psutil.Process]:
        """Its own and all that it started."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


def is_running(process: psutil.Process) -> bool:
    """A process that has ended may wait for its parent to notice."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class CloseMessage(ctypes.Structure):
    """Xlib's XClientMessageEvent, filled up to the size of an XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("rest", ctypes.c_long * 12),
    )


def press_close(display: str, window: int) -> None:
    """What a window manager sends for the close button (ICCCM, section 4.2.8.1)."""
    xlib = ctypes.CDLL("libX11.so.6")
    xlib.XOpenDisplay.restype = xlib.XInternAtom.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xlib.XOpenDisplay(display.encode()))
    protocols, delete = (
        xlib.XInternAtom(connection, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
    )
    message = CloseMessage(type=33, window=window, message_type=protocols, format=32)
    message.data[0] = delete
    xlib.XSendEvent(connection, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(message))
    xlib.XCloseDisplay(connection)


@contextmanager
def page_of(port: int) -> Iterator[Page]:
    """The page in a window that was opened with QTWEBENGINE_REMOTE_DEBUGGING=`port`."""
    with pages_of(port) as pages:
        yield pages[0]


@contextmanager
def pages_of(port: int) -> Iterator[list[Page]]:
    """The same for all windows, in no order."""
    with playwright_running() as playwright:
        # Qt's engine has one browser context and lets nobody set defaults for it.
        browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", no_defaults=True)
        try:
            yield browser.contexts[0].pages
        finally:
            browser.close()


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """One virtual screen for all tests."""
    with virtual_screen() as name:
        yield name


@pytest.fixture
def desk(display: str, tmp_path: Path) -> Iterator[DesktopApp]:
    """A new data directory; whatever was started on it is ended."""
    desk = DesktopApp(tmp_path / "data", display)
    yield desk
    desk.end()
