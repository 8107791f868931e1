"""Chromium, from the login address to the first rows that a person sees."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from playwright.sync_api import BrowserContext, sync_playwright

from rows import Row, at_most
from support.harness import Server
from support.page_window import ARGUMENTS, CHROMIUM, SIZE

TIMES_APART: Final = 1.5

_NOTE_THE_ROWS: Final = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("#rows .row")) return;
  observer.disconnect();
  // Behind the frame that shows them.
  requestAnimationFrame(() => setTimeout(() => { window.rowsAt = performance.now(); }));
}).observe(document, {childList: true, subtree: true});
"""


def measure(lot: Server, few: Server, many: int, loads: int) -> Iterator[Row]:
    what = f"{many:,} keys: until Chromium shows the first rows"
    if not Path(CHROMIUM).exists():
        yield Row(what, "needs Chromium")
        return
    spent: dict[Server, list[float]] = {lot: [], few: []}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(viewport=SIZE)
        context.add_init_script(_NOTE_THE_ROWS)
        for number in range(loads + 1):
            for server, found in spent.items():
                milliseconds = _load(context, server)
                if number:  # the first one warms up
                    found.append(milliseconds)
        browser.close()
    ours, others = median(spent[lot]), median(spent[few])
    yield at_most(what, ours, "ms", beside=("1,000 keys", others), factor=TIMES_APART)


def _load(context: BrowserContext, server: Server) -> float:
    """Milliseconds in a tab of its own."""
    url = server.request("POST", "/login").json()["url"]
    page = context.new_page()
    page.goto(url)
    milliseconds = page.wait_for_function("window.rowsAt").json_value()
    page.close()
    return float(milliseconds)
