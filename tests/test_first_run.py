"""`make run` on a new machine: the system packages that it installs, asks for or prints."""

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import command_progress
import install_python_packages
from signalbox.desktop import system_packages
from support.harness import ROOT, SECONDS

PROGRAM: Final = """\
import os, runpy, sys
del sys.argv[0]
user = int(sys.argv.pop(0))
os.geteuid = lambda: user
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script as if by the user whose number stands before it."""
ROOTS, USERS = 0, 1000
CALLED: Final = 'echo "${0##*/} $*" >> "$STATE/calls"\n'
HAS: Final = 'grep -qx "$name" "$STATE/installed"'
ASKED: Final = {
    "dpkg-query": 'while read -r name; do echo "$name installed"; done < "$STATE/installed"',
    "apt-cache": 'echo "Package: libasound2t64"',
    "rpm": f"for name; do :; done; {HAS}",
}
DEPTEST: Final = f"""\
if [ "$1" = --deptest ]; then
    shift; for name; do {HAS} || echo "$name"; done; exit 127
fi
"""


class Ended(NamedTuple):
    status: int
    said: list[str]


class Machine:
    """A PATH with these programs alone, which write down how they are called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "installed").touch()
        (folder / "calls").touch()
        (folder / "bin").mkdir()
        for name in ("env", "grep", "true"):
            (folder / "bin" / name).symlink_to(str(shutil.which(name)))
        for name, answers in ASKED.items():
            self.has(name, answers)

    def has(self, name: str, does: str) -> None:
        file = self.folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{does}\n")
        file.chmod(0o755)

    def has_manager(self, name: str, does: str = "echo Unpacking it") -> None:
        self.has(name, (DEPTEST if name == "pacman" else "") + CALLED + does)

    def has_sudo(self, does: str = '[ "$1" = -n ] && shift; "$@"') -> None:
        self.has("sudo", CALLED + does)

    def has_installed(self, *names: str) -> None:
        (self.folder / "installed").write_text("".join(f"{name}\n" for name in names))

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def run(self, user: int, *arguments: str, answer: str | None = None, **environ: str) -> Ended:
        """The script, without a terminal or with one at which somebody types `answer`."""
        script = ROOT / "packaging" / "install_system_packages.py"
        command = [sys.executable, "-c", PROGRAM, str(user), str(script), *arguments]
        paths = {"PATH": str(self.folder / "bin"), "PYTHONPATH": f"{ROOT}:{script.parent}"}
        env = {**paths, "STATE": str(self.folder), "PYTHONIOENCODING": "utf-8", **environ}
        if answer is not None:
            return _at_terminal(command, env, answer)
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout.splitlines())


def _at_terminal(command: list[str], env: dict[str, str], answer: str) -> Ended:
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    with subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        while part := _read(ours):
            said += part
    os.close(ours)
    return Ended(process.returncode, said.decode().replace("\r\n", "\n").splitlines())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # nobody has it open any more
        return b""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("manager", "installs"),
    [
        ("apt-get", "apt-get install --yes --quiet --no-install-recommends libegl1 "),
        ("dnf", "dnf install --assumeyes mesa-libEGL "),
        ("pacman", "pacman -S --needed --noconfirm mesa "),
    ],
)
def test_root_installs_what_is_missing_and_is_not_asked(
    machine: Machine, manager: str, installs: str
) -> None:
    machine.has_manager(manager)
    first, *others, last = system_packages.WINDOW_PACKAGES[manager].split()
    ended = machine.run(ROOTS)
    assert ended.status == 0
    assert f"Installing {len(others) + 2} packages of the system by {manager} ..." in ended.said
    assert machine.calls()[-1].startswith(installs)
    assert machine.calls()[-1].endswith(last)
    machine.has_installed(first, *others, last)
    calls = len(machine.calls())
    assert machine.run(ROOTS) == Ended(0, [])
    assert len(machine.calls()) == calls


def test_debian_is_asked_for_its_newest_names(machine: Machine) -> None:
    machine.has_manager("apt-get")
    machine.has_installed(*system_packages.WINDOW_PACKAGES["apt-get"].split()[:3])
    machine.run(ROOTS, "xdotool")
    update, install = machine.calls()
    assert update == "apt-get update --quiet"
    assert " libasound2t64 " in install
    assert install.endswith(" libxtst6 xdotool")
    assert "libnss3" not in install


def test_ci_installs_by_sudo_that_does_not_ask(machine: Machine) -> None:
    machine.has_manager("apt-get")
    machine.has_sudo()
    assert machine.run(USERS, CI="true").status == 0
    assert any(call.startswith("sudo -n env ") for call in machine.calls())
    assert any(call.startswith("apt-get install ") for call in machine.calls())


@pytest.mark.parametrize("answer", ["\n", "y\n", "Yes\n"])
def test_who_sits_at_a_terminal_is_told_which_and_says_yes(machine: Machine, answer: str) -> None:
    machine.has_manager("dnf")
    machine.has_sudo()
    ended = machine.run(USERS, answer=answer)
    assert ended.status == 0
    assert f"  {system_packages.WINDOW_PACKAGES['dnf']}" in ended.said
    assert any("[Y/n]" in line for line in ended.said)
    assert [call.partition(" --")[0] for call in machine.calls()] == [
        "sudo true",
        "sudo env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 dnf install",
        "dnf install",
    ]


@pytest.mark.parametrize("answer", ["n\n", "no\n", "\x04"])
def test_who_says_no_gets_the_line_to_paste(machine: Machine, answer: str) -> None:
    machine.has_manager("dnf")
    machine.has_sudo()
    ended = machine.run(USERS, answer=answer)
    assert ended == Ended(
        0, [*ended.said[:-1], f"sudo dnf install {system_packages.WINDOW_PACKAGES['dnf']}"]
    )
    assert machine.calls() == []


@pytest.mark.parametrize(("arguments", "status"), [((), 0), (("--required",), 1)])
def test_without_a_terminal_the_line_to_paste_stands_alone(
    machine: Machine, arguments: tuple[str, ...], status: int
) -> None:
    machine.has_manager("apt-get")
    machine.has_sudo()
    ended = machine.run(USERS, *arguments)
    names = system_packages.WINDOW_PACKAGES["apt-get"].replace("libasound2 ", "libasound2t64 ")
    line = f"sudo apt-get update && sudo apt-get install {names}"
    assert ended == Ended(status, [ended.said[0], line])
    assert machine.calls() == []


def test_whom_sudo_refuses_is_refused_once(machine: Machine) -> None:
    machine.has_manager("apt-get")
    machine.has_sudo("echo 'You are not in the sudoers file.' >&2; exit 1")
    ended = machine.run(USERS, answer="y\n")
    assert ended.status == 0
    assert any("not in the sudoers file" in line for line in ended.said)
    assert ended.said[-1].startswith("sudo apt-get update && ")
    assert machine.calls() == ["sudo true"]


def test_without_sudo_it_is_said_that_root_must(machine: Machine) -> None:
    machine.has_manager("pacman")
    ended = machine.run(USERS, answer="")
    assert ended.status == 0
    assert ended.said[-2].endswith("as root:")
    assert ended.said[-1] == f"pacman -S --needed {system_packages.WINDOW_PACKAGES['pacman']}"


@pytest.mark.parametrize(("arguments", "status"), [((), 0), (("--required",), 1)])
def test_a_package_manager_that_fails_is_quoted_and_ends_nothing(
    machine: Machine, arguments: tuple[str, ...], status: int
) -> None:
    machine.has_manager("apt-get", "echo 'E: Unable to locate package' >&2; exit 100")
    ended = machine.run(ROOTS, *arguments)
    assert ended.status == status
    assert "E: Unable to locate package" in ended.said
    assert ended.said[-1].startswith("apt-get update && apt-get install libegl1 ")


def test_where_no_package_manager_is_known_nothing_is_done(machine: Machine) -> None:
    assert machine.run(USERS, "--required") == Ended(0, [])


def test_steps_are_shown_and_the_rest_only_where_it_fails(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_progress, "PAUSE_SECONDS", 0.0)
    wheel = "Downloading pyside6_addons-6.12.0-cp310-abi3-manylinux_2_34_x86_64.whl (59.2 MB)"
    says = f"echo '  {wheel}'; echo noise; echo Installing collected packages: a, b"
    assert command_progress.run_with_progress(["sh", "-c", says], install_python_packages.STEP)
    assert capfd.readouterr() == (
        "  Downloading pyside6_addons-6.12.0 (59.2 MB)\n  Installing packages\n",
        "",
    )
    assert not command_progress.run_with_progress(
        ["sh", "-c", f"{says}; exit 3"], install_python_packages.STEP
    )
    assert "noise\n" in capfd.readouterr().err
