"""Install the system packages that are missing: those of the window, and further ones of Debian.

`python packaging/install_system_packages.py [--required] [DEBIAN_PACKAGE …]`; with `--required` it
fails where some stay missing. Root and CI (`CI=true`) are not asked, somebody at a terminal is;
else the command to type is printed. With an unknown package manager nothing is done.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

import command_progress
from signalbox.desktop import system_packages

QUIET_ENV: Final = ("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8")
PROGRESS_LINES: Final = re.compile(
    r"^((?:Get:\d+|Unpacking|Setting up|[(\[]\s*\d+/\d+[)\]]|Installing|installing).*)"
)
"""What apt, dnf and pacman write at each package."""
NONINTERACTIVE: Final = {
    "apt-get": ("--yes", "--quiet", "--no-install-recommends"),
    "dnf": ("--assumeyes",),
    "pacman": ("--noconfirm",),
}
INTERRUPTED: Final = 130


def main(arguments: Sequence[str]) -> int:
    """The exit status."""
    manager = system_packages.find_manager()
    if manager is None:
        return 0
    names = system_packages.WINDOW_PACKAGES[manager].split()
    if manager == "apt-get":
        names += [name for name in arguments if not name.startswith("--")]
    missing = MISSING[manager](names)
    if not missing:
        return 0
    root = _root_command(manager, missing)
    if root is not None and _install(manager, missing, root):
        return 0
    _print_command(manager, missing)
    return 1 if "--required" in arguments else 0


def _root_command(manager: str, missing: Sequence[str]) -> list[str] | None:
    """The words before a command that run it as root; None where that is not allowed."""
    if os.geteuid() == 0:
        return []
    if not shutil.which("sudo"):
        return None
    if os.environ.get("CI") == "true":
        sudo = ["sudo", "-n"]
    elif _ask(manager, missing):
        sudo = ["sudo"]
    else:
        return None
    # It may ask for a password, or refuse, once; after that it does neither for a while.
    return sudo if subprocess.run([*sudo, "true"], check=False).returncode == 0 else None


def _ask(manager: str, missing: Sequence[str]) -> bool:
    """Ask at the terminal whether to install them; False where there is none."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    print(f"Signalbox needs these packages of the system:\n  {' '.join(missing)}")
    try:
        answer = input(f"Install them by `sudo {manager}`? [Y/n] ")
    except EOFError:
        print()
        return False
    return answer.strip().lower() in ("", "y", "yes")


def _install(manager: str, missing: Sequence[str], root: Sequence[str]) -> bool:
    """Install the missing packages by a package manager; whether it succeeded."""
    print(f"Installing {len(missing)} packages of the system by {manager} ...", flush=True)
    if manager == "apt-get":
        # Where it fails, such as without network, the present lists may be good enough.
        command_progress.run_with_progress(
            [*root, *QUIET_ENV, "apt-get", "update", "--quiet"], PROGRESS_LINES
        )
        missing = _release_names(missing)
    command = system_packages.INSTALL_COMMANDS[manager].split()
    return command_progress.run_with_progress(
        [*root, *QUIET_ENV, *command, *NONINTERACTIVE[manager], *missing], PROGRESS_LINES
    )


def _print_command(manager: str, missing: Sequence[str]) -> None:
    """Print the command that installs the missing packages, before it runs."""
    sudo = "sudo " if os.geteuid() and shutil.which("sudo") else ""
    names = _release_names(missing) if manager == "apt-get" else missing
    update = f"{sudo}apt-get update && " if manager == "apt-get" else ""
    as_root = "" if sudo or os.geteuid() == 0 else " as root"
    print(f"Packages of the system are missing. This installs them{as_root}:")
    print(f"{update}{sudo}{system_packages.install_command(manager, names)}", flush=True)


def _missing_debian(names: Sequence[str]) -> list[str]:
    """Those of the packages that Debian or Ubuntu has not installed."""
    # Newer releases carry some of these with a suffix for 64-bit time.
    listed = _output(
        "dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *_with_suffix(names)
    )
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [name for name in names if not installed & {name, f"{name}t64"}]


def _missing_fedora(names: Sequence[str]) -> list[str]:
    """Those of the packages that Fedora has not installed."""
    return [name for name in names if not _succeeds("rpm", "-q", "--whatprovides", name)]


def _missing_arch(names: Sequence[str]) -> list[str]:
    """Those of the packages that Arch has not installed."""
    return _output("pacman", "--deptest", *names).split()


MISSING: Final[dict[str, Callable[[Sequence[str]], list[str]]]] = {
    "apt-get": _missing_debian,
    "dnf": _missing_fedora,
    "pacman": _missing_arch,
}


def _release_names(names: Sequence[str]) -> list[str]:
    """Their names in this release of Debian or Ubuntu."""
    listed = _output("apt-cache", "--no-all-versions", "show", *_with_suffix(names))
    suffixed = set(re.findall(r"^Package: (\S+t64)$", listed, re.MULTILINE))
    return [f"{name}t64" if f"{name}t64" in suffixed else name for name in names]


def _with_suffix(names: Sequence[str]) -> list[str]:
    """The names of Debian packages, also as newer releases call them."""
    return [variant for name in names for variant in (name, f"{name}t64")]


def _output(*command: str) -> str:
    """What a package manager prints, whatever its exit status; nothing where there is none."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _succeeds(*command: str) -> bool:
    """Whether a program of the package manager ends without an error."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
