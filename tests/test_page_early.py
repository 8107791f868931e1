"""The rows are seen before the scripts are here: what somebody does with them by then is done."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from support.harness import Server
from support.page_window import OpenWindow, record_requests, set_values


def click_row(page: Page) -> None:
    page.locator('[id="k:lamp.level"] .k').click()


def row_is_chosen(page: Page, _: Server) -> None:
    expect(page.locator("#fact")).to_have_attribute("data-key", "lamp.level")
    expect(page.locator("#draft")).to_have_value("70")


def click_switch(page: Page) -> None:
    page.get_by_role("switch", name="lamp.on").click()


def it_is_on(page: Page, server: Server) -> None:
    expect(page.get_by_role("switch", name="lamp.on")).to_be_checked()
    expect(page.locator("#done")).to_contain_text("lamp.on")
    [attempt] = server.get("/queries/attempts", limit=1).json()["items"]
    assert attempt["actor"].startswith("window.")


def type_search(page: Page) -> None:
    page.keyboard.press("/")
    page.keyboard.type("train")
    page.keyboard.press("Enter")


def click_and_type_search(page: Page) -> None:
    page.locator("#query").click()
    page.keyboard.type("train")
    page.keyboard.press("Enter")


def it_is_found(page: Page, _: Server) -> None:
    expect(page.locator("#query")).to_have_value("train")
    expect(page.locator("#rows .row")).to_have_count(1)
    expect(page.locator('[id="k:train.lr"]')).to_be_visible()


def move_and_edit(page: Page) -> None:
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "Enter"):
        page.keyboard.press(key)


def it_is_edited(page: Page, _: Server) -> None:
    expect(page.locator("#fact")).to_have_attribute("data-key", "lamp.level")
    expect(page.locator("#draft")).to_be_focused()


def choose_find_in_the_menu(page: Page) -> None:
    told = "new CustomEvent('signalbox-menu', { detail: { command: 'Find' } })"
    page.evaluate(f"document.dispatchEvent({told})")


def search_is_open(page: Page, _: Server) -> None:
    expect(page.locator("#query")).to_be_focused()
    expect(page.locator("#palette")).to_be_visible()


@pytest.mark.parametrize(
    ("act", "see"),
    [
        (choose_find_in_the_menu, search_is_open),
        (click_row, row_is_chosen),
        (click_switch, it_is_on),
        (type_search, it_is_found),
        (click_and_type_search, it_is_found),
        (move_and_edit, it_is_edited),
    ],
)
def test_what_is_done_before_the_scripts_are_here_is_done(
    box: Server,
    browser: BrowserContext,
    act: Callable[[Page], None],
    see: Callable[[Page, Server], None],
) -> None:
    set_values(box, [("lamp.level", 70), ("lamp.on", False), ("train.lr", 0.01)])
    page = browser.new_page()
    page.route("**/static/datastar.js", lambda _: None)  # it waits for unroute
    page.goto(box.request("POST", "/login").json()["url"], wait_until="commit")
    expect(page.locator('[id="k:lamp.level"]')).to_be_visible()
    act(page)
    assert page.evaluate("document.documentElement.className") == "starting"
    page.unroute("**/static/datastar.js")
    see(page, box)
    page.close()


@pytest.mark.parametrize("is_lost", [True, False])
def test_a_page_whose_styles_are_late_or_lost_opens_all_the_same(
    box: Server, open_window: OpenWindow, is_lost: bool
) -> None:
    """Without styles the list is as high as all of its rows, which are more than it may ask for."""
    set_values(box, [(f"k.{n:05}", n) for n in range(1_000)])

    requests: list[str] = []

    def prepare(page: Page) -> None:
        record_requests(page, requests)

        def answer(route: Route) -> None:
            if is_lost:
                route.abort()
            else:
                page.wait_for_selector("#rows .row")
                route.continue_()

        page.route("**/static/window.css", answer)

    window = open_window(box, prepare)
    expect(window["#grid"]).to_have_attribute("aria-rowcount", "1001")
    expect(window.row("k.00003")).to_be_visible()
    if not is_lost:
        asked = [url for url in requests if "/queries/page" in url]
        assert len(asked) == 1
