"""Keys as people have them: what MQTT topics, files and sensors are called, in every face."""

import csv
import io
import json
import re
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import signalbox
from signalbox.server.model.errors import (
    BLANK_CHARACTERS,
    JOINERS,
    Invalid,
    quoted,
)
from signalbox.server.model.keys import (
    KEY_SCHEMA,
    MATCH_SCHEMA,
    PREFIX_SCHEMA,
    check_key,
    check_new_key,
    compile_pattern,
    is_key,
)
from signalbox.ui import invisible_characters
from support.command_line import Shell
from support.harness import Server
from support.hostile_inputs import ODD_KEY_NAMES
from support.raw_http import Client, lines, serving, values

ALLOWED = "LMNPS"
UNASSIGNED = "\u0378"
"""Between Greek letters: no version of Unicode has made a character of it."""

ANY_TEXT = st.text(min_size=1, max_size=12) | st.text(
    st.sampled_from("a. /*-é\u0301\u200d\u00a0\u00ad\ue000中?[]'"), min_size=1, max_size=12
)
ANY_NAME = st.text(st.sampled_from("ab.. -?[]'\"é中\U0001f600/"), min_size=1, max_size=8).filter(
    is_key
)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("names") / "store") as server:
        yield server


@pytest.fixture
def client(box: Server) -> Iterator[Client]:
    """The file's store, empty."""
    with Client(box) as made:
        made.load(lines(*({"type": "delete", "key": key} for key in made.state())))
        yield made


@pytest.fixture
def filled(client: Client) -> Client:
    found = client.load(
        lines(*({"type": "set", "key": key, "value": key} for key in ODD_KEY_NAMES))
    )
    assert found[-1]["accepted"] == len(ODD_KEY_NAMES), found
    return client


def follows_the_grammar(text: str) -> bool:
    """What the contract says, character by character."""
    sound = all(
        unicodedata.category(char)[0] in ALLOWED or char == " " or char in JOINERS for char in text
    )
    return (
        sound
        and "*" not in text
        and 1 <= len(text) <= 256
        and unicodedata.normalize("NFC", text) == text
        and text.strip(" ") == text
        and text.strip(".") == text
        and not any(part in text for part in ("  ", "..", "/./"))
    )


@settings(deadline=None, max_examples=1_000)
@given(text=ANY_TEXT)
def test_a_key_is_what_the_contract_says(text: str) -> None:
    try:
        check_new_key(text)
    except Invalid:
        assert not follows_the_grammar(text)
    else:
        assert follows_the_grammar(text)


@settings(deadline=None, max_examples=300)
@given(text=ANY_TEXT)
def test_the_described_patterns_take_every_key_prefix_and_pattern(text: str) -> None:
    if is_key(text):
        assert re.search(KEY_SCHEMA["pattern"], text)
        if len(text) < 255:
            assert re.search(PREFIX_SCHEMA["pattern"], text + " .")
            assert re.search(PREFIX_SCHEMA["pattern"], text + ".")
        assert re.search(MATCH_SCHEMA["pattern"], text + ".**")


def test_another_form_is_refused_and_the_right_one_named() -> None:
    with pytest.raises(Invalid) as caught:
        check_key("Ku\u0308che.Licht")
    assert r'"Ku\u0308che.Licht" is not in NFC; its NFC form is "Küche.Licht"' in str(caught.value)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a\u202eb", "U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("a\u00a0b", "U+00A0 NO-BREAK SPACE"),
        ("a\x07", "U+0007"),
        ("a\ue000", "U+E000"),
    ],
)
def test_a_character_that_no_key_has_is_named(key: str, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_key(key)
    assert f" has {name}" in str(caught.value)


SELECTORS = [*range(0xFE00, 0xFE10), *range(0x180B, 0x180E), 0x180F, *range(0xE0100, 0xE01F0)]
IGNORABLE = [
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x3164, 0xFEFF, 0xFFA0),
    *(*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070)),
    *(*range(0xFFF0, 0xFFF9), *range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B)),
    *range(0xE0000, 0xE1000),
    *SELECTORS,
]
"""Unicode's `Default_Ignorable_Code_Point` (DerivedCoreProperties.txt)."""


def test_of_what_shows_as_nothing_a_key_takes_letters_marks_symbols_and_joiners() -> None:
    taken = {*SELECTORS, *map(ord, BLANK_CHARACTERS + JOINERS)}
    for code in (*IGNORABLE, *map(ord, BLANK_CHARACTERS)):
        if code in taken:
            check_new_key(f"a{chr(code)}b")
            continue
        with pytest.raises(Invalid, match=f"has U.{code:04X}") as refused:
            check_new_key(f"a{chr(code)}b")
        assert chr(code) not in refused.value.message
    for emoji in ("☀️", "❤︎", "1️⃣", "👩‍🔬", "葛󠄀", "ᠠ᠋"):
        check_new_key(emoji)


def test_what_shows_as_nothing_is_marked_wherever_it_is_repeated() -> None:
    assert {*map(ord, BLANK_CHARACTERS)} - {
        0x2800
    } <= invisible_characters.CODES  # Braille has its blank, in pictures too
    assert quoted(BLANK_CHARACTERS).isascii()


def test_what_this_unicode_does_not_know_is_never_made_but_always_read(client: Client) -> None:
    """A node with a newer Python may have made it."""
    key = f"a{UNASSIGNED}"
    for command in ({"type": "set", "value": 1}, {"type": "add"}, {"type": "toggle"}):
        refused = client.send(**command, key=key)
        assert (refused.status, refused.json()["code"]) == (422, "invalid")
        assert "U+0378" in refused.json()["message"]
    client.send("set", key="a", value=1)
    assert client.send("rename", key="a", to=key).status == 422
    assert client.get(f"state/{quote(key)}").status == 404
    assert client.get(f"history/{quote(key)}").status == 200
    assert client.get("state", match=f"{key}.**").status == 200
    assert client.send("delete", key=key).json()["changed"] is False


@pytest.mark.parametrize("key", ODD_KEY_NAMES)
def test_every_name_goes_there_and_back(client: Client, key: str) -> None:
    assert client.send("set", key=key, value=1).status == 200
    assert client.value(key) == 1
    assert client.get(f"history/{quote(key, safe='')}").json()["items"][0]["value"] == 1
    assert values(client, match=key) == {key: 1}
    assert client.send("rename", key=key, to="moved").status == 200
    assert client.send("undo").status == 200
    assert client.state() == {key: 1}


def test_keys_are_in_the_order_of_their_bytes(filled: Client) -> None:
    found = [item["key"] for item in filled.get("state", limit=1000).json()["items"]]
    assert found == sorted(ODD_KEY_NAMES, key=str.encode)


def test_pages_go_on_behind_any_key(filled: Client) -> None:
    for sort in ("key", "changed"):
        found, after = list[str](), dict[str, str]()
        while True:
            page = filled.get("state", limit=2, sort=sort, **after).json()
            found += [item["key"] for item in page["items"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        assert sorted(found) == sorted(ODD_KEY_NAMES)


@pytest.mark.parametrize(
    ("match", "found"),
    [
        ("a?b[c*", ["a?b[c]"]),
        ("**[c]", ["a?b[c]"]),
        ("*ab*", []),  # ? is no wildcard
        ("Kü*.*", ["Küche.Licht"]),
        ("*Room.*(°C)", ["Living Room.temp (°C)"]),
        ("**'**", ["'=1", "O'Brien.x"]),
        ("_x%", ["_x%"]),
        ("*%*", ["_x%", "a%2Fb", "{% if %}"]),
        ("\U0001f600.**", ["\U0001f600.ﬀ"]),
    ],
)
def test_patterns_take_all_but_stars_literally(
    filled: Client, match: str, found: list[str]
) -> None:
    page = filled.get("state", match=match).json()
    assert sorted(item["key"] for item in page["items"]) == sorted(found)
    assert page["total"] == len(found)


@settings(deadline=None, max_examples=60)
@given(names=st.sets(ANY_NAME, min_size=1, max_size=12), data=st.data())
def test_sql_and_the_grammar_agree_about_patterns_and_trees(
    box: Server, names: set[str], data: st.DataObject
) -> None:
    with Client(box) as client:
        old = [{"type": "delete", "key": key} for key in client.state()]
        new = [{"type": "set", "key": key, "value": 1} for key in names]
        client.load(lines(*old, *new))
        pieces = st.sampled_from([*"ab.?[]é' ", "中", "*", "**"])
        match = "".join(data.draw(st.lists(pieces, min_size=1, max_size=5)))
        expected = sorted(filter(compile_pattern(match).matches, names))
        page = client.get("state", match=match, limit=1000).json()
        assert [item["key"] for item in page["items"]] == expected
        assert page["total"] == len(expected)
        check_tree(client, "", names)


def check_tree(client: Client, prefix: str, names: set[str]) -> None:
    """Every segment once, in order, with the exact number of keys at and below it."""
    below = {name for name in names if name.startswith(prefix)}
    segments = sorted({name[len(prefix) :].split(".")[0] for name in below})
    found = client.get("tree", prefix=prefix, limit=1000).json()
    assert [child["segment"] for child in found["children"]] == segments
    for child in found["children"]:
        whole = prefix + child["segment"]
        inside = {name for name in below if name == whole or name.startswith(whole + ".")}
        assert child["keys"] == len(inside)
        if "prefix" in child:
            check_tree(client, child["prefix"], inside)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("KÜCHE", ["Küche.Licht"]),
        ("ku\u0308che", ["Küche.Licht"]),
        ("room.TEMP (°c)", ["Living Room.temp (°C)"]),
        ("FF", ["\U0001f600.ﬀ"]),
        ("温", ["温度"]),
        ("%2f", ["a%2Fb"]),
        ("ضوء", ["مطبخ.ضوء"]),
    ],
)
def test_search_folds_the_case_of_keys_beyond_ascii(
    client: Client, search: str, found: list[str]
) -> None:
    client.load(lines(*({"type": "set", "key": key, "value": 1} for key in ODD_KEY_NAMES)))
    assert sorted(values(client, search=search)) == sorted(found)


@pytest.mark.parametrize("kind", ["ndjson", "json", "csv"])
def test_exports_are_read_back_equal(filled: Client, kind: str) -> None:
    state = filled.state()
    assert state == {key: key for key in ODD_KEY_NAMES}
    text = filled.get("export", format=kind).body
    filled.load(lines(*({"type": "delete", "key": key} for key in state)))
    assert filled.state() == {}
    media_type = {"Content-Type": "application/octet-stream"}
    answer = filled.ask("POST", f"/commands/import?format={kind}", text, media_type)
    assert json.loads(answer.body.splitlines()[-1])["rejected"] == 0
    assert filled.state() == state


def test_no_cell_of_a_key_is_a_formula_and_all_are_different(filled: Client) -> None:
    rows = list(csv.DictReader(io.StringIO(filled.get("export", format="csv").body.decode())))
    cells = [row["key"] for row in rows]
    assert not [cell for cell in cells if cell[0] in "=+-@"]
    assert len(set(cells)) == len(ODD_KEY_NAMES)
    assert {"'=1+1", "''=1", "'-x"} <= set(cells)


def test_variables_have_letters_of_ascii_alone(client: Client) -> None:
    for key in ("Küche.größe (m²)", "1ǆ"):
        client.send("set", key=key, value="it's")
    exported = client.get("export", format="env").body.decode()
    assert exported == "_1_='it'\"'\"'s'\nK_CHE_GR__E__M__='it'\"'\"'s'\n"
    client.send("set", key="Käche.größe (m²)", value=1)
    refused = client.get("export", format="env")
    assert refused.status == 409
    assert set(refused.json()["keys"]) == {"Küche.größe (m²)", "Käche.größe (m²)"}


def test_retention_follows_a_prefix_whatever_signs_it_has(client: Client) -> None:
    prefixes = ["O'Neill", "x') OR (1=1", "Küche, links"]
    for prefix in prefixes:
        client.send("set", key=f"_signalbox.retention.{prefix}", value={"max_age": "0s"})
    for key in (*(f"{prefix}.x" for prefix in prefixes), "other.x"):
        for value in range(3):
            client.send("set", key=key, value=value)
    done = client.ask("POST", "/commands/compact").json()
    removed = {one["prefix"]: one["changes"] for one in done["prefixes"]}
    assert [removed[f"{prefix}."] for prefix in prefixes] == [2, 2, 2]
    assert len(client.get("history/other.x").json()["items"]) == 3
    export = client.get("export", at=1)
    named = export.headers["signalbox-compacted"].split(", ")
    assert {unquote(one) for one in named} >= {f"{prefix}." for prefix in prefixes}
    for prefix in prefixes:
        client.send("delete", key=f"_signalbox.retention.{prefix}")


def test_a_path_that_is_not_utf_8_names_no_other_key(client: Client) -> None:
    client.send("set", key="ab", value=1)
    assert client.ask("GET", "/queries/state/a%FFb").json()["code"] == "malformed"


def test_the_stream_and_the_python_client_take_every_name(box: Server, client: Client) -> None:
    with signalbox.Box(box.url, box.write_token) as python, python.watch("**") as changes:
        for key in ODD_KEY_NAMES:
            python[key] = key
            change = next(one for one in changes if one.key == key)
            assert (change.value, python[key], key in python) == (key, key, True)
        assert dict(python.items()) == {key: key for key in ODD_KEY_NAMES}
        for key in ODD_KEY_NAMES:
            del python[key]
            assert next(one for one in changes if one.key == key).deleted


def test_the_command_line_takes_every_name(client: Client, box: Server) -> None:
    shell = Shell(box.data_dir)
    for key in ODD_KEY_NAMES:
        client.send("set", key=key, value=1)
    listed = [line.split("\t") for line in shell.ok("ls").splitlines()]
    assert [json.loads(line)["key"] for line in shell.ok("ls", "--json").splitlines()] == sorted(
        ODD_KEY_NAMES
    )
    assert [cells[-1] for cells in listed] == ["1"] * len(ODD_KEY_NAMES)
    for key in ("Living Room.temp (°C)", "温度", "--help", "`$(touch x)`;"):
        assert shell.ok("get", "--", key) == "1\n"
        assert shell.ok("add", "--", key).startswith("revision")
    assert client.value("--help") == 2


def test_a_variable_that_is_exported_runs_nothing(filled: Client, tmp_path: Path) -> None:
    filled.send("delete_prefix", prefix="a.")
    for key in ("__proto__", "\\n", "{{x}}", "'=1", "-x", "温度", "=1+1", "</script>"):
        filled.send("delete", key=key)
    answer = filled.get("export", format="env", match="`**")
    script = answer.body.decode() + "env"
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert list(tmp_path.iterdir()) == []
    assert done.stderr == ""
