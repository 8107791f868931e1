"""The grammar of keys, what patterns match, and ranges in key order."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalbox.server.model.errors import Invalid
from signalbox.server.model.keys import (
    RESERVED,
    after_prefix,
    check_key,
    check_prefix,
    compile_pattern,
    is_key,
)

KEYS = [
    "a",
    "A",
    "0",
    "_",
    "/",
    "_x.y",
    "/etc/hosts",
    "a.b.c",
    "a-b",
    "a.-b",
    "a.@b",
    "a=b:c@d",
    "a//b",
    "a/",
    "a/.b",
    "a./b",
    "1.2.3",
    "_signalbox.theme",
    "-a",
    ":a",
    "@a",
    "=a",
    "a b",
    "a .b",
    "a. b",
    "a,b",
    "a%20b",
    'a"b',
    "'",
    "`$(x)`",
    "</script>",
    "{{x}}",
    "a.__proto__",
    "$SYS/broker/load",
    "Küche.Licht",
    "Living Room.temp (°C)",
    "温度",
    "CO₂",
    "❤️",
    "👩\u200d🔬",
    "نیم\u200cسیب",
    "क्\u200dष",
    "ไทย.ที่",
    "\u0661",
    "a" * 256,
    "\U0001f600" * 256,
    ".".join("a" * 128),
]
NO_KEYS = {
    "": 'The key "" is empty; a key has 1 to 256 characters.',
    ".": "begins with a dot",
    "..": "has two dots in a row",
    ".a": "begins with a dot",
    "a.": "ends with a dot",
    "a..b": 'The key "a..b" has two dots in a row.',
    " ": "begins with a space",
    " a": "begins with a space",
    "a ": "ends with a space",
    "a  b": "has two spaces in a row",
    "a\n": "has U+000A (a control character), which no key has",
    "a\0": "has U+0000 (a control character), which no key has",
    "\ta": "has U+0009 (a control character), which no key has",
    "a*b": 'The key "a*b" has a *, which only patterns have.',
    "*": "has a *",
    "a\u2028b": "has U+2028 LINE SEPARATOR, which no key has",
    "a\u00a0b": "has U+00A0 NO-BREAK SPACE",  # spaces, but others
    "a\u3000b": "has U+3000 IDEOGRAPHIC SPACE",
    "a\u00adb": "has U+00AD SOFT HYPHEN",  # invisible
    "a\u200bb": "has U+200B ZERO WIDTH SPACE",
    "a\u202eb": "has U+202E RIGHT-TO-LEFT OVERRIDE",
    "\ufeffa": "has U+FEFF ZERO WIDTH NO-BREAK SPACE",
    "a\U000e0041": "has U+E0041 TAG LATIN CAPITAL LETTER A",
    "a\ue000": "has U+E000, which no key has",  # private
    "a/./b": "has a dot alone between slashes",
    "a/..b": "has two dots in a row",
    "a/../b": "has two dots in a row",
    "/../b": "has two dots in a row",
    "e\u0301": r'The key "e\u0301" is not in NFC; its NFC form is "é".',
    "a" * 257: "has 257 characters; a key has at most 256",
    "\U0001f600" * 257: "has 257 characters; a key has at most 256",
}
"""Each with the rule that it breaks, as the refusal has it."""


@pytest.mark.parametrize("key", KEYS)
def test_these_are_keys(key: str) -> None:
    assert is_key(key)
    check_key(key)


@pytest.mark.parametrize(("key", "rule"), NO_KEYS.items())
def test_these_are_no_keys_and_the_refusal_says_the_rule(key: str, rule: str) -> None:
    assert not is_key(key)
    with pytest.raises(Invalid) as caught:
        check_key(key)
    assert rule in caught.value.message
    assert len(caught.value.message) < 160


def test_a_dot_between_slashes_is_refused_at_the_end_and_the_start_too() -> None:
    """`a/.` and `./a` would name another file where a key becomes a path."""
    for key in ("a/.", "./a", "a/..", "../a", "a/./", "//.//"):
        assert not is_key(key), key


@pytest.mark.parametrize("prefix", ["a.", "a.b.", "_signalbox.", "a/b.", "a b.", "a .", "Küche."])
def test_a_prefix_is_a_key_and_a_dot(prefix: str) -> None:
    check_prefix(prefix)


@pytest.mark.parametrize("prefix", ["", ".", "a", "a..", ".a.", "a  b.", "a  .", "a*.", "a\u00ad."])
def test_anything_else_is_no_prefix(prefix: str) -> None:
    with pytest.raises(Invalid, match=r"^The prefix "):
        check_prefix(prefix)


TEXTS = st.text("ab.-/ ?[]\\\ud7ff\ue000\U0001f600\U0010fffd", min_size=1, max_size=8)
ANY_KEY = st.from_regex(r"[a-c_/][a-c/-]{0,3}(\.[a-c/-]{1,3}){0,3}", fullmatch=True).filter(is_key)
PATTERNS = st.lists(
    st.sampled_from(["a", "b", "c", ".", "-", "/", "*", "**"]), min_size=1, max_size=8
).map("".join)


def naive(pattern: str, key: str) -> bool:
    """What the contract says, letter by letter."""
    if key.startswith(RESERVED) and not pattern.startswith(RESERVED):
        return False
    if not pattern:
        return not key
    if pattern.startswith("**"):
        rest = pattern[2:]
        return any(naive_rest(rest, key[cut:]) for cut in range(len(key) + 1))
    if pattern.startswith("*"):
        segment = len(key.split(".", 1)[0])
        return any(naive_rest(pattern[1:], key[cut:]) for cut in range(segment + 1))
    return bool(key) and pattern[0] == key[0] and naive_rest(pattern[1:], key[1:])


def naive_rest(pattern: str, key: str) -> bool:
    return naive(pattern, key) if pattern else not key


@settings(deadline=None, max_examples=400)
@given(pattern=PATTERNS, key=ANY_KEY)
def test_a_pattern_matches_what_the_contract_says(pattern: str, key: str) -> None:
    assert compile_pattern(pattern).matches(key) == naive(pattern, key)


@settings(deadline=None, max_examples=400)
@given(pattern=PATTERNS, key=ANY_KEY)
def test_what_a_pattern_matches_lies_in_its_range(pattern: str, key: str) -> None:
    compiled = compile_pattern(pattern)
    inside = compiled.low <= key < compiled.high
    if compiled.matches(key):
        assert inside
    if compiled.is_range and inside and not key.startswith(RESERVED):
        assert compiled.matches(key)


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("test", ["test"], ["test2", "test.a", "tes"]),
        ("test.**", ["test.a", "test.a.b"], ["test", "test2.a"]),
        ("test.*", ["test.a", "test.a-b/c"], ["test.a.b", "test"]),
        ("*.on", ["lamp.on"], ["lamp.desk.on", "on"]),
        ("**.on", ["lamp.on", "lamp.desk.on"], ["on", "lamp.once"]),
        ("**", ["a", "a.b"], ["_signalbox.theme"]),
        ("*", ["a"], ["a.b", "_signalbox.theme"]),
        ("_signalbox.**", ["_signalbox.theme"], ["_signalboxes", "a"]),
        ("_signalbox**", ["_signalboxes.a"], ["_signalbox.theme"]),
        ("a=b:c@d", ["a=b:c@d"], ["a=b:c@e"]),
    ],
)
def test_stars_match_within_or_across_segments(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    compiled = compile_pattern(pattern)
    assert [key for key in matching if not compiled.matches(key)] == []
    assert [key for key in others if compiled.matches(key)] == []


@pytest.mark.parametrize("pattern", ["", "a\n", "e\u0301", "a\u200b*", "a\ue000", "a" * 513])
def test_a_pattern_of_other_characters_is_refused(pattern: str) -> None:
    with pytest.raises(Invalid, match=r"^The pattern "):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "**a" * 120 + "**b",
        "*a" * 170 + "*b",
        "**a*" * 100 + "b",
        "a*" * 200 + ".b",
        "**" + "a*" * 100 + "**b",
        "**.a" * 60 + "*b",
    ],
)
def test_no_pattern_takes_long_however_many_stars_it_has(pattern: str) -> None:
    """Backtracking over a dozen stars would already outlast the test's time limit."""
    for key in ("a" * 256, "a.a" * 85, ".".join("a" * 128), "a" * 250 + "b"):
        compiled = compile_pattern(pattern)
        assert compiled.matches(key) in {True, False}


@settings(deadline=None)
@given(prefix=TEXTS, text=TEXTS)
def test_a_prefix_range_holds_exactly_what_begins_with_the_prefix(prefix: str, text: str) -> None:
    assert (prefix <= text < after_prefix(prefix)) == text.startswith(prefix)
