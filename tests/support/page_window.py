"""A real browser window on a real server, for the tests of the page."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    ViewportSize,
    expect,
    sync_playwright,
)

from support.harness import Server

CHROMIUM: Final = shutil.which("chromium-headless-shell") or "/usr/bin/chromium-headless-shell"
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
]
SIZE: Final = ViewportSize(width=1240, height=720)

NETWORK_ERRORS: Final = (
    "Failed to load resource",
    "Failed to fetch",
    "Datastar failed",
    "network error",
)
"""Messages of browser and Datastar for a server that is gone, which some tests cause."""

OpenWindow = Callable[..., "Window"]


class Window:
    """One window. `errors` has the page's errors, of which a test must cause none."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page, self.server = page, server
        self.errors: list[str] = []
        page.on("console", self._on_console_message)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.set_default_timeout(10_000)
        answer = server.request("POST", "/login")
        page.goto(answer.json()["url"])
        page.locator("#found[data-total]").wait_for(state="attached")  # the stream has begun

    def _on_console_message(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in NETWORK_ERRORS):
            self.errors.append(message.text)

    def __getitem__(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def row(self, key: str) -> Locator:
        return self.page.locator(f'[id="k:{key}"]')

    def value(self, key: str) -> Locator:
        return self.row(key).locator(".v")

    def node(self, prefix: str) -> Locator:
        return self.page.locator(f'[id="t:{prefix}"]')

    def colour(self, selector: str) -> str:
        """The ground of the first such element."""
        found: str = self[selector].first.evaluate("e => getComputedStyle(e).backgroundColor")
        return found

    def keys(self) -> list[str]:
        """The rendered rows' keys, in their order."""
        rows = self.page.locator("#rows .row")
        found: list[str] = rows.evaluate_all("rows => rows.map(row => row.dataset.key)")
        return found

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def search(self, text: str) -> None:
        """Search as people do; the list has the focus afterwards."""
        self.page.locator("#query").click()
        self.page.locator("#query").fill(text)
        self.press("Enter")

    def choose(self, key: str) -> None:
        """Click on a row and wait until the inspector shows it."""
        self.row(key).locator(".k").click()
        expect(self.page.locator("#fact")).to_have_attribute("data-key", key)

    def pause(self) -> None:
        """Hold the picture by its key, and wait until the server holds it as well."""
        self.press("p")
        expect(self["#pause"]).to_have_text("Paused")
        held = """async () => {
            const { $ } = await import("/static/signals.js");
            while ($._pinned < 0) await new Promise(requestAnimationFrame);
        }"""
        self.page.evaluate(held)

    def wait_for(self, expression: str, argument: Any = None) -> None:
        """Wait until the JavaScript `expression` is true in the page."""
        self.page.wait_for_function(expression, arg=argument)


class _Driver:
    """Playwright, which each process starts once: that takes most of a second.

    Its asyncio loop counts as running for as long as it is open, so that nothing else in this
    process could have one: outside of `running` it does not count.
    """

    def __init__(self) -> None:
        self._started: Playwright | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def running(self) -> Iterator[Playwright]:
        """Playwright for a `with` block, which may be within another one."""
        with no_loop_runs():
            asyncio._set_running_loop(self._loop)  # noqa: SLF001
            self._started = self._started or sync_playwright().start()
            self._loop = asyncio._get_running_loop()  # noqa: SLF001
            yield self._started

    def stop(self) -> None:
        """End it, where it was started."""
        if self._started:
            with self.running() as playwright:
                playwright.stop()


_DRIVER: Final = _Driver()
playwright_running: Final = _DRIVER.running


def pytest_sessionfinish() -> None:
    _DRIVER.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's, started once for all tests of a process; to be used where `browser` is as well."""
    with playwright_running() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield started
    with playwright_running():
        started.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[BrowserContext]:
    """A new profile: nothing stored. Every window is a tab of its own."""
    with playwright_running():
        context = chromium.new_context(viewport=SIZE)
        yield context
        context.close()


@contextmanager
def no_loop_runs() -> Iterator[None]:
    """Playwright refuses to start where a loop runs in this thread, such as in another greenlet."""
    before = asyncio._get_running_loop()  # noqa: SLF001 - documented for whoever drives a loop
    asyncio._set_running_loop(None)  # noqa: SLF001
    try:
        yield
    finally:
        asyncio._set_running_loop(before)  # noqa: SLF001


@pytest.fixture
def no_loop() -> Iterator[None]:
    """Whatever loop of a greenlet another file has left in this thread does not count."""
    with no_loop_runs():
        yield


@pytest.fixture(scope="module")
def one_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for all tests of a file that only need some keys."""
    started = Server(tmp_path_factory.mktemp("page") / "store")
    yield started
    started.kill()


@pytest.fixture
def box(one_server: Server) -> Server:
    """The file's server, without a single key."""
    for match in ("_signalbox.**", "**"):
        while items := one_server.get("/queries/state", match=match, limit=1000).json()["items"]:
            commands = [{"type": "delete", "key": item["key"]} for item in items]
            answer = one_server.post({"type": "batch", "commands": commands})
            assert answer.status == 200, answer
    return one_server


@pytest.fixture
def open_window(browser: BrowserContext) -> Iterator[OpenWindow]:
    """Opens windows: `open_window(server, prepare)`; `prepare(page)` is called before it loads.

    What a page complains about fails its test.
    """
    opened: list[Window] = []

    def open_one(
        server: Server, prepare: Callable[[Page], object] = lambda _: None, **media: Any
    ) -> Window:
        page = browser.new_page()
        page.emulate_media(**media)
        prepare(page)
        opened.append(Window(page, server))
        return opened[-1]

    yield open_one
    for window in opened:
        window.page.close()
    errors = [error for window in opened for error in window.errors]
    if errors:
        pytest.fail("The page complains: " + " | ".join(errors))


def record_requests(page: Page, addresses: list[str]) -> None:
    """Add the address of everything that the page will ask for."""
    page.on("request", lambda request: addresses.append(request.url))


def set_values(server: Server, values: Iterable[tuple[str, Any]], actor: str = "script") -> None:
    """Set many keys at once."""
    lines = [json.dumps({"type": "set", "key": key, "value": value}) for key, value in values]
    answer = server.request(
        "POST",
        f"/commands/import?actor={actor}",
        "\n".join(lines).encode(),
        {"Content-Type": "application/x-ndjson"},
    )
    assert answer.status == 200, answer
