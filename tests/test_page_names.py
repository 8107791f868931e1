"""The window with keys and values as people, and those who mean no good, have them."""

import json
import unicodedata
from typing import Any

import pytest
from playwright.sync_api import expect

from signalbox.ui import invisible_characters
from support.harness import Server
from support.page_window import OpenWindow, Window, set_values

pytestmark = pytest.mark.long

HOSTILE = [
    "a.__proto__",
    "__proto__",
    "constructor.prototype",
    "hasOwnProperty",
    "toString.valueOf",
    "</script><script>window.owned=1</script>",
    "<img src=x onerror=window.owned=1>",
    '" onfocus="window.owned=1" autofocus="',
    "' data-init='window.owned=1",
    "{{7+7}}",
    "${window.owned=1}",
    "$key",
    "@get('/x')",
    "`$(x)`",
    "\\",
    "&lt;b&gt;&amp;",
    "javascript:window.owned=1",
    "a#b?c=d&e",
    "%41",
    "<!--",
]
PEOPLES = [
    "Küche.Licht",
    "Living Room.temp (°C)",
    "$SYS/broker/load",
    "温度.居間",
    "مطبخ.ضوء",
    "👩\u200d🔬.❤️",
    "نیم\u200cسیب",
]
KEYS = HOSTILE + PEOPLES
ORDERED = '{"b": 1, "10": 2, "2": {"9": 1, "#9": 2, "##": 3, "1": [{"0": "\\"4\\":"}]}, "a": 4}'


@pytest.fixture
def window(box: Server, open_window: OpenWindow) -> Window:
    set_values(box, [(key, False) for key in KEYS])
    return open_window(box)


def is_unharmed(window: Window) -> bool:
    done: bool = window.page.evaluate(
        "() => window.owned === undefined && ({}).polluted === undefined && "
        "Object.keys(Object.prototype).length === 0 && typeof ({}).toString === 'function'"
    )
    return done


def test_every_name_is_a_row_that_is_chosen_flipped_and_found(window: Window) -> None:
    assert window.keys() == sorted(KEYS, key=str.encode)
    for key in KEYS:
        row = window.page.locator("#rows .row").nth(window.keys().index(key))
        row.locator(".k").click()
        expect(window["#fact"]).to_have_attribute("data-key", key)
        expect(window["#about h1"]).to_have_text(key)
        row.locator(".switch").click()
        expect(row.locator(".v")).to_contain_text("on")
    state = window.server.get("/queries/export", format="json").json()
    assert state == dict.fromkeys(KEYS, True)
    assert is_unharmed(window)


def test_the_chosen_row_is_known_to_those_who_cannot_see_it(window: Window) -> None:
    window.choose("Living Room.temp (°C)")
    active = "() => document.getElementById('grid').ariaActiveDescendantElement?.dataset.key"
    assert window.page.evaluate(active) == "Living Room.temp (°C)"


@pytest.mark.parametrize("key", ["__proto__", "</script><b>.x", "Küche.Licht (°C)", "a b.c d"])
def test_a_key_is_created_renamed_undone_and_deleted(window: Window, key: str) -> None:
    window.press("Escape", "n")
    window["#create-key"].fill(unicodedata.normalize("NFD", f"new.{key}"))
    window["#create-value"].fill("1")
    window.press("Enter")
    expect(window["#fact"]).to_have_attribute("data-key", f"new.{key}")
    window.press("F2")
    window["#rename-to"].fill(f"old.{key}")
    window.press("Enter")
    expect(window["#fact"]).to_have_attribute("data-key", f"old.{key}")
    window.press("Escape", "Control+z")
    expect(window["#done"]).to_contain_text(f"rename of new.{key}")
    window.press("/")
    window.type(f'open "new.{key}"')
    window.press("Enter")
    expect(window["#fact"]).to_have_attribute("data-key", f"new.{key}")
    window.press("Delete")
    expect(window["#delete-go"]).to_be_enabled()
    window.press("Enter")
    expect(window.row(f"new.{key}")).to_have_count(0)
    assert is_unharmed(window)


def test_what_others_changed_is_decided_key_by_key_whatever_they_are_called(
    window: Window,
) -> None:
    for key in ("__proto__", "constructor.prototype"):
        window.row(key).locator(".switch").click()
        expect(window.value(key)).to_contain_text("on")
        window.server.set(key, "theirs")
        window.press("Control+z")
        expect(window["#undo"]).to_be_visible()
        window["#undo input[value=mine]"].click()
        window["#undo-go"].click()
        expect(window.value(key)).to_contain_text("off")
    assert is_unharmed(window)


def test_the_tree_unfolds_every_prefix(window: Window) -> None:
    for prefix in ("Living Room.", "constructor.", "温度.", "مطبخ."):
        window.node(prefix).locator("[data-do=unfold]").click()
        expect(window.node(prefix)).to_have_attribute("aria-expanded", "true")
        window.node(prefix).click()
        expect(window["#rows .row"]).to_have_count(1)
        window.node("").click()
    assert is_unharmed(window)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("LIVING room", ["Living Room.temp (°C)"]),
        ("Living *.*", ["Living Room.temp (°C)"]),
        ("KÜCHE", ["Küche.Licht"]),
        ("Ku\u0308*.*", ["Küche.Licht"]),
        ("2 * 3", []),
        ("温*.**", ["温度.居間"]),
        ("{{7*", ["{{7+7}}"]),
        ("{{7+", ["{{7+7}}"]),
    ],
)
def test_names_are_searched_for(window: Window, text: str, found: list[str]) -> None:
    window.search(text)
    expect(window["#found"]).to_have_text(f"{len(found)} found")
    assert window.keys() == found


def test_a_comparison_and_a_restore_name_every_key(window: Window) -> None:
    before = window.server.get("/queries/status").json()["revision"]
    set_values(window.server, [(key, True) for key in KEYS])
    window.page.evaluate("r => import('/static/diff.js').then(m => m.compare(r))", before)
    expect(window["#differences .difference:not(.head)"]).to_have_count(len(KEYS))
    names = window["#differences .k"].all_inner_texts()
    assert [name.replace("\n", "") for name in names] == sorted(KEYS, key=str.encode)
    assert is_unharmed(window)


# What nobody sees


def test_the_list_of_what_is_hidden_has_all_that_unicode_calls_so() -> None:
    wanted = {
        code
        for code in range(0x110000)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp")
    }
    assert wanted - invisible_characters.CODES == {0x200C, 0x200D}
    assert not {0xFE0F, 0xE0100, 0x20, 0xA0} & invisible_characters.CODES


def test_what_is_not_seen_is_marked_in_row_editor_history_and_comparison(window: Window) -> None:
    codes = [0x61C, 0xAD, 0x2060, 0x2061, 0x180E, 0xFFF9, 0xE0041, 0x202E, 0x3164, 0x34F, 0x1D173]
    before = window.server.get("/queries/status").json()["revision"]
    for code in codes:
        window.server.set(f"v.{code:x}", f"a{chr(code)}b")
    for code in codes:
        window.choose(f"v.{code:x}")
        units = json.dumps(chr(code))[1:-1]
        expect(window["#draft"]).to_have_value(f'"a{units}b"')
        expect(window["#history .what"]).to_have_text("a\ufffdb")
        assert window.value(f"v.{code:x}").inner_text() == "a\ufffdb"
    window.page.evaluate(
        "r => import('/static/diff.js').then(m => m.compare(r, -1, 'all'))", before
    )
    expect(window["#differences .is"].first).to_have_text("a\ufffdb")


def test_a_files_name_turns_nothing_around(window: Window) -> None:
    file = {"name": "a\u202enosj.csv", "mimeType": "text/csv", "buffer": b"key,value\nf.a,1\n"}
    window["#import"].set_input_files(file)  # type: ignore[arg-type]
    expect(window["#import-title"]).to_have_text("Import a\\u202enosj.csv")
    window["#import-confirm"].click()
    expect(window["#done"]).to_contain_text("Imported a\\u202enosj.csv: 1 change")
    assert window.server.value("f.a") == 1


@pytest.mark.parametrize("text", ["نیم\u200cسیب", "👩\u200d🔬", "❤\ufe0f"])
def test_what_scripts_and_emoji_are_joined_with_is_kept(window: Window, text: str) -> None:
    window.server.set("v.joined", text)
    window.choose("v.joined")
    expect(window["#draft"]).to_have_value(text)
    assert window.value("v.joined").inner_text() == text


# The order of names


def test_an_edited_object_keeps_its_order(window: Window) -> None:
    window.server.set("j.order", json.loads(ORDERED))
    window.choose("j.order")
    expect(window["#kind"]).to_have_value("JSON")
    shown = window["#draft"].input_value()
    assert json.dumps(json.loads(shown)) == ORDERED
    window["#draft"].fill(shown.replace('"a": 4', '"a": 5'))
    window["#set"].click()
    expect(window["#set"]).to_be_disabled()
    expected = ORDERED.replace('"a": 4', '"a": 5')
    expect(window["#saved"]).to_have_text("All changes saved")
    assert json.dumps(window.server.value("j.order")) == expected


def test_a_version_that_is_brought_back_keeps_its_order(window: Window) -> None:
    window.server.set("j.back", json.loads(ORDERED))
    window.server.set("j.back", 1)
    window.choose("j.back")
    window["#history [data-do=restore-version]"].last.click()
    expect(window["#history .version"]).to_have_count(3)
    assert json.dumps(window.server.value("j.back")) == ORDERED


def test_merged_changes_keep_their_order(window: Window) -> None:
    source = "import('/static/values.js').then(m => m.merged(...texts))"
    base, mine, theirs = (
        '{"b":1,"10":1,"2":{"3":0}}',
        '{"b":2,"10":1,"2":{"3":1}}',
        '{"b":1,"10":1,"2":{"3":2},"1":0}',
    )
    found: dict[str, Any] = window.page.evaluate(f"texts => {source}", [base, mine, theirs])
    assert json.dumps(json.loads(found["text"])) == '{"b": 2, "10": 1, "2": {"3": 1}, "1": 0}'
    assert found["clashes"] == ["2.3"]
