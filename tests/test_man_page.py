"""The manual page that the packages have: all of the help is in it, and groff reads it."""

import re
import shutil
import subprocess
from typing import Final

import click
import pytest

from man_page import ESCAPES, man_page
from signalbox.desktop import cli
from signalbox.desktop.examples import EXAMPLES
from signalbox.desktop.exit_status import MEANINGS
from signalbox.server.settings import TABLE
from support.harness import ROOT

MEANT: Final = {escape: char for char, escape in ESCAPES.items()}


@pytest.fixture(scope="module")
def shown() -> str:
    """The page with every character as it is shown."""
    return re.sub(r"\\(\(..|.)", lambda found: MEANT.get(found[0], ""), man_page())


@pytest.mark.parametrize("name", cli.SUBCOMMANDS)
def test_it_has_every_subcommand_with_its_options_and_examples(shown: str, name: str) -> None:
    section = shown.split(f"\n.SS signalbox {name} ")[1].split("\n.S", maxsplit=1)[0]
    options = [
        parameter
        for command in cli.with_its_own(cli.load_subcommand(name))
        for parameter in command.params
        if isinstance(parameter, click.Option)
    ]
    assert [option.opts for option in options if option.opts[0] not in section] == []
    assert {*EXAMPLES[name]} <= {*section.splitlines()}


def test_it_has_every_variable_and_exit_status(shown: str) -> None:
    for setting in TABLE:
        assert f".B {setting.variable}\n" in shown
    for status, meaning in MEANINGS.items():
        assert f".B {status}\n{meaning}\n" in shown


def test_the_reference_has_the_same_exit_statuses() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text().split("### Exit status\n")[1]
    assert [int(found) for found in re.findall(r"^\| (\d) \|", reference, re.MULTILINE)] == [
        *MEANINGS
    ]


def test_groff_finds_nothing_wrong_where_there_is_one() -> None:
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-man", "-ww", "-z", "-Tutf8"],
            input=man_page().encode("ascii"),
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
