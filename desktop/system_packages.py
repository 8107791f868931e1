"""The system packages that the window needs, for each package manager."""

import shutil
from collections.abc import Iterable
from typing import Final

WINDOW_PACKAGES: Final = {
    "apt-get": (
        "libegl1 libgl1 libnss3 libasound2 libdbus-1-3 libfontconfig1 libglib2.0-0 "
        "libgssapi-krb5-2 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 "
        "libxkbcommon-x11-0 libxkbfile1 libxcomposite1 libxdamage1 libxrandr2 libxtst6"
    ),
    "dnf": (
        "mesa-libEGL mesa-libGL mesa-libgbm nss alsa-lib dbus-libs fontconfig glib2 krb5-libs "
        "xcb-util-cursor xcb-util-wm xcb-util-keysyms libxcb libX11-xcb libxkbcommon-x11 "
        "libxkbfile libXcomposite libXdamage libXrandr libXtst"
    ),
    "pacman": (
        "mesa libglvnd nss alsa-lib dbus fontconfig glib2 krb5 xcb-util-cursor xcb-util-wm "
        "xcb-util-keysyms libxcb libxkbcommon-x11 libxkbfile libxcomposite libxdamage libxrandr "
        "libxtst"
    ),
}
"""The libraries that Qt's wheels do not contain, with their dependencies: Debian, Fedora, Arch."""

INSTALL_COMMANDS: Final = {
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "pacman": "pacman -S --needed",
}
"""What a person types before the names."""


def find_manager() -> str | None:
    """The package manager of this system, where it is one of those above."""
    return next((name for name in WINDOW_PACKAGES if shutil.which(name)), None)


def install_advice() -> str:
    """A sentence with the command for this system, or that of Debian where it is unknown."""
    manager = find_manager()
    name = manager or "apt-get"
    where = "Install what is missing" if manager else "On Debian and Ubuntu"
    return f"{where}: sudo {install_command(name, WINDOW_PACKAGES[name].split())}"


def install_command(manager: str, packages: Iterable[str]) -> str:
    """The command that installs the packages, as a person types it, without `sudo`."""
    return " ".join((INSTALL_COMMANDS[manager], *packages))
