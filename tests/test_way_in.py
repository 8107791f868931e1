"""How a browser gets in, and that no other port of this computer gets anything out of it."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from support.harness import ROOT, Server
from support.other_program import OtherProgram, other_program
from support.page_login import page_origin
from support.page_window import OpenWindow, Window

ATTACK: Final = """async (home) => {
    const ask = async (path, options) => {
        try {
            return (await fetch(home + path, {credentials: "include", ...options})).type;
        } catch (error) {
            return "refused";
        }
    };
    const body = JSON.stringify({type: "set", key: "stolen", value: 1});
    const json = {"Content-Type": "application/json"};
    const said = [];
    for (const mode of ["cors", "no-cors"]) {
        for (const path of ["/", "/queries/state", "/queries/export", "/queries/page"]) {
            said.push(await ask(path, {mode}));
        }
        for (const path of ["/commands", "/login", "/redeem", "/commands/import"]) {
            said.push(await ask(path, {mode, method: "POST", body, headers: json}));
            said.push(await ask(path, {mode, method: "POST", body}));
        }
    }
    navigator.sendBeacon(home + "/commands", new Blob([body], {type: "application/json"}));
    const other = window.open(home + "/", "other");
    await new Promise((go) => setTimeout(go, 300));
    for (const name of ["sessionStorage", "localStorage", "document"]) {
        try {
            said.push(String(other[name]));
        } catch (error) {
            said.push("refused");
        }
    }
    other.close();
    for (const storage of [localStorage, sessionStorage]) said.push(...Object.values(storage));
    return said;
}"""
"""What a page of another port can try; what came of each attempt."""


@pytest.fixture(scope="module")
def beside() -> Iterator[OtherProgram]:
    with other_program() as server:
        yield server


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    box.set("lamp.level", 70)
    return open_window(box)


def address(box: Server) -> str:
    found: str = box.request("POST", "/login").json()["url"]
    return found


def kept(page: Page) -> str:
    """What opens the page when its tab is loaded again."""
    found: str = page.evaluate("sessionStorage.getItem('again')")
    assert len(found) > 30
    return found


def test_another_port_reads_nothing_writes_nothing_and_the_page_goes_on(
    window: Window, browser: BrowserContext, beside: OtherProgram
) -> None:
    box, code = window.server, kept(window.page)
    names = ["signalbox", f"signalbox_{box.store[:8]}", "secret", "session"]
    beside.headers = [("Set-Cookie", f"{name}=mine; Path=/; HttpOnly") for name in names]
    page = browser.new_page()
    page.goto(beside.url)
    page.goto(beside.url)  # with its own cookies, and whatever else the browser has for 127.0.0.1
    before = box.get("/queries/status").json()["revision"]
    for address in (box.url, page_origin(box)):
        said: list[Any] = page.evaluate(ATTACK, address)
        assert set(said) <= {"refused", "opaque"}
    page.close()
    seen = "\n".join(beside.seen)
    assert code not in seen
    assert "signalbox_" not in seen.replace(f"{names[1]}=mine", "")
    assert "authorization" not in seen.lower()
    assert box.get("/queries/status").json()["revision"] == before
    box.set("lamp.level", 71)
    expect(window.value("lamp.level")).to_have_text("71")
    window.page.reload()
    expect(window.value("lamp.level")).to_have_text("71")
    assert kept(window.page) == code


def test_nothing_of_the_way_in_stays_in_address_history_or_cookies(
    box: Server, browser: BrowserContext
) -> None:
    page = browser.new_page()
    try:
        page.goto(address(box))
        expect(page.locator("#pause")).to_contain_text("Live")
        assert page.url == f"{page_origin(box)}/"
        assert page.evaluate("document.cookie") == ""
        assert kept(page) not in json.dumps(browser.cookies())
        assert page.evaluate("history.length") <= 2  # the empty tab and this
    finally:
        page.close()


def test_a_new_address_in_the_tab_of_a_window_opens_it_anew(window: Window) -> None:
    window.page.evaluate("sessionStorage.clear()")
    window.page.evaluate("window.stayed = true")
    window.page.goto(address(window.server) + "&window=app")
    window.wait_for("() => !window.stayed && document.getElementById('pause')")
    expect(window["#pause"]).to_contain_text("Live")
    assert window.page.url == f"{page_origin(window.server)}/#app"


def test_an_address_opens_one_window_and_a_used_one_says_how_to_get_another(
    box: Server, open_window: OpenWindow, browser: BrowserContext
) -> None:
    used = address(box)
    for expected in ("Live", "signalbox token --login"):
        page = browser.new_page()
        page.goto(used)
        expect(page.locator("body")).to_contain_text(expected)
        assert box.store not in page.content() or expected == "Live"
        page.close()


def test_a_used_address_in_the_tab_of_a_window_leaves_the_window(window: Window) -> None:
    window.page.goto(f"{page_origin(window.server)}/#code=used-before")
    expect(window["#pause"]).to_contain_text("Live")
    assert window.page.url == f"{page_origin(window.server)}/"


def test_a_file_is_saved_whole_and_a_refusal_is_said(window: Window) -> None:
    window.server.set("lamp.name", "desk ü")
    with window.page.expect_download() as started:
        window.page.evaluate("import('/static/transfer.js').then(({exportAs}) => exportAs('json'))")
    assert started.value.suggested_filename == "signalbox.json"
    path = started.value.path()
    assert json.loads(path.read_text()) == {"lamp.level": 70, "lamp.name": "desk ü"}
    window.server.set("lamp.NAME", 1)
    window.page.evaluate("import('/static/transfer.js').then(({exportAs}) => exportAs('env'))")
    expect(window["#said"]).to_contain_text("signalbox.env was not saved. conflict:")


def test_no_script_asks_but_with_fetch() -> None:
    """All of them share the one that carries the secret."""
    other = re.compile(r"XMLHttpRequest|EventSource|WebSocket|sendBeacon|(src|href)\W+/queries")
    scripts = [path for path in (ROOT / "ui").rglob("*") if path.suffix in (".js", ".html")]
    assert len(scripts) > 20
    found = [path.name for path in scripts if other.search(path.read_text())]
    assert found == []
