"""Of which format a file is, by its name and by what stands in it, and where its lines end."""

from collections.abc import Iterator

import pytest

from signalbox.server.formats import import_file
from signalbox.server.formats.text_lines import decode_file
from support.format_reading import read_rows, read_values


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        ("NAME=1\n", "env"),
        ("\n\n_a9='x y'\n", "env"),
        ("EMPTY=\n", "env"),
        ('\ufeffTEXT="two\nlines"\n', "env"),
        ("export\tA=1\n", "env"),
        ("kernel = Linux\n", "lines"),
        ("name= value\n", "lines"),
        ("name =value\n", "lines"),
        ("vm.swappiness=60\n", "lines"),
        ("9=1\n", "lines"),
        ("key,value\nNAME=1,2\n", "csv"),
    ],
)
def test_a_first_line_without_blanks_around_the_sign_is_env(start: str, kind: str) -> None:
    assert read_rows(start, None, 0)[1].format == kind


def test_what_env_quotes_is_read_so_without_its_name() -> None:
    text = "A_B='two words'\nC='1'\nD=\"[1,\\\"x\\\"]\"\nE=true\nF='a\nb'\n"
    assert read_values(text, None) == (
        {"A_B": "two words", "C": "1", "D": [1, "x"], "E": True, "F": "a\nb"},
        [],
        None,
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.env.local", "env"),
        ("C:\\etc\\Prod.ENV.bak", "env"),
        (".env.x.csv", "env"),
        ("a.env/b.csv", "csv"),
        ("env.json", "json"),
        ("environment", None),
        ("a.environment.csv", "csv"),
    ],
)
def test_a_name_with_env_between_its_dots_is_env(name: str, kind: str | None) -> None:
    assert import_file.by_name(name) == kind


@pytest.mark.parametrize("sign", [",", ";", "\t"])
@pytest.mark.parametrize("told", ["sep={}", '"sep={}"'])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("kind", [None, "csv"])
def test_the_separator_line_for_excel_may_precede_the_names(
    sign: str, told: str, end: str, kind: str | None
) -> None:
    lines = [told.format(sign), f"key{sign}value", f"a.one{sign}1", f"a.two{sign}2{sign}3"]
    text = "\ufeff" + end.join(lines)
    assert read_values(text, kind) == ({"a.one": 1}, [4], None)


@pytest.mark.parametrize("text", ["sep=;", "sep=;\n\n", "sep=;\na;b\n", "sep=|\nkey|value\na|1\n"])
def test_csv_without_names_after_the_separator_line_is_refused(text: str) -> None:
    found, refused, trouble = read_values(text, None)
    assert (found, refused) == ({}, [])
    assert ("Line 2" if text.strip() != "sep=;" else "is empty") in trouble


@pytest.mark.parametrize("quote", ["'", '"'])
@pytest.mark.parametrize("name", ["C=", "export C=", "  C = "])
def test_a_forgotten_quote_swallows_no_name_with_one_in_its_comment(quote: str, name: str) -> None:
    text = f"A={quote}abc\nB=2\n{name}{quote} # {quote}\nD=4\n"
    assert read_values(text, "env") == ({"B": 2, "C": " # ", "D": 4}, [1], None)


@pytest.mark.parametrize("last", ['abc=" # the key', 'x y=" # a "quote"', 'C="'])
def test_a_value_of_several_lines_may_end_as_a_name_does(last: str) -> None:
    value = "a\n" + last.partition('"')[0]
    assert read_values(f'A="a\n{last}\nB=2\n', "env") == ({"A": value, "B": 2}, [], None)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("cuts", [0, 1, 3])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        ("csv", ["key,value", "a,1", "a,2,3", "b,2"]),
        ("env", ["# told", "a=1", "none", "b=2"]),
        ("lines", ["a = 1", "", "none", "b = 2"]),
        (
            "ndjson",
            [
                '{"type":"set","key":"a","value":1}',
                "",
                '{"type":"none"}',
                '{"type":"set","key":"b","value":2}',
            ],
        ),
        ("json", ["{", '"a": 1,', '"c": none,', '"b": 2}']),
    ],
)
def test_lines_of_every_format_may_end_with_cr(
    end: str, cuts: int, named: bool, kind: str, lines: list[str]
) -> None:
    text = end.join(lines) + end
    assert read_rows(text, None, cuts)[1].format == kind
    assert read_values(text, kind if named else None, cuts) == ({"a": 1, "b": 2}, [3], None)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("cuts", [0, 1])
def test_the_lines_of_an_object_are_counted_whatever_ends_them(end: str, cuts: int) -> None:
    long = "[" + f"1,{end}" * 600_000 + "1]" if cuts == 0 else "[1]"
    count = long.count(end)
    text = f'{{{end}{end}"a": 1,{end}"long": {long},{end}"c": none,{end}"b": 2}}{end}{end}more'
    found, refused, trouble = read_values(text, "json", cuts)
    assert ({key: found[key] for key in "ab"}, refused) == (
        {"a": 1, "b": 2},
        [*([4] if count else []), count + 5],
    )
    assert f"Line {count + 8} has something behind the end" in trouble


def test_a_first_line_that_ends_with_cr_is_known_before_more_has_come() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"a = 1\r"
        raise AssertionError("asked for more than the first line")

    assert decode_file(blocks(), "utf-8")[0] == b"a = 1\r"
