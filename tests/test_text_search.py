"""What a search finds: the SQL of it against folding every text with Python."""

import sys
import unicodedata

import apsw
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from signalbox.server.model import values
from signalbox.server.model.keys import is_key
from signalbox.server.read import text_search
from signalbox.server.store.sql_functions import register_functions
from signalbox.ui.formatting import highlight, split_key
from support.naive_search import contains

ALPHABET = (
    'ss tkiIjfln  SßẞKİﬁﬀﬆŉǰẖaẚéÉe\u0301ΐΣςПп温🙂"\\/\n\x00\x7f[]^-*?%_!nu01'
    "\u017f\u0131\u02bc\u02be\u03c3\u212a"
)
"""With letters that fold to several, in part to ASCII, and what JSON and patterns escape."""
TEXTS = st.text(ALPHABET, max_size=6)
NEEDLES = st.text(ALPHABET, min_size=1, max_size=3)
VALUES = TEXTS | TEXTS.map(lambda text: {text: [text]}) | st.sampled_from([None, True, 0.5])
KEYS = TEXTS.map(lambda text: unicodedata.normalize("NFC", text)).filter(is_key)


def finds(needle: str, key: str, raw: str) -> bool:
    connection = apsw.Connection(":memory:")
    register_functions(connection)
    condition, bound = text_search.condition(needle, "TRUE")
    row = f"SELECT {condition} FROM (SELECT :s_key AS key, :s_value AS value) s"
    found = connection.execute(row, bound | {"s_key": key, "s_value": raw}).get
    connection.close()
    return bool(found)


@given(needle=NEEDLES, key=KEYS, value=VALUES)
@example("strasse", "k", "Straße")
@example("STRASSE", "Straße", 1)
@example("sx", "k", "ßx")
@example("n", "k", "a\nb")
@example("\u017f", "k", "S")
def test_a_search_finds_what_folding_every_text_finds(needle: str, key: str, value: object) -> None:
    raw = values.encode(value)
    assert finds(needle, key, raw) == contains(key, raw, needle)


@given(parts=st.tuples(TEXTS, NEEDLES, TEXTS), key=KEYS)
def test_every_part_of_a_text_finds_it_in_any_case(parts: tuple[str, str, str], key: str) -> None:
    raw, part = values.encode("".join(parts)), parts[1]
    for needle in (part, part.upper(), part.lower(), part.casefold(), part.swapcase()):
        assert finds(needle, key, raw) == contains(key, raw, needle), needle


@pytest.mark.parametrize("start", range(0, sys.maxunicode + 1, 0x10000))
def test_every_character_that_has_a_case_is_found_by_its_folded_form(start: int) -> None:
    for char in map(chr, range(start, start + 0x10000)):
        if char.isprintable() and char.casefold() != char:
            assert finds(char.casefold(), "k", values.encode(f"a{char}b")), hex(ord(char))


@pytest.mark.parametrize(
    ("text", "needle", "marked"),
    [
        ("Lange Straße 1", "STRASSE", "Lange <mark>Straße</mark> 1"),
        ("Straße", "s", "<mark>S</mark>tra<mark>ß</mark>e"),
        ("aaaaa <b>", "aa", "<mark>aa</mark><mark>aa</mark>a &lt;b&gt;"),
        ("desk lamp", "LAMP", "desk <mark>lamp</mark>"),
        ("desk lamp", "nowhere", "desk lamp"),
    ],
)
def test_what_was_found_is_marked(text: str, needle: str, marked: str) -> None:
    assert highlight(text, needle) == marked


def test_a_key_is_marked_whichever_form_was_typed() -> None:
    prefix, name = split_key("Küche.Licht", "ku\u0308che")
    assert (prefix, name) == ("<mark>Küche</mark>.", "Licht")
