"""The command on the empty page starts this installation, whatever it was installed by."""

import subprocess
import sys
from pathlib import Path

import pytest

from signalbox.server.http.window import page_content
from support.harness import ROOT


@pytest.mark.parametrize(
    ("platform", "beside", "is_found"),
    [
        ("linux", "signalbox", True),
        ("darwin", "signalbox", True),
        ("win32", "signalbox.exe", True),
        ("win32", "signalbox", False),
        ("linux", "signalbox.exe", False),
    ],
)
def test_the_program_beside_the_interpreter_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, beside: str, is_found: bool
) -> None:
    (tmp_path / beside).touch()
    python = str(tmp_path / "python")
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setattr(sys, "platform", platform)
    expected = [str(tmp_path / beside)] if is_found else [python, "-m", "signalbox"]
    assert page_content._executable() == expected  # noqa: SLF001 - other systems are not at hand


def test_a_program_for_people_without_python_names_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "Signalbox"))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert page_content._executable() == [str(tmp_path / "Signalbox")]  # noqa: SLF001 - as above


def test_the_module_that_is_named_without_one_can_be_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sys.executable
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    command = [real, *page_content._executable()[1:], "--version"]  # noqa: SLF001 - as above
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
