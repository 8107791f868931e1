"""The documentation describes what the code has: no more, no less. It is read from the code."""

import re
from importlib.metadata import version
from typing import Any, Final, cast

import bottle
import click
import pytest

import signalbox
from signalbox.desktop import cli
from signalbox.server import app, settings
from signalbox.server.http.api import exports, queries, rule_routes
from signalbox.server.http.api.openapi import describe
from signalbox.server.http.api.parameters import EXPORT_FORMATS, ROUTES
from signalbox.server.http.window import window_routes
from signalbox.server.http.wire.responses import STATUSES
from signalbox.server.model import errors
from signalbox.server.model.app_settings import SETTINGS
from signalbox.server.model.commands import TYPES
from signalbox.server.model.values import TYPES as VALUE_TYPES
from support.harness import ROOT

REFERENCE: Final = (ROOT / "docs" / "reference.md").read_text()
README: Final = (ROOT / "README.md").read_text()
DOCUMENTS: Final = (
    *sorted(path.name for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
TARGETS: Final = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
WORDS: Final = set(re.findall(r"`([^`\n]+)`", REFERENCE))
"""Everything that the reference names as code."""


def routes() -> set[str]:
    """Every path that the server answers, its variable parts as `{}`."""
    mounted = bottle.Bottle()
    nothing = cast("Any", None)
    queries.mount(mounted, nothing, nothing)
    exports.mount(mounted, nothing)
    rule_routes.mount(mounted, nothing)
    window_routes.WindowRoutes(*[nothing] * 8).mount(mounted)
    return {
        re.sub(r"<[^>]+>|\{[^}]+\}", "{}", path)
        for path in [*(route.rule for route in mounted.routes), *describe()["paths"]]
    }


def documented_routes() -> set[str]:
    """Every `GET /…` and `POST /…` of the reference."""
    named = re.findall(r"`(?:GET|POST) (/[^\s`?]*)", REFERENCE)
    return {re.sub(r"\{[^}]+\}", "{}", path) for path in named}


def section(title: str) -> str:
    """The text below a heading of the reference, up to the next of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}$", REFERENCE, re.MULTILINE)
    assert found, f"docs/reference.md has no section {title!r}"
    rest = REFERENCE[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def commands_of_the_cli() -> dict[str, click.Command]:
    return {name: cli.load_subcommand(name) for name in cli.SUBCOMMANDS}


def test_every_route_is_documented_and_every_documented_one_exists() -> None:
    assert documented_routes() == routes()


@pytest.mark.parametrize("route", ROUTES)
def test_every_parameter_of_a_route_is_documented(route: str) -> None:
    line = next(line for line in REFERENCE.splitlines() if re.search(rf"`\w+ {route}[?`]", line))
    assert [name for name in ROUTES[route] if not re.search(rf"\b{name}\b", line)] == []


def test_every_error_code_is_documented_with_its_status() -> None:
    listed = re.findall(r"^\| (\d{3}) \| `(\w+)` \|", section("Error codes"), re.MULTILINE)
    assert {code: int(status) for status, code in listed} == STATUSES
    assert STATUSES.keys() == errors.every_code()


def test_every_setting_is_documented_by_option_and_variable() -> None:
    missing = [
        name
        for setting in settings.TABLE
        for name in (setting.option, setting.variable)
        if not any(word.split()[0] == name for word in WORDS)
    ]
    assert not missing


def test_every_key_of_the_app_is_documented() -> None:
    named = {word for word in WORDS if word.startswith("_signalbox.") and word[-1] not in ".>"}
    assert named == set(SETTINGS)


def test_every_type_of_command_is_documented_with_its_fields() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", section("Types of command"), re.MULTILINE))
    assert set(rows) == set(TYPES)
    missing = [
        f"{kind}.{field}"
        for kind, struct in TYPES.items()
        for field in struct.__struct_fields__
        if field != "expect" and not re.search(rf"`{field}\b", rows[kind])
    ]
    assert not missing


def test_every_limit_is_documented_with_its_number() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+)", section("Limits"), re.MULTILINE))
    documented = {name: int(number.replace(",", "")) for name, number in rows.items()}
    default = next(setting.default for setting in settings.TABLE if "connections" in setting.name)
    assert documented == {**app.LIMITS, "connections": default}


@pytest.mark.parametrize("names", [VALUE_TYPES, EXPORT_FORMATS], ids=["value types", "formats"])
def test_every_name_of_a_choice_is_documented(names: tuple[str, ...]) -> None:
    assert set(names) <= WORDS


def test_every_subcommand_and_no_other_is_documented() -> None:
    listed = re.findall(r"^\| `([a-z]+)\b[^`]*` \|", section("Command line"), re.MULTILINE)
    assert sorted(listed) == sorted(commands_of_the_cli())


@pytest.mark.parametrize("name", commands_of_the_cli())
def test_every_option_of_a_subcommand_is_documented(name: str) -> None:
    rows = re.findall(rf"^\| `{name}\b.*$", section("Command line"), re.MULTILINE)
    assert rows
    options = [
        option
        for command in cli.with_its_own(commands_of_the_cli()[name])
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    ]
    everywhere = set(re.findall(r"--[a-z-]+", section("Options of every subcommand")))
    assert set(options) <= set(re.findall(r"--[a-z-]+", " ".join(rows))) | everywhere


def test_every_call_of_the_client_is_documented() -> None:
    calls = {f"box.{name}" for name in vars(signalbox.Box) if name[0] != "_"} | {
        f"box.{name}" for name in vars(signalbox.Box.__mro__[1]) if name[0] != "_"
    }
    inner = {
        "box.after_fork",
        "box.encode_value",
        "box.is_closed",
        "box.request",
        "box.token",
        "box.url",
        "box.wait_for_server",
    }
    text = section("Python client")
    assert sorted(call for call in calls - inner if f"`{call}" not in text) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_named_files_exist(document: str) -> None:
    path = ROOT / document
    text = path.read_text()
    links = re.findall(r"\]\((?!\w+://)([^)#\s]*)(#[^)\s]+)?\)", text)
    assert not [link for link, _ in links if not (path.parent / link).exists()]
    assert not [
        link + anchor
        for link, anchor in links
        if anchor and anchor not in anchors((path.parent / link if link else path).read_text())
    ]
    named = re.findall(r"`((?:server|desktop|ui|packaging|tests|docs)/[\w./-]*)`", text)
    made = {"ui/static/datastar.js"}
    assert not [name for name in named if name not in made and not (ROOT / name).exists()]


def anchors(text: str) -> set[str]:
    """Where links into a document may lead: its headings and marks."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return {f"#{name}" for name in slugs | set(re.findall(r'<a id="([^"]+)">', text))}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_only_targets_that_make_has(document: str) -> None:
    assert make_targets(document) <= TARGETS


def test_every_target_of_make_is_explained() -> None:
    assert make_targets("CONTRIBUTING.md") == TARGETS


def make_targets(document: str) -> set[str]:
    text = (ROOT / document).read_text()
    return set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_documents_name_only_subcommands_that_there_are(document: str) -> None:
    text = (ROOT / document).read_text()
    named = re.findall(r"(?:^|[`(])signalbox (?:--data-dir \S+ )?([a-z]+)\b", text, re.MULTILINE)
    assert set(named) <= commands_of_the_cli().keys()


def test_the_readme_begins_with_two_commands() -> None:
    found = re.search(r"^## ([^\n]+)\n\n```sh\n(.*?)```", README, re.MULTILINE | re.DOTALL)
    assert found
    assert found[1] == "Two commands"
    assert [line.split("#")[0].strip() for line in found[2].splitlines()] == [
        "make run",
        "make test",
    ]
    assert found.start() == README.index("\n## ") + 1


def test_the_readme_names_the_wheel_of_this_version() -> None:
    assert set(re.findall(r"signalbox_app-([\d.]+)-", README)) == {version("signalbox-app")}


def test_the_figures_of_the_readme_are_those_of_the_benchmarks() -> None:
    figures = README.split("\n## Figures\n")[1].split("\n## ")[0]
    measured = (ROOT / "docs" / "benchmarks.md").read_text()
    numbers = re.findall(r"(?<![p\d])\d[\d,.]*(?<=\d)", figures)  # p50 is none
    assert len(numbers) > 5
    assert [number for number in numbers if not re.search(rf"\b{number}\b", measured)] == []


def test_decisions_are_numbered_once_and_have_a_status() -> None:
    files = sorted((ROOT / "docs" / "adr").glob("*.md"))
    numbers = [path.name[:3] for path in files]
    assert len(set(numbers)) == len(numbers)
    for path in files:
        assert re.match(rf"# ADR-{path.name[:3]}: ", path.read_text())
        assert re.search(r"^## Status\n\n?(Accepted|Superseded)", path.read_text(), re.MULTILINE)
