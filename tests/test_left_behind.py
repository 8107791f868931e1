"""What a tab keeps is worth nothing to who has the port later, nor what had it before gets in."""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from support.harness import ROOT, Server
from support.other_program import OtherProgram, other_program
from support.page_login import (
    JSON,
    new_login_code,
    page_origin,
    redeem_code,
    window_key,
    window_secret,
)
from support.page_window import OpenWindow, Window
from support.ports import free_port

TAKE: Final = """async () => {
    const found = [document.cookie, window.name, JSON.stringify(history.state)];
    for (const storage of [sessionStorage, localStorage]) found.push(...Object.values(storage));
    for (const name of await caches.keys()) found.push(name);
    for (const {name} of await indexedDB.databases()) found.push(name);
    return found.filter((text) => text);
}"""
"""All that a page of the same origin can read."""

STRANGER: Final = """<!doctype html><title>Stranger</title><script>
window.heard = [];
navigator.serviceWorker.onmessage = ({data}) => heard.push(data);
navigator.serviceWorker.register("/worker.js");
const code = new URLSearchParams(location.hash.slice(1)).get("code");
if (code) fetch("/redeem", {method: "POST", headers: {"Content-Type": "application/json"},
                            body: JSON.stringify({code})});
</script>"""
"""It stays in the browser, and takes whatever code is in its address."""

WORKER: Final = """
addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));
addEventListener("fetch", (event) => {
    const {request} = event;
    const head = {type: "text/html"};
    if (request.mode === "navigate") return event.respondWith(new Response(new Blob([PAGE], head)));
    const said = {path: new URL(request.url).pathname, key: request.headers.get("Authorization")};
    event.respondWith(clients.matchAll().then((all) => {
        for (const client of all) client.postMessage(said);
        return fetch(request);
    }));
});
"""
HAS_WORKER: Final = "() => navigator.serviceWorker.controller !== null"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "store")
    server.set("lamp.level", 70)
    yield server
    server.kill()


def stranger(server: OtherProgram) -> OtherProgram:
    """Make it stay in the browsers that visit it, by all means that there are."""
    worker = f"const PAGE = {json.dumps(STRANGER)};{WORKER}"
    server.answer_with = lambda path: worker if path == "/worker.js" else STRANGER
    server.headers = [("Cache-Control", "public, max-age=31536000, immutable")]
    return server


def login(box: Server) -> str:
    address: str = box.request("POST", "/login").json()["url"]
    return address


def log_in(box: Server, page: Page) -> None:
    page.goto(login(box))
    await_stream(page)


def await_stream(page: Page) -> None:
    page.locator("#found[data-total]").wait_for(state="attached")


def assert_opens_nothing(box: Server, text: str) -> None:
    assert redeem_code(box, text).status == 401
    for token in (text, window_key(box, text)):
        assert box.request("GET", "/queries/status", token=token).status == 401


def test_what_a_tab_keeps_opens_nothing_in_another_run(
    box: Server, open_window: OpenWindow
) -> None:
    window = open_window(box)
    page = window.page
    box.kill()
    with other_program(box.port) as there:
        stranger(there)
        page.reload()
        assert page.title() == "Stranger"
        taken: list[str] = page.evaluate(TAKE)
        page.wait_for_function(HAS_WORKER)
    assert any(len(text) == 64 for text in taken)
    again = Server(box.data_dir)
    try:
        assert again.port == box.port
        for text in taken:
            assert_opens_nothing(again, text)
        # His page and worker stay where they are: a new address is of another origin.
        page.reload()
        assert page.title() == "Stranger"
        log_in(again, page)
        assert [page.evaluate(HAS_WORKER), page.evaluate("window.heard")] == [False, None]
    finally:
        again.kill()


def test_a_tab_that_went_on_after_a_restart_is_signed_out_when_it_is_loaded_again(
    box: Server, open_window: OpenWindow
) -> None:
    """What it would keep for that, who had the port in between could have made the browser read."""
    window = open_window(box)
    kept = window.page.evaluate(TAKE)
    box.kill()
    expect(window["body"]).to_have_class("offline")
    again = Server(box.data_dir)
    try:
        expect(window["#pause"]).to_contain_text("Live")
        assert window.page.evaluate(TAKE) == kept
        window.page.reload()
        expect(window["#door"]).to_contain_text("signalbox token --login")
        log_in(again, window.page)
        window.page.reload()
        await_stream(window.page)
    finally:
        again.kill()


def test_a_tab_tells_no_worker_that_another_tab_was_given_by_a_stranger(
    box: Server, open_window: OpenWindow
) -> None:
    window, other = open_window(box), open_window(box)
    box.kill()
    with other_program(box.port) as there:
        stranger(there)
        other.page.reload()
        window.wait_for(HAS_WORKER)
    again = Server(box.data_dir)
    try:
        expect(window["#saved"]).to_contain_text("Something else listens on 127.0.0.1:")
        window.page.evaluate("fetch('/queries/status').catch(() => 0)")
        window["[data-view=activity]"].click()
        other.page.evaluate("fetch('/hello?nonce=0123456789abcdef')")
        other.wait_for("() => heard.some(({path}) => path === '/hello')")
        heard: list[dict[str, Any]] = other.page.evaluate("heard")
        assert [one for one in heard if one["key"] is not None] == []
    finally:
        window.errors = [one for one in window.errors if "Something else" not in one]
        again.kill()


def test_a_page_and_a_worker_that_an_earlier_program_left_get_no_code(
    tmp_path: Path, chromium: Browser, browser: BrowserContext
) -> None:
    port = free_port()
    pages = [browser.new_page(), chromium.new_context().new_page()]
    with other_program(port) as there:
        stranger(there)
        pages[0].goto(there.url)
        pages[0].wait_for_function(HAS_WORKER)
        pages[1].add_init_script("delete Navigator.prototype.serviceWorker")  # the cache alone
        pages[1].goto(there.url)
    for page in pages:
        page.goto("about:blank")
        page.goto(there.url)
        assert page.title() == "Stranger"  # though nobody listens
    box = Server(tmp_path / "store", "--port", str(port))
    try:
        for page in pages:
            before = box.get("/queries/status").json()["revision"]
            log_in(box, page)
            assert page.url == f"{page_origin(box)}/"
            page.reload()
            await_stream(page)
            assert box.get("/queries/status").json()["revision"] == before
        pages[1].context.close()
    finally:
        box.kill()


def test_each_run_has_pages_of_an_origin_of_its_own(box: Server) -> None:
    first = login(box)
    box.stop()
    again = Server(box.data_dir)
    try:
        assert again.url == box.url
        assert urlsplit(login(again)).hostname != urlsplit(first).hostname
        assert redeem_code(again, first.partition("#code=")[2]).status == 401
    finally:
        again.kill()


def has_ipv6() -> bool:
    """Whether this computer has the address ::1."""
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="there is no ::1, where somebody could listen")
def test_nobody_else_listens_on_the_port_where_browsers_look_first(tmp_path: Path) -> None:
    """Names under localhost are ::1 as well: what opens a window would go there."""
    box = Server(tmp_path / "store")
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("::1", box.port), family=socket.AF_INET6)
    with socket.socket(socket.AF_INET6) as asker, pytest.raises(ConnectionRefusedError):
        asker.connect(("::1", box.port))
    box.stop()
    with socket.create_server(("::1", box.port), family=socket.AF_INET6):
        again = Server(box.data_dir)
        again.stop()
        assert again.port != box.port
        with pytest.raises(AssertionError, match=f"The port {box.port} is taken on .* or ::1"):
            Server(box.data_dir, "--port", str(box.port))


def actor(window: Window) -> str:
    window.wait_for("!document.documentElement.classList.contains('starting')")
    found: str = window.page.evaluate(
        """async () => {
            const { $ } = await import("/static/signals.js");
            while (!$.actor) await new Promise(requestAnimationFrame);
            return $.actor.replace("window.", "");
        }"""
    )
    return found


def test_a_new_window_is_one_that_was_closed_before_the_run(
    box: Server, open_window: OpenWindow
) -> None:
    earlier = [open_window(box) for _ in range(3)]
    names = [actor(window) for window in earlier]
    for name in (*names, "app", "44444444@node", "55555555"):
        box.set("k", name, actor=f"window.{name}")
    for window in earlier:
        window.page.close()
    box.stop()
    again = Server(box.data_dir)
    try:
        found = [actor(open_window(again)) for _ in range(5)]
        assert found[:3] == names[::-1]
        assert len({*found, "app", "44444444", "55555555"}) == 8
        again.stop()
        third = Server(box.data_dir)
        assert actor(open_window(third)) not in found  # those are open
        third.stop()
    finally:
        again.kill()


def test_a_window_out_of_sight_is_nobody_elses_after_a_restart(
    box: Server, open_window: OpenWindow
) -> None:
    """It has no stream, and comes back with the first look at it."""
    box.set("k", 1)
    window = open_window(box)
    who = actor(window)
    box.set("k", 2, actor=f"window.{who}")
    hide(window, True)
    box.stop()
    again = Server(box.data_dir)
    try:
        newcomer = open_window(again)
        assert actor(newcomer) != who
        newcomer.press("Control+z")
        expect(newcomer["#said"]).to_contain_text("Nothing left to undo")
        assert again.value("k") == 2
        hide(window, False)
        expect(window["#pause"]).to_contain_text("Live")
        assert actor(window) == who
        window["#grid"].focus()
        window.press("Control+z")
        expect(window.value("k")).to_have_text("1")
    finally:
        again.kill()


def hide(window: Window, is_hidden: bool) -> None:
    """As the browser signals to a page that another tab is in front of it."""
    window.page.evaluate(
        """isHidden => {
            Object.defineProperty(document, "hidden", {value: isHidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        is_hidden,
    )


def test_a_window_that_is_loaded_again_is_open(box: Server, open_window: OpenWindow) -> None:
    window = open_window(box)
    who = actor(window)
    box.set("k", 1, actor=f"window.{who}")
    window.page.reload()
    await_stream(window.page)
    assert actor(window) == who
    box.stop()
    again = Server(box.data_dir)
    try:
        assert actor(open_window(again)) != who
        expect(window["#pause"]).to_contain_text("Live")
    finally:
        again.kill()


@pytest.mark.parametrize("is_late", [True, False])
def test_a_page_that_goes_takes_no_window_from_the_one_behind_it(
    box: Server, is_late: bool
) -> None:
    """What a page says when it is loaded again may come before or behind what the next one asks."""
    who, first = admitted(box)
    box.set("k", 1, actor=f"window.{who}")
    if not is_late:
        say_goodbye(box, first)
    again, second = admitted(box, first)
    assert again == who
    say_goodbye(box, first)
    assert admitted(box, first)[0] != who  # a second tab that says that it was this one
    assert admitted(box)[0] != who
    box.stop()
    later = Server(box.data_dir)
    try:
        assert admitted(later)[0] != who
        look(later, f"window.{who}", second)  # that went on
        say_goodbye(later, second)
        assert admitted(later)[0] == who
        assert admitted(later, second)[0] != who  # too late
    finally:
        later.kill()


def test_a_copied_store_gives_no_id_that_may_be_in_use_there(box: Server, tmp_path: Path) -> None:
    who, page = admitted(box)
    box.set("k", 1, actor=f"window.{who}")
    say_goodbye(box, page)
    box.stop()
    shutil.copytree(box.data_dir, tmp_path / "copy")
    for folder, is_given in ((tmp_path / "copy", False), (box.data_dir, True)):
        again = Server(folder)
        assert (admitted(again)[0] == who) is is_given
        again.kill()


def look(box: Server, actor: str, page: str) -> None:
    """Open a page's stream, and close it."""
    query = urlencode({"datastar": json.dumps({"actor": actor, "page": page})})
    connection = box.connect()
    key = window_key(box, window_secret(box))
    connection.request("GET", f"/queries/page?{query}", headers={"Authorization": f"Bearer {key}"})
    assert connection.getresponse().readline()
    connection.close()


def admitted(box: Server, before: str = "") -> tuple[str, str]:
    """The id of a window that is let in, and its page."""
    body = json.dumps({"code": new_login_code(box), "page": before}).encode()
    html = box.request("POST", "/redeem", body, JSON, None).json()["page"]
    found = re.search('data-window="([0-9a-f]{8})" data-page="([0-9a-f]{32})"', html)
    assert found
    return found[1], found[2]


def say_goodbye(box: Server, page: str) -> None:
    body = json.dumps({"page": page}).encode()
    assert box.request("POST", "/goodbye", body, JSON, None).json() == {}


def test_the_address_that_a_server_prints_is_of_its_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "signalbox", "serve", "--data-dir", str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            printed = process.stdout.readline()
        finally:
            process.kill()
    assert re.fullmatch(r"Open http://[0-9a-f]{32}\.localhost:\d+/#code=[\w-]{32}\n", printed)
