"""Files in the window: what an import would do is shown first, and is what it then does."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from support.harness import Server
from support.page_window import OpenWindow, Window, set_values


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    box.post({"type": "delete_prefix", "prefix": "i."})
    set_values(box, [("i.same", 1), ("i.other", "x")])
    return open_window(box)


def choose(window: Window, path: Path) -> None:
    window["#import"].set_input_files(path)
    expect(window["#import-preview"]).to_be_visible()


def test_an_import_is_shown_first_and_done_when_it_is_confirmed(
    window: Window, tmp_path: Path
) -> None:
    file = tmp_path / ".env.local"
    file.write_bytes(b"i.same=1 # it's\ni.other='y'\ni.bad=k\xfcche\ni.new=5\n")
    choose(window, file)
    expect(window["#import-count"]).to_contain_text("1 new, 1 changed, 1 equal, compared with")
    expect(window["#import-bad"]).to_have_text("1 line cannot be read:")
    expect(window["#import-lines"]).to_contain_text("Line 3: Byte 8 of the line is 0xfc")
    assert window.server.value("i.other") == "x"
    window["#import-encoding"].select_option("latin-1")
    expect(window["#import-count"]).to_contain_text("2 new, 1 changed, 1 equal")
    expect(window["#import-lines"]).to_be_hidden()
    window["#import-confirm"].click()
    expect(window["#import-preview"]).to_be_hidden()
    expect(window.value("i.bad")).to_have_text("küche")
    assert [window.server.value(f"i.{name}") for name in ("other", "new")] == ["y", 5]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b'{"i.new": "k\xfcche"}', "0 new"),
        ("a.json", b'{"i.new": 1, "i.x": ', "what begins here does not end"),
        ("a.json", b"[1]", "a JSON file is one, of keys and values"),
        ("a.png", b"\x89PNG\r\n\x1a\n\0", "is a picture; expected is a text"),
        ("a.ndjson", b'\xef\xbb\xbf{"type":"set","key":"i.same","value":1}\n', "1 equal"),
        ("empty", b"", "is empty"),
    ],
)
def test_what_would_change_nothing_or_cannot_be_read_is_not_offered(
    window: Window, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    choose(window, tmp_path / name)
    expect(window["#import-count"]).to_contain_text(said)
    expect(window["#import-confirm"]).to_be_disabled()
    window.press("Escape")
    expect(window["#import-preview"]).to_be_hidden()
    assert window.server.get("/queries/state/i.new").status == 404


def test_what_a_browser_says_of_a_lost_server_is_not_passed_on(
    window: Window, tmp_path: Path
) -> None:
    for name in ("a.env", "b.env"):
        (tmp_path / name).write_text("I_NEW=1")
    said = "The server did not answer to the end: it is away, or the file cannot be read any more."
    window.page.route("**/commands/import?*dry_run*", lambda route: route.abort())
    choose(window, tmp_path / "a.env")
    expect(window["#import-count"]).to_have_text(said)
    window.press("Escape")
    window.page.unroute("**/commands/import?*dry_run*")
    window.page.route("**/commands/import?*id=*", lambda route: route.fulfill(body="<html>"))
    choose(window, tmp_path / "b.env")
    window["#import-confirm"].click()
    expect(window["#done"]).to_contain_text(f"b.env: {said} Activity lists what was imported.")


def test_two_equal_names_are_reported_and_a_byte_order_mark_is_skipped(
    window: Window, tmp_path: Path
) -> None:
    file = tmp_path / "twice.json"
    file.write_bytes(
        b'\xef\xbb\xbf{"i.a": 1,\n"i.a": 2,\n"i.b": {"k": 1, "k": 2}, "i.c": 12345678901234567890}'
    )
    choose(window, file)
    expect(window["#import-bad"]).to_have_text("2 lines cannot be read:")
    window["#import-confirm"].click()
    expect(window.value("i.c")).to_have_text("12345678901234567890")
    assert window.server.value("i.a") == 1
    assert window.server.get("/queries/state/i.b").status == 404


def test_what_a_file_says_is_never_a_part_of_the_page(window: Window, tmp_path: Path) -> None:
    file = tmp_path / "<img src=x onerror=document.title='out'>.txt"
    file.write_bytes(b"<b>*<i id=evil>\n" * 20)
    choose(window, file)
    expect(window["#import-lines"]).to_contain_text("<b>*<i id")
    expect(window["#import-lines"]).to_contain_text("and 12 more lines")
    expect(window["#evil"]).to_have_count(0)


def test_a_history_that_another_store_has_is_refused_before_it_is_imported(
    window: Window, tmp_path: Path
) -> None:
    file = tmp_path / "history.ndjson"
    file.write_bytes(
        b'{"revision":1,"id":"other","actor":"a","at":"2001-01-01T00:00:00.000Z","type":"set",'
        b'"changes":[{"key":"other","value":1}]}\n'
    )
    choose(window, file)
    expect(window["#import-count"]).to_contain_text("Line 1: This store has another transaction")
    expect(window["#import-confirm"]).to_be_disabled()
