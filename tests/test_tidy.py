"""The tree stays as ARCHITECTURE.md describes it: who imports whom, sizes, nothing foreign."""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Final

import pytest

from support.harness import ROOT
from support.source_files import imports_of, module_of, own_modules, python_files, tracked

MAX_LINES: Final = 500
MAX_FUNCTION: Final = 45

CORE: Final = (
    *("model", "runtime", "store", "engines", "settings", "read"),
    *("feed", "write", "cluster", "sources"),
)
"""What the server has below HTTP, rooms and two modules: each imports only those before it."""
EFFECTS: Final = "apsw|bottle|gevent|os|pathlib|random|secrets|socket|time"
HTTP: Final = ("wire", "api", "commands", "window")
"""Those of HTTP, in the same order; and none of the core knows them."""
MAY_IMPORT: Final = {
    "login_address|usage_errors": "",
    "feed": "model",
    "formats": "model",
    "settings": "model|engines",
    "log_file|logging_setup|maintenance": "model|runtime|store",
    "migration": "model|runtime|store|engines|settings",
    "sources": "model|runtime|store|read|write|feed",
    "clock_status": "model|runtime|read|feed|settings",
    "serve_command": "settings|usage_errors",
}
"""The other modules and rooms: all that they import of the server, beside themselves."""


def room(name: str) -> str:
    return rf"signalbox\.server\.({name})(\..*)?"


def desktop(name: str) -> str:
    return rf"signalbox\.desktop\.({name})(\..*)?"


def ordered(rooms: Sequence[str], inside: str = "") -> Iterator[tuple[str, str]]:
    for number, name in enumerate(rooms[:-1]):
        above = "|".join(rooms[number + 1 :])
        yield room(inside + name), room(rf"{inside.replace('.', chr(92) + '.')}({above})")


FORBIDDEN: Final = (
    # whoever matches the first never imports what matches the second
    (r".*", r"(server|desktop|ui)(\..*)?"),  # else each part could be there twice
    (r"signalbox\.ui(\..*)?", r"signalbox\.(server|desktop|client).*|(gevent|bottle|apsw)\b.*"),
    (room(".*"), r"signalbox\.(desktop|client).*|webview\b.*"),
    (room("(?!http).*"), r"signalbox\.ui.*|bottle\b.*"),
    (room("(?!http|app$|__main__$).*"), room("http")),
    *ordered(CORE),
    *ordered(HTTP, "http."),
    *((room(names), room(f"(?!({names}|{few or '-'})\\b).+")) for names, few in MAY_IMPORT.items()),
    # a server is put together by `app` alone, which only what starts one imports
    (r"signalbox\.(?!(server|desktop)\.__main__$).*", room("app|logging_setup|__main__")),
    (room("(?!app$).*"), room("clock_status")),
    (room("(?!migration).*"), room("maintenance|migration")),  # for the command line
    (room("model|formats"), rf"({EFFECTS})\b.*"),
    (room(r"http\.api"), room("(write|engines|cluster)")),  # queries cannot write
    # nor commands read, but for what compares a file with the store
    (room(r"http\.commands(?!\.(history_import|import_preview)$).*"), room("read")),
    (r"signalbox\.desktop\.(?!window\.webview_window$).*", r"webview\b.*"),
    (r"signalbox\.desktop\.(?!cli|commands).*", r"(apsw|bottle|gevent)\b.*"),
    (desktop("(?!__main__$).*"), desktop("__main__|app|cli")),
    (desktop("(?!window|app$).*"), desktop("window")),
    (desktop(".*"), desktop("commands")),  # `cli` loads the one that is called
    (desktop("(window|app|headless)"), r"click\b.*"),  # the window has no command line
    # it asks the server by HTTP; what opens a store itself has that of the rooms for it
    (desktop(".*"), room("http|write|read|cluster|sources|feed|clock_status")),
)
ELSEWHERE: Final = {
    "127.0.0.1",
    "localhost",
    "keepachangelog.com",
    "semver.org",
    "www.w3.org",
    "json-schema.org",
    "www.freedesktop.org",  # the name of a format
    "www.sqlite.org",
    "docs.nats.io",  # where the engines' promises come from
    "redis.io",
}
"""The hosts that files may name; names made for examples (RFC 2606) besides."""
EXAMPLE: Final = re.compile(r"(.+\.)?(example|test|invalid|localhost)(\.(com|org|net))?")


def test_imports_go_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in python_files()
        for imported in imports_of(path)
        for importer, forbidden in FORBIDDEN
        if re.fullmatch(importer, module_of(path)) and re.fullmatch(forbidden, imported)
    ]
    assert not wrong


def test_each_rule_about_imports_is_about_modules_that_exist() -> None:
    """A rule about a module that was renamed would hold nothing any more."""
    modules = own_modules()
    ours = [pattern for rule in FORBIDDEN for pattern in rule if pattern.startswith(r"signalbox\.")]
    rooms = [room(name) for name in (*CORE, *(rf"http\.{name}" for name in HTTP))]
    unused = [
        pattern
        for pattern in (*ours, *rooms)
        if not any(re.fullmatch(pattern, name) for name in modules)
    ]
    assert not unused


def test_test_files_share_by_support_and_plugins_alone() -> None:
    """What tests share is in tests/support/; its fixtures are plugins (conftest.py)."""
    tests = [path for path in python_files() if path.parent.name == "tests"]
    imported = [
        f"{path.name} imports {name}"
        for path in tests
        for name in imports_of(path)
        if name.startswith("test_")
    ]
    exported = [
        path.name for path in tests if re.search(r"^__all__\b", path.read_text(), re.MULTILINE)
    ]
    assert (imported, exported) == ([], [])


def test_no_module_imports_itself_in_a_circle() -> None:
    modules = own_modules()
    graph = {
        name: {other for other in imports_of(path) if other in modules and other != name}
        for name, path in modules.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"Import circle: {' -> '.join(error.args[1])}")


def test_no_script_imports_itself_in_a_circle() -> None:
    graph = {
        path.name: re.findall(
            r"""(?:^import|from|import\() ?["'`]\./(\w+\.js)""", text, re.MULTILINE
        )
        for path in tracked()
        if path.suffix == ".js" and (text := path.read_text())
    }
    assert graph["app.js"]
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"Import circle: {' -> '.join(error.args[1])}")


def test_the_client_needs_the_standard_library_alone() -> None:
    imported = {name.split(".")[0] for name in imports_of(ROOT / "signalbox" / "client.py")}
    assert imported <= sys.stdlib_module_names


def test_files_can_be_read_in_one_sitting() -> None:
    lengths = {
        str(path.relative_to(ROOT)): path.read_text().count("\n")
        for path in tracked()
        if path.suffix in (".py", ".js", ".css", ".html", ".sh")
        and path.name != "client.py"  # people copy it, so it is one file
    }
    assert not {name: lines for name, lines in lengths.items() if lines > MAX_LINES}


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in python_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION
    ]
    assert not long


def test_every_file_opens_with_what_it_owns() -> None:
    openings = {".py": ('"""', 'r"""'), ".js": ("//", "/*"), ".css": ("/*",)}
    silent = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if path.suffix in openings and not path.read_text().startswith(openings[path.suffix])
    ]
    assert not silent


def test_no_folder_shadows_a_package() -> None:
    assert not (ROOT / "tests" / "server").exists()  # would be imported instead of server/
    assert not (ROOT / "tests" / "__init__.py").exists()
    assert not (ROOT / "packaging" / "__init__.py").exists()  # would shadow PyPI's `packaging`


def test_files_name_no_foreign_hosts() -> None:
    foreign = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in tracked()
        if path.suffix not in (".png", ".webp", ".ico", ".icns")
        for host in re.findall(r"(?<=://)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", path.read_text())
        if host not in ELSEWHERE and not EXAMPLE.fullmatch(host)
    ]
    assert not foreign


LOCKS: Final = {"requirements.lock": 30, "requirements-dev.lock": 60}
"""How many packages each pins at least."""


def pins(lock: str) -> list[str]:
    """What it pins, each with its hashes."""
    return re.split(r"^(?=\S+==)", (ROOT / lock).read_text(), flags=re.MULTILINE)[1:]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_requirement_by_hash_and_names_no_index(lock: str) -> None:
    assert len(pins(lock)) > LOCKS[lock]
    assert all("--hash=sha256:" in pin for pin in pins(lock))
    assert "://" not in (ROOT / lock).read_text()


def test_running_takes_what_developing_takes_and_less() -> None:
    running, all_of_it = (
        {pin.split()[0]: set(re.findall(r"sha256:\w+", pin)) for pin in pins(lock)}
        for lock in LOCKS
    )
    assert running.items() < all_of_it.items()
    assert not any(pin.startswith(("pytest", "mypy", "ruff", "playwright")) for pin in running)
