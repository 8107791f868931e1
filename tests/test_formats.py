"""The files that an import reads: what people have, and every fault by its line."""

import csv
import io
import json
import os
import subprocess
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from signalbox.server.formats import csv_rows, env_file, import_file
from signalbox.server.formats.import_file import ImportFile
from signalbox.server.formats.text_lines import MAX_LINE, Row, lines
from signalbox.server.model.errors import SignalboxError
from support.format_reading import ANY_TEXT, ANY_VALUE, read_rows, read_values

ENV = """
# a comment with 'quotes" that don't close
A=1 # don't panic
B='two words' # it's
export C="say \\"hi\\" and \\$HOME"
EMPTY= # nothing
NONE=
HASH=abc#def
COLOR=#ff0000
SPACED = some words here   # and a comment
PATH_=C:\\temp\\new
APOSTROPHE=don't
KEY="-----BEGIN
two # no comment
-----END"
SHELL='it'"'"'s'\\'' fine'
RAW=007
YES=true
TEXT="true"
URL=postgres://u:p@h/db?x=1
\tINDENTED=2
"""


def test_an_env_file_is_read_as_people_write_it() -> None:
    assert read_values(ENV, "env") == (
        {
            "A": 1,
            "B": "two words",
            "C": 'say "hi" and $HOME',
            "EMPTY": "",
            "NONE": "",
            "HASH": "abc#def",
            "COLOR": "#ff0000",
            "SPACED": "some words here",
            "PATH_": "C:\\temp\\new",
            "APOSTROPHE": "don't",
            "KEY": "-----BEGIN\ntwo # no comment\n-----END",
            "SHELL": "it's' fine",
            "RAW": "007",
            "YES": True,
            "TEXT": "true",
            "URL": "postgres://u:p@h/db?x=1",
            "INDENTED": 2,
        },
        [],
        None,
    )


def test_a_shell_reads_the_same_from_what_both_take() -> None:
    text = "A=1 # don't\nB='two  words' # it's\nexport C=\"a \\\"b\\\" \\$x\"\nD= # none\nE=a#b\n"
    text += "F='x\ny'\n"
    text += "G='it'\"'\"'s'\\''s'\nH=#c\nI=\"back\\\\slash \\n\"\nJ='a'b\n"
    names = "ABCDEFGHIJ"
    script = text + "".join(f'printf "%s\\0" "${name}"\n' for name in names)
    printed = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True).stdout
    found, refused, trouble = read_values(text, "env")
    assert (refused, trouble) == ([], None)
    assert [str(found[name]) for name in names] == printed.decode().split("\0")[:-1]


@pytest.mark.parametrize(
    ("text", "found", "refused"),
    [
        ("A='open\nB=2\nC=3\n", {"B": 2, "C": 3}, [1]),
        ('A=1\nB="open\nC="shut"\nD=4\n', {"A": 1, "C": "shut", "D": 4}, [2]),
        ("A='x' y\nB=2\n", {"B": 2}, [1]),
        ("A\nexport B\nC=3\n", {"C": 3}, [1, 2]),
        (b'A=1\nT="one\nk\xfcche\nthree"\nB=2\n', {"A": 1, "B": 2}, [3]),
        (b"A=k\xfcche\nB=2\n", {"B": 2}, [1]),
        (b"B=2\nA=\0\n" + b"C=" + b"x" * MAX_LINE + b"\nD=4\n", {"B": 2, "D": 4}, [2, 3]),
        ("A='" + ("x" * 1_000 + "\n") * 1_100 + "\nB=2", {"B": 2}, None),
        ('A="x\\', {}, [1]),
        ("a b*=1\nB=2\n", {"B": 2}, [1]),
    ],
    ids=range(10),
)
def test_what_an_env_file_has_wrong_is_named_and_the_rest_read(
    text: str | bytes, found: dict[str, Any], refused: list[int] | None
) -> None:
    got, lines, trouble = read_values(text, "env")
    assert (got, trouble) == (found, None)
    if refused is not None:
        assert lines == refused
    else:
        assert lines[0] == 1


@pytest.mark.parametrize(
    "name",
    [".env", ".env.local", ".env.production", "prod.env", ".ENV", "a/b/.env.x.json", ".envrc"],
)
def test_every_name_of_an_env_file_is_known(name: str) -> None:
    assert import_file.by_name(name) == "env"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".envelope.json", "json"),
        (".environment.csv", "csv"),
        (".envoy", None),
        (".envrc.txt", "lines"),
    ],
)
def test_a_name_that_only_begins_like_one_is_none(name: str, kind: str | None) -> None:
    assert import_file.by_name(name) == kind


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("cuts", [0, 1, 7])
def test_csv_of_any_program(end: str, separator: str, start: str, cuts: int) -> None:
    rows = [
        ['"key"', "Value ", "note"],
        ["a.one", "1", ""],
        ["a.text", "plain text", "x"],
        ["a.true", "TRUE", ""],
        ["a.json", '"{""k"": [1, 2]}"', ""],
        ["a.lines", '"two\nlines"', ""],
        ["a.empty", "", ""],
        ["'=a.formula", "-5", ""],
    ]
    text = start + end.join(separator.join(row) for row in rows) + end
    found, refused, trouble = read_values(text, "csv", cuts)
    assert (refused, trouble) == ([], None)
    assert found == {
        "a.one": 1,
        "a.text": "plain text",
        "a.true": True,
        "a.json": {"k": [1, 2]},
        "a.lines": "two\nlines",
        "a.empty": "",
        "=a.formula": -5,
    }


@pytest.mark.parametrize(
    ("body", "found", "refused"),
    [
        ('a,"open\nb,2\nc,3\n', ["b", "c"], [2]),
        ('a,"open\nb,"shut"\nc,3\n', ["b", "c"], [2]),
        ('a,"x"y\nb,2\n', ["b"], [2]),
        ("a\nb,2\nc,1,2\nd,4\n", ["b", "d"], [2, 4]),
        ('a,{no\nb,"[1,"\nc,"""\\ud800"""\nd,4\n', ["d"], [2, 3, 4]),
        (b"a,k\xfcche\nb,2\n", ["b"], [2]),
        (b'a,"x\nk\xfcche\ny"\nb,2\n', ["b"], [3]),
        ("a,1\n\n,\nb,2\n", ["a", "b"], []),
        ('a,"' + "x" * MAX_LINE + "\nb,2\nc,3\n", ["b", "c"], [2]),
        ('a,"' + ("x" * 1_000 + "\n") * 1_100 + '"\nb,2\n', ["b"], None),
    ],
    ids=range(10),
)
def test_what_a_csv_file_has_wrong_is_named_and_the_rest_read(
    body: str | bytes, found: list[str], refused: list[int] | None
) -> None:
    got, lines, trouble = read_values(
        b"key,value\n" + (body.encode() if isinstance(body, str) else body), "csv"
    )
    assert (list(got), trouble) == (found, None)
    assert lines[0] == 2 if refused is None else lines == refused


@pytest.mark.parametrize("text", ["", "\ufeff", "a,b\n1,2\n", "key,key,value\n", "\n\n", "key\n"])
def test_csv_without_names_of_columns_is_refused(text: str) -> None:
    found, refused, trouble = read_values(text, "csv")
    assert (found, refused) == ({}, [])
    assert "key and value" in trouble


@pytest.mark.parametrize("cuts", [0, 1, 3])
def test_a_json_object_is_read_member_by_member(cuts: int) -> None:
    text = (
        '\ufeff\n { "a" : 1,"b":[1,{"x":"}],\\" ,"}] ,\n"c":"\\u00fc\\\\",\n\n"d": {"e": {}}\n,'
        f'"n":{"9" * 4_000}, "s": "a:b,{{c"\n}}\n\n'
    )
    found, refused, trouble = read_values(text, "json", cuts)
    assert (refused, trouble) == ([], None)
    assert found.pop("n") == 10**4_000 - 1
    assert found == {
        "a": 1,
        "b": [1, {"x": '}]," ,'}],
        "c": "ü\\",
        "d": {"e": {}},
        "s": "a:b,{c",
    }


@pytest.mark.parametrize("cuts", [0, 1])
@pytest.mark.parametrize(
    ("text", "found", "refused"),
    [
        ('{"a": 1,\n"a b*": 2,\n"c": 3}', ["a", "c"], [2]),
        ('{"a": 1,\n\n"a": 2, "b":\n2}', ["a", "b"], [3]),
        ('{"a": tru,\n"b": 2}', ["b"], [1]),
        ('{"a": 1\n"b": 2,\n"c": 3}', ["a", "c"], [2]),
        ('{"a": "open,\n"b": 2,\n"c": 3}', ["b", "c"], [1]),
        ('{"a": {"x": "open},\n"y": 1},\n"c": 3}', ["c"], [1]),
        ('{"a": "x\\"\n, "b": 2}', ["b"], [1]),
        ('{"a": 1,}', ["a"], [1]),
        ('{"a": 1,,\n"b": 2}', ["a", "b"], [1]),
        ('{"a": "\\ud800",\n"b": 2,\n"c": NaN,\n"d": 01}', ["b"], [1, 3, 4]),
        ('{"a": {"k": 1, "k": 2},\n"b": 2}', ["b"], [1]),
        (b'{"a": "k\xfcche",\n"b": 2}', ["b"], [1]),
        ('{"a": ' + "[" * 2_000 + "]" * 2_000 + ',\n"b": 2}', ["b"], [1]),
        ('{"a": [1},\n"b": 2}', ["b"], None),
        ("{}", [], []),
        ('{a: 1,\n"b": 2, 5: 6}', ["b"], [1, 2]),
    ],
    ids=range(16),
)
def test_what_a_json_file_has_wrong_is_named_and_the_rest_read(
    text: str | bytes, found: list[str], refused: list[int] | None, cuts: int
) -> None:
    got, lines, trouble = read_values(text, "json", cuts)
    assert refused is None or (list(got), lines, trouble) == (found, refused, None)
    assert refused is not None or lines or trouble


@pytest.mark.parametrize("inner", ['"' + "x" * 3_000_000 + '"', "[" + "1, \n" * 900_000 + "1]"])
@pytest.mark.parametrize("cuts", [0, 65_536])
def test_a_member_that_is_too_long_is_left_out(inner: str, cuts: int) -> None:
    text = '{"a": 1,\n"b": ' + inner + ',\n"c": 3,\nbad\n}'
    found, refused, trouble = read_values(text, "json", cuts)
    assert (found, trouble) == ({"a": 1, "c": 3}, None)
    assert refused == [2, 4 + inner.count("\n")]


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"a": 1', '{"a": 1} x', '{"a": "x', "nul", '"a"', '"']
)
@pytest.mark.parametrize("cuts", [0, 1])
def test_what_is_no_json_object_is_said(text: str, cuts: int) -> None:
    assert read_values(text, "json", cuts)[2]


@pytest.mark.parametrize(
    "start",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        b"SQLite format 3\0\x10\0\1\1\0",
        b"PK\x03\x04\x14\0\0\0\x08\0",
        b"\x1f\x8b\x08\0",
        b"key,value\0\na,1\n",
        "key,value\na,1\n".encode("utf-16"),
        b"\0",
    ],
    ids=range(7),
)
@pytest.mark.parametrize("kind", [*import_file.READERS, None])
def test_what_is_no_text_is_refused_whole(start: bytes, kind: str | None) -> None:
    found, refused, trouble = read_values(start + b"a=1\n" * 5_000, kind)
    assert (found, refused) == ({}, [])
    assert trouble.startswith("The file is ")


@pytest.mark.parametrize("text", ["", "\ufeff", " \n\n", "\ufeff\r\n"])
@pytest.mark.parametrize("kind", [None, "csv", "json"])
def test_an_empty_file_is_refused_where_its_format_has_a_form(text: str, kind: str | None) -> None:
    assert "is empty" in read_values(text, kind)[2]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16"])
@pytest.mark.parametrize("kind", ["env", "csv", "lines", "json", "ndjson"])
@pytest.mark.parametrize("cuts", [0, 1])
def test_another_encoding_is_read_where_it_is_named(encoding: str, kind: str, cuts: int) -> None:
    text = {
        "env": "A=Küche\n",
        "csv": "key,value\r\nA,Küche\r\n",
        "lines": "A = Küche\n",
        "json": '{"A": "Küche"}',
        "ndjson": '{"type":"set","key":"A","value":"Küche"}\n',
    }[kind]
    found = read_values(text.encode(encoding), kind, cuts, encoding=encoding)
    assert found == ({"A": "Küche"}, [], None)


def test_what_an_encoding_has_no_letter_for_is_refused() -> None:
    found, refused, _ = read_values(b"A=1\nB=\x81\nC=3\n", "env", encoding="cp1252")
    assert (found, refused) == ({"A": 1, "C": 3}, [2])


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [
        ("x.csv", "", "csv"),
        ("X.JSON", "", "json"),
        ("x.jsonl", "", "ndjson"),
        ("x.txt", "", "lines"),
        ("", '{"type":"set","key":"a","value":1}\n', "ndjson"),
        ("", '{"revision":1,"id":"x"}\n', "ndjson"),
        ("", '{"type": 5}\n', "json"),
        ("", '{\n"a": 1}', "json"),
        ("", "key;value\n", "csv"),
        ("", "\n# comment\nA=1\n", "env"),
        ("", "export A=1\n", "env"),
        ("", "kernel.x = 1\n", "lines"),
    ],
)
def test_the_format_is_seen_from_name_or_content(name: str, start: str, kind: str) -> None:
    file = ImportFile(None, name)
    list(file.read(iter([start.encode()])))
    assert file.format == kind


@pytest.mark.parametrize("kind", ["lines", "env", "csv", "json", "ndjson"])
@pytest.mark.parametrize("wrong", [b"\0", b"\x00\xd8", b"\x00\xdc\x00\xdc"])
def test_half_a_character_of_utf_16_is_reported_and_nothing_is_swallowed(
    kind: str, wrong: bytes
) -> None:
    text = {"lines": "a = 1\n", "env": "a=1\n", "csv": "key,value\na,1\n", "json": '{"a":1,'}
    begin = text.get(kind, '{"type":"set","key":"a","value":1}\n').encode("utf-16") + wrong
    for cuts in (0, 1, 7):
        _, _, trouble = read_values(begin, kind, cuts, encoding="utf-16")
        assert trouble is not None
        assert "is not UTF-16: it has a part of a character alone" in trouble


def test_comments_among_lines_are_passed_over_and_counted_as_lines() -> None:
    """As in sysctl.conf(5): a setting that is commented out is none."""
    text = "# net.x = 1\n\n  ; net.y = 2\n#\nkernel.a = 3 # as it stands\nno pair\nb#;c=4\n;"
    for cuts in (0, 7):
        found, refused, trouble = read_values(text, None, cuts, name="etc/my.conf")
        assert (found, refused, trouble) == ({"kernel.a": "3 # as it stands", "b#;c": 4}, [6], None)
    found, refused, _ = read_values(b"# \xff\na = 1\n", "lines")
    assert (found, refused) == ({"a": 1}, [1])  # what is no text may be no comment


# What is written is read again.


def raw_of(value: Any) -> str:
    return msgspec.json.encode(value).decode() if not isinstance(value, int) else json.dumps(value)


@settings(deadline=None, max_examples=400)
@given(value=ANY_VALUE, cuts=st.integers(1, 50))
@example("it's\r\n'two'\n", 3)
def test_a_value_in_an_env_file_comes_back(value: Any, cuts: int) -> None:
    text = f"A={env_file.shell_word(raw_of(value))}\nB=1\n"
    found, refused, trouble = read_values(text, "env", cuts)
    assert (refused, trouble, found.pop("B")) == ([], None, 1)
    assert raw_of(found["A"]) == raw_of(value)


@settings(deadline=None, max_examples=100)
@given(text=st.lists(ANY_TEXT.filter(lambda text: "\0" not in text), min_size=1, max_size=4))
def test_a_shell_reads_what_is_written_for_it(text: list[str]) -> None:
    script = "".join(
        f"A={env_file.shell_word(raw_of(one))}\nprintf '%s\\0' \"$A\"\n" for one in text
    )
    printed = subprocess.run(
        ["sh"], input=script.encode(), capture_output=True, check=True, env={**os.environ}
    ).stdout
    assert printed.decode().split("\0")[:-1] == text


@settings(deadline=None, max_examples=300)
@given(
    values=st.lists(ANY_VALUE, max_size=4),
    cell=st.text("'=+-@a", min_size=1, max_size=5),
    cuts=st.integers(1, 50),
)
def test_a_csv_file_comes_back(values: list[Any], cell: str, cuts: int) -> None:
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["key", "value"])
    rows.writerows([f"k{number}", raw_of(value)] for number, value in enumerate(values))
    found, refused, trouble = read_values(out.getvalue(), "csv", cuts)
    assert (refused, trouble) == ([], None)
    assert [raw_of(found[f"k{n}"]) for n in range(len(values))] == [raw_of(one) for one in values]
    written = csv_rows.escape_formula(cell)
    assert written[:1] not in set("=+-@")
    assert csv_rows.unescape_formula(written) == cell


@settings(deadline=None, max_examples=300)
@given(state=st.dictionaries(st.sampled_from("abcd"), ANY_VALUE), cuts=st.integers(1, 50))
def test_a_json_file_comes_back(state: dict[str, Any], cuts: int) -> None:
    for indent in (None, 2):
        found, refused, trouble = read_values(json.dumps(state, indent=indent), "json", cuts)
        assert (refused, trouble) == ([], None)
        assert {key: raw_of(one) for key, one in found.items()} == {
            key: raw_of(one) for key, one in state.items()
        }


@settings(deadline=None, max_examples=500)
@example('{"a":1} x', "json", 1)
@given(
    text=st.lists(
        st.sampled_from(
            """" ' \\ \n \r , ; { } [ ] : = # a 1 "a" "a":1 A=1 \0 \ufeff é""".split(" ")
        ),
        max_size=30,
    ).map("".join),
    kind=st.sampled_from([*import_file.READERS]),
    cuts=st.integers(1, 5),
)
def test_no_text_is_a_traceback_and_its_pieces_do_not_matter(
    text: str, kind: str, cuts: int
) -> None:
    whole, file = read_rows(text, kind, 0)
    cut, other = read_rows(text, kind, cuts)
    assert list(map(described, cut)) == list(map(described, whole))
    assert repr(other.error) == repr(file.error)


def described(row: Row) -> tuple[Any, ...]:
    why = row.command.message if isinstance(row.command, SignalboxError) else repr(row.command)
    return row.number, row.text, why


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("more", [0, 1, 2])
def test_a_long_line_that_ends_where_a_block_does_swallows_no_other(end: str, more: int) -> None:
    long = b"A=" + b"x" * (MAX_LINE + 10) + end.encode()
    rest = f"B=2{end}C=3{end}".encode()
    cut = len(long) - more
    rows = list(lines(iter([(long + rest)[:cut], (long + rest)[cut:]])))
    assert [row.text.strip() for row in rows[1:]] == ["B=2", "C=3"]
    assert str(len(long)) in rows[0].fault.message  # type: ignore[union-attr]
