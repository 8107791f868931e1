"""What the system or a library says of a failure never reaches people as it is."""

import ast
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import msgspec
import pytest

from signalbox.desktop import display
from signalbox.server.http.commands.history_line import read_history_line
from signalbox.server.http.window.window_query import invalid_field_message
from signalbox.server.model.errors import Invalid, Malformed, quoted
from signalbox.server.model.times import LAST_TIME, iso
from signalbox.server.runtime.error_messages import reason, sentence
from support.command_line import Shell
from support.harness import ROOT, Server
from support.raw_http import Client, serving
from support.source_files import module_of, own_modules

WORDS: Final = ("signalbox.server.runtime.error_messages", "signalbox.server.usage_errors")
"""Where what others say becomes what we say."""
READS: Final = {
    ("signalbox.server.engines.redis.errors", "_code"),
    ("signalbox.server.engines.jetstream.connection", "has_complained"),
    ("signalbox.server.model.values", "_place"),
    ("signalbox.server.http.commands.long_history_line", "_place"),
    ("signalbox.desktop.display", "_missing_library"),
}
"""Functions that look for a code or a name in what was said, and tell nothing of it."""
SAYING: Final = {"strerror", "args", "msg", "reason", "message"}
"""Attributes of errors that hold what was said."""
PRINTING: Final = {"print", "echo", "print_line", "print_error"}


def own_errors() -> set[str]:
    """Every class of ours, by its name: what they say is ours."""
    trees = map(tree_of, sources())
    return {one.name for tree in trees for one in ast.walk(tree) if isinstance(one, ast.ClassDef)}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def sources() -> list[Path]:
    return [*own_modules().values(), ROOT / "signalbox" / "client.py"]


def named(kinds: ast.expr | None) -> set[str]:
    """The names of the classes that a handler catches or a parameter is annotated with."""
    if kinds is None:
        return {"BaseException"}
    found = [one for one in ast.walk(kinds) if isinstance(one, ast.Name | ast.Attribute)]
    inner = {id(one.value) for one in found if isinstance(one, ast.Attribute)}
    return {
        one.attr if isinstance(one, ast.Attribute) else one.id
        for one in found
        if id(one) not in inner
    }


def places(tree: ast.AST, own: set[str]) -> Iterator[tuple[str, ast.AST]]:
    """What a foreign error is called, and the code in which it is called so."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.name and named(node.type) - own:
            yield node.name, node
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for each in (*node.args.args, *node.args.kwonlyargs):
                kinds = named(each.annotation) if each.annotation else set()
                if any(kind.endswith(("Error", "Exception")) for kind in kinds) and kinds - own:
                    yield each.arg, node


def sayings(name: str, within: ast.AST) -> Iterator[int]:
    """The lines in which what the error says goes into something else."""
    looked_into = {
        id(part)
        for node in ast.walk(within)
        if isinstance(node, ast.Compare)
        for part in ast.walk(node)
    }
    raised = [one.exc for one in ast.walk(within) if isinstance(one, ast.Raise)]
    for node in ast.walk(within):
        if id(node) in looked_into:
            continue
        if isinstance(node, ast.FormattedValue) and is_named(node.value, name):
            yield node.lineno
        elif isinstance(node, ast.Attribute) and is_named(node.value, name):
            if node.attr in SAYING:
                yield node.lineno
        elif isinstance(node, ast.Call) and any(is_named(one, name) for one in node.args):
            called = named(node.func)
            if called & ({"str", "repr", "format"} | PRINTING):
                yield node.lineno
            if node in raised and any(kind[0].isupper() for kind in called):
                yield node.lineno


def is_named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def passed_on(module: str, tree: ast.AST, own: set[str]) -> list[str]:
    reading = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (module, node.name) in READS
    ]
    left_out = {id(one) for function in reading for one in ast.walk(function)}
    return [
        f"{module}:{line}"
        for name, within in places(tree, own)
        if id(within) not in left_out
        for line in sayings(name, within)
    ]


def test_no_handler_passes_on_what_a_foreign_error_says() -> None:
    own = own_errors()
    found: list[str] = []
    for path in sources():
        module = module_of(path)
        if module not in WORDS:
            found += passed_on(module, tree_of(path), own)
    assert not found


@pytest.mark.parametrize(
    "code",
    [
        "raise Ours(f'It failed: {error}')",
        "raise Ours(f'It failed: {error!r}')",
        "raise Ours(error)",
        "raise Ours('It failed: ' + str(error))",
        "raise Ours(f'It failed: {error.strerror}')",
        "print(error)",
    ],
)
def test_the_test_sees_what_it_looks_for(code: str) -> None:
    handled = f"try:\n    work()\nexcept (OSError, Ours) as error:\n    {code}\n"
    assert passed_on("m", ast.parse(handled), {"Ours"}) == ["m:4"]
    given = f"def tell(error: Exception) -> None:\n    {code}\n"
    assert passed_on("m", ast.parse(given), {"Ours"}) == ["m:2"]
    ours = f"try:\n    work()\nexcept Ours as error:\n    {code}\n"
    assert passed_on("m", ast.parse(ours), {"Ours"}) == []
    told = "try:\n    work()\nexcept OSError as error:\n    raise Ours(reason(error)) from error\n"
    assert passed_on("m", ast.parse(told), {"Ours"}) == []


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("words") / "store") as server:
        yield server


@pytest.fixture
def shell(box: Server) -> Shell:
    return Shell(box.data_dir)


@pytest.mark.parametrize("command", ["import", "replay"])
def test_a_file_that_cannot_be_read(shell: Shell, tmp_path: Path, command: str) -> None:
    for name, why in (
        (tmp_path / "none", "there is no such file or folder"),
        (tmp_path, "it is a folder"),
        (tmp_path / ("x" * 300), "the name is longer than this system takes"),
    ):
        done = shell(command, str(name))
        assert (done.status, done.out) == (2, "")
        assert f"FILE is {str(name)!r}: {why}." in done.err


def test_a_program_that_cannot_be_started(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plain").touch(mode=0o600)
    (tmp_path / "strange").write_bytes(b"no program")
    (tmp_path / "strange").chmod(0o700)
    for name, status, why in (
        (tmp_path / "none", 127, "there is no such program"),
        (tmp_path / "plain", 126, "this user has no right to do that"),
        (tmp_path / "strange", 127, "it is no program that this system can run"),
    ):
        done = shell("run", "job", "--", str(name))
        assert done.status == status
        assert done.err.startswith(f"signalbox: {name} cannot be started: {why}")
        assert shell.ok("get", "job.last_line").startswith(f"{name} cannot be started: {why}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "'{' is not JSON: it ends where more is needed."),
        ("-1h", "'-1h' is not JSON: its character 3, 'h', is not allowed there."),
        ("NaN", "'NaN' is not JSON: NaN is not a JSON value."),
        ("1e999", "'1e999' has a number beyond what a 64-bit float can hold."),
        ('{"a":1,"a":2}', 'the name "a" occurs twice in one object.'),
    ],
)
def test_a_value_that_is_no_json(shell: Shell, text: str, why: str) -> None:
    done = shell("set", "--json-value", "k", text)
    assert (done.status, done.out) == (2, "")
    assert why in done.err


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("no json", "id and revision and actor and at and changes cannot"),
        ('{"id":"i","revision":1,"actor":"a","at":"noon","changes":[]}', "and at cannot be read"),
        (
            '{"id":"i","revision":"1","actor":"a","at":"2026-01-01T00:00:00Z","changes":[{"key":1}]}',
            "and revision and changes cannot",
        ),
    ],
)
def test_a_line_that_cannot_be_replayed(shell: Shell, line: str, wrong: str) -> None:
    done = shell("replay", "-", stdin=line.encode())
    assert (done.status, done.out) == (2, "")
    assert "Line 1 is no transaction of an export --history" in done.err
    assert wrong in done.err


SOUND: Final = (
    '"revision":1,"id":"i","actor":"a","at":"2026-01-01T00:00:00.000Z","changes":[],"type":"set"'
)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "the line is not JSON: it ends where more is needed."),
        ("[1]", "the line is JSON, but no object."),
        ('{"revision":1}', "the field id is missing; it has revision, id, actor, at, changes"),
        (f'{{{SOUND},"x":1}}', 'the field "x" is unknown; it has revision, id'),
        (
            f"{{{SOUND}}}".replace('"revision":1', '"revision":"1"'),
            'the field revision is "1"; allowed is an integer.',
        ),
        (
            f"{{{SOUND}}}".replace("[]", '[{"key":1}]'),
            'the field changes is [{"key": 1}]; allowed is a list of {"key": …, "value": …}',
        ),
        (
            f"{{{SOUND}}}".replace("00.000Z", "00"),
            'the field at is "2026-01-01T00:00:00"; allowed is a time in ISO 8601 with its zone',
        ),
        (f'{{{SOUND},"fingerprint":"xy"}}', 'the field fingerprint is "xy"; allowed is a text of'),
        (f'{{{SOUND},"checksum":"-x"}}', 'the field checksum is "-x"; allowed is null or a text'),
    ],
)
def test_a_line_that_is_no_transaction(line: str, why: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_history_line(line.encode())
    told = refused.value.message
    begin = "This is no transaction of a history that this Signalbox knows: "
    assert told.startswith(begin + why), told
    assert told.endswith(".")


def test_a_type_that_is_too_long_is_reported_with_its_length() -> None:
    line = f"{{{SOUND}}}".replace('"set"', f'"{"x" * 65}"')
    with pytest.raises(Invalid, match="has 1 to 64 characters, and this one 65"):
        read_history_line(line.encode())


def test_a_parameter_of_the_page() -> None:
    assert invalid_field_message({"rows": 501}) == (
        "The field rows of the parameter datastar is 501; allowed is "
        '{"type":"integer","minimum":1,"maximum":500}.'
    )
    assert invalid_field_message({"from": "x"}).startswith(
        'The field from of the parameter datastar is "x"; '
    )


def test_a_query_that_cannot_be_taken_apart(box: Server) -> None:
    with Client(box) as client:
        told = client.ask("GET", "/queries/state?match=%ff").json()["message"]
        assert told == "The query is not percent-encoded UTF-8: a byte is 0xff."
        told = client.ask("GET", "/queries/state?" + "&".join("abc")).json()["message"]
        assert told == 'The parameter "a" is unknown here; allowed are ' + told.split(" are ")[1]
        told = client.ask("GET", "/queries/state?" + "&".join(["a=1"] * 60)).json()["message"]
        assert told == "The query has 60 parameters; allowed are 50."


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (
            ImportError("libEGL.so.1: cannot open shared object file: No such file"),
            "the library libEGL.so.1 is missing",
        ),
        (ModuleNotFoundError("xyz", name="PySide6.x"), "the Python package PySide6 is missing"),
        (OSError("xyz"), "a library of it does not load"),
    ],
)
def test_a_library_of_the_window_that_is_missing(said: ImportError | OSError, why: str) -> None:
    assert display._missing_library(said) == why  # noqa: SLF001 - a system without it is not at hand


def test_a_server_that_breaks_while_it_starts_shows_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "apsw.py").write_text("raise KeyError('xyz')")
    path = os.pathsep.join([str(tmp_path / "broken"), *filter(None, sys.path)])
    command = [
        sys.executable,
        "-m",
        "signalbox",
        "--data-dir",
        str(tmp_path / "s"),
        "set",
        "a",
        "1",
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == (
        "signalbox: The server ended with status 1: `signalbox serve` shows what it said.\n"
    )


def test_an_unexpected_error_is_reported_by_its_type_alone() -> None:
    assert sentence(AssertionError("xyz")) == "Something unexpected went wrong (AssertionError)."
    assert sentence(Invalid("The field is x.")) == "The field is x."
    assert reason(OSError(errno.ENOEXEC, "xyz")) == "it is no program that this system can run"


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-12:00", "10000-01-01T00:00:00Z"])
def test_a_time_beyond_the_year_9999_is_refused_and_named(at: str) -> None:
    record = {"revision": 1, "id": "i", "actor": "a", "at": at, "type": "set", "changes": []}
    with pytest.raises(Malformed) as refused:
        read_history_line(json.dumps(record).encode())
    assert at in refused.value.message


def test_a_time_beyond_the_year_9999_in_a_log_is_given_as_the_last_one() -> None:
    assert iso(LAST_TIME + 12 * 3_600_000) == iso(LAST_TIME) == "9999-12-31T23:59:59.999Z"


def test_a_long_number_where_none_belongs_is_repeated_as_it_was_written() -> None:
    number = msgspec.Raw(b"9" * 5_000)
    for given in (number, [number], {"revision": number}):
        assert "99999" in quoted(given)
        assert "msgspec" not in quoted(given)
