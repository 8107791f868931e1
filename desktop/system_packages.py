"""The packages of the system that the window needs, by the package manager that has them."""

import shutil
from collections.abc import Iterable
from typing import Final

WINDOW: Final = {
    "apt-get": (
        "libegl1 libgl1 libnss3 libasound2 libdbus-1-3 libfontconfig1 libglib2.0-0 "
        "libgssapi-krb5-2 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 "
        "libxkbcommon-x11-0 libxkbfile1 libxcomposite1 libxdamage1 libxrandr2 libxtst6"
    ),
    "dnf": (
        "mesa-libEGL mesa-libGL nss alsa-lib dbus-libs fontconfig glib2 krb5-libs xcb-util-cursor "
        "xcb-util-wm xcb-util-keysyms libxcb libxkbcommon-x11 libxkbfile libXcomposite libXdamage "
        "libXrandr libXtst"
    ),
    "pacman": (
        "mesa libglvnd nss alsa-lib dbus fontconfig glib2 krb5 xcb-util-cursor xcb-util-wm "
        "xcb-util-keysyms libxcb libxkbcommon-x11 libxkbfile libxcomposite libxdamage libxrandr "
        "libxtst"
    ),
}
"""What Qt's wheels leave to the system, with what these depend on: Debian, Fedora, Arch."""

INSTALL: Final = {
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "pacman": "pacman -S --needed",
}
"""What a person types before the names."""


def manager() -> str | None:
    """The package manager of this system, where it is one of those above."""
    return next((name for name in WINDOW if shutil.which(name)), None)


def advice() -> str:
    """What to type on this system; on one that we do not know, what it would be on Debian."""
    found = manager()
    name = found or "apt-get"
    where = "Install what is missing" if found else "On Debian and Ubuntu"
    return f"{where}: sudo {typed(name, WINDOW[name].split())}"


def typed(name: str, packages: Iterable[str]) -> str:
    """The command that installs them, as a person types it, without `sudo`."""
    return " ".join((INSTALL[name], *packages))
