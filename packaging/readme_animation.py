"""The moving picture of the README: `python packaging/readme_animation.py`, docs/steering.webp.

All of it happens: the training loop of the README runs, a pointer works the page of a real server
in headless Chromium, and each frame stays as long as it took.
"""

import html
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import IO, Final, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, ViewportSize, sync_playwright

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import example  # noqa: E402
from support.harness import Server  # noqa: E402
from support.page_window import ARGUMENTS, CHROMIUM, Window  # noqa: E402

PICTURE: Final = ROOT / "docs" / "steering.webp"
STAGE: Final = ViewportSize(width=1000, height=772)
WINDOW: Final = ViewportSize(width=968, height=484)
PIXELS: Final = 2
"""For each pixel of CSS, as sharp screens have."""
PAUSE_SECONDS: Final = 0.08
"""Between two frames, besides the time that taking one needs."""
LAST_SECONDS: Final = 2.0
"""How long the last frame stays before the picture begins again."""
QUICKLY: Final = {"format": "png", "optimizeForSpeed": True}
GLIDE: Final = 4
"""Frames in which the pointer goes from one place to the next."""
LINES: Final = 14
"""Of what the script prints, shown at once."""

LOOKS: Final = """
* { box-sizing: border-box; margin: 0; }
body { padding: 16px; background: #e9e8e4; position: relative;
       font: 13px/16px "DejaVu Sans", sans-serif; color: #1d1d1b; }
img, pre { display: block; border: 1px solid #cfcdc7; border-radius: 8px; background: #fff; }
img { width: 100%; }
.below { display: flex; gap: 12px; margin-top: 12px; }
pre { height: 244px; padding: 9px 14px; font: 13px/16px "DejaVu Sans Mono", monospace;
      overflow: hidden; }
.script { width: 540px; }
.says { width: 416px; background: #2a2a28; color: #dedcd5; border-color: #2a2a28; }
.says b { color: #8fd3a8; font-weight: 400; }
i { font-style: normal; color: #7a4aa8; } u { text-decoration: none; color: #1a7040; }
mark { background: #fff3c4; color: inherit; margin: 0 -14px; padding: 0 14px; }
svg { position: absolute; margin: 17px; width: 20px; height: 26px; }
"""
POINTER: Final = (
    '<svg viewBox="0 0 20 26" style="left:{}px;top:{}px"><path d="M2 1v19l4.6-4.2 3 7.2 3.4-1.4'
    '-3-7.1 6.2-.4z" fill="#1d1d1b" stroke="#fff" stroke-width="1.5"/></svg>'
)


class Terminal:
    """The README's training loop as a process, and what it has printed by now."""

    def __init__(self, script: str, data_dir: Path) -> None:
        path = data_dir.with_name("train.py")
        path.write_text(script)
        environ = {"PYTHONUNBUFFERED": "1", "SIGNALBOX_DATA_DIR": str(data_dir)}
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, path],
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=[self.process.stdout])
        self._reader.start()

    def _read(self, stdout: IO[str]) -> None:
        """Collect the lines that the script prints."""
        self.lines.extend(iter(stdout.readline, ""))

    def end(self) -> None:
        """Kill the training script where it still runs, and wait for the rest of its output."""
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def text(self) -> str:
        """What a terminal shows: the newest lines, and a prompt once the script has ended."""
        ended = ["$ "] if self.process.poll() is not None and not self._reader.is_alive() else []
        shown = ["$ python train.py\n", *self.lines, *ended]
        return "".join(shown[-LINES:])


class Frame(NamedTuple):
    """`window` is a PNG in base64, `pointer` a place in it, `terminal` what that showed."""

    time: float
    window: str
    pointer: tuple[float, float]
    terminal: str


class Film:
    """Takes frames of a window, with the place of its pointer and the terminal of that moment."""

    def __init__(self, page: Page, terminal: Terminal) -> None:
        self.page, self.terminal = page, terminal
        self._session = page.context.new_cdp_session(page)
        self.pointer = (620.0, 330.0)
        self.frames: list[Frame] = []

    def take(self, count: int = 1) -> None:
        """Take so many frames."""
        for _ in range(count):
            picture = self._session.send("Page.captureScreenshot", QUICKLY)["data"]
            terminal_text = self.terminal.text()
            self.frames.append(Frame(monotonic(), picture, self.pointer, terminal_text))
            self.page.wait_for_timeout(1000 * PAUSE_SECONDS)

    def take_until(self, lines: int) -> None:
        """Take frames until the script has printed so many lines."""
        while len(self.terminal.lines) < lines:
            self.take()

    def point(self, at: Locator) -> None:
        """Move the pointer to the middle of an element, as a hand does: fast, then slower."""
        box = at.bounding_box()
        assert box is not None
        x, y = self.pointer
        to_x, to_y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        for step in range(1, GLIDE + 1):
            way = 1 - (1 - step / GLIDE) ** 2
            self.pointer = (x + (to_x - x) * way, y + (to_y - y) * way)
            self.page.mouse.move(*self.pointer)
            self.take()

    def click(self, at: Locator) -> None:
        """Point at an element of the page and press."""
        self.point(at)
        self.page.mouse.click(*self.pointer)
        self.take()


def play(window: Window, terminal: Terminal) -> Film:
    """The learning rate is raised in the window, the loss falls, the script is stopped."""
    film = Film(window.page, terminal)
    film.take_until(len(terminal.lines) + 3)
    film.click(window["#draft"])
    window.page.keyboard.press("ControlOrMeta+a")
    for letter in "0.2":
        window.page.keyboard.type(letter)
        film.take()
    film.click(window["#set"])
    film.take_until(len(terminal.lines) + 7)
    film.click(window.row("train.stop").get_by_role("switch"))
    while terminal.process.poll() is None:
        film.take()
    film.take(4)
    return film


def draw(film: Film, script: str, browser: Browser) -> Iterator[Image.Image]:
    """The frames, each on one ground with the script and its terminal."""
    context = browser.new_context(viewport=STAGE, device_scale_factor=PIXELS)
    page = context.new_page()
    page.set_content(f"<style>{LOOKS}</style><main></main>")
    for frame in film.frames:
        page.evaluate(
            """async inside => {
                const main = document.querySelector("main");
                main.innerHTML = inside;
                await main.querySelector("img").decode();
            }""",
            f'<img src="data:image/png;base64,{frame.window}">'
            f'<div class="below"><pre class="script">{coloured(script)}</pre>'
            f'<pre class="says">{prompts(frame.terminal)}</pre></div>'
            + POINTER.format(*frame.pointer),
        )
        yield Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    context.close()


def coloured(script: str) -> str:
    """Python as HTML with its keys and the words of the language set apart."""
    text = html.escape(script, quote=False)
    text = re.sub(r'(f?"[^"\n]*")', r"<u>\1</u>", text)
    return re.sub(r"\b(import|while|not)\b(?![^<]*</u>)", r"<i>\1</i>", text)


def prompts(terminal_text: str) -> str:
    """The text of the terminal as HTML, with commands in bold."""
    return re.sub(r"^(\$.*)$", r"<b>\1</b>", html.escape(terminal_text), flags=re.MULTILINE)


def training_loop() -> str:
    """The training script of the README's first recipe."""
    found = re.search(
        r"```python\n(# train\.py\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert found, "README.md has no train.py"
    return found[1]


def durations(film: Film) -> list[int]:
    """How long each frame of the film stays, in milliseconds."""
    gaps = [later.time - frame.time for frame, later in pairwise(film.frames)]
    return [round(1000 * gap) for gap in [*gaps, LAST_SECONDS]]


def record(browser: Browser, script: str) -> Film:
    """Play the scene on a server, a window and a script of its own."""
    with TemporaryDirectory() as folder, ExitStack() as ending:
        server = Server(Path(folder, "store"))
        ending.callback(server.kill)
        fill(server)
        context = browser.new_context(
            viewport=WINDOW, device_scale_factor=PIXELS, color_scheme="light"
        )
        window = Window(context.new_page(), server)
        terminal = Terminal(script, server.data_dir)
        ending.callback(terminal.end)
        window.row("train.lr").wait_for()
        window.choose("train.lr")
        stretches = window.page.get_by_role("radiogroup", name="Time that the chart shows")
        stretches.get_by_text("All").click()
        return play(window, terminal)


def fill(server: Server) -> None:
    """Set the keys that other scripts have set before the film begins."""
    for actor, keys in example.FIRST.items():
        for key, value in keys.items():
            if actor != "train.py":
                server.set(key, value, actor=actor)


def main() -> None:
    """Write the picture and say what it has become."""
    script = training_loop()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        film = record(browser, script)
        first, *others = draw(film, script, browser)
        browser.close()
    first.save(
        PICTURE,
        save_all=True,
        append_images=others,
        duration=durations(film),
        loop=0,
        lossless=True,
        quality=100,
        method=4,
        minimize_size=True,
    )
    seconds, size = sum(durations(film)) / 1000, PICTURE.stat().st_size
    print(f"{PICTURE}: {len(film.frames)} frames, {seconds:.1f} s, {size / 1024:,.0f} KiB")


if __name__ == "__main__":
    main()
