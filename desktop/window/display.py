"""Whether a window can be shown here, asked before Qt, which ends the process where it cannot."""

import ctypes
import os
import re
import socket
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from signalbox.desktop import system_packages

WEB_ENGINE: Final = ("webview", "PySide6", "qtpy") if sys.platform == "linux" else ("webview",)
"""The modules of the extra `window`, which servers and CI do without."""
WEBVIEW2: Final = r"Microsoft\EdgeUpdate\Clients\{F3017226-FE2A-4295-8BDF-00C3A9A7E4C5}"
FLAGS: Final = "QTWEBENGINE_CHROMIUM_FLAGS"
NO_SANDBOX: Final = "QTWEBENGINE_DISABLE_SANDBOX"


class CannotShow(Exception):
    """No window can be shown here; the message says why and what to do."""


def require_display(environ: Mapping[str, str] = os.environ) -> None:
    """Raises `CannotShow` where there is no display that answers. Takes no time."""
    if sys.platform == "linux" and (why := _no_display(environ)):
        raise CannotShow(why)


def is_there(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody may look at one."""
    return sys.platform != "linux" or _no_display(environ) is None


def without_sandbox(environ: MutableMapping[str, str] = os.environ) -> str | None:
    """Tell the web engine to do without its sandbox where it has none, and say so.

    For root Chromium would end the process. The window shows nothing but the server's own page.
    """
    chosen = NO_SANDBOX in environ or "--no-sandbox" in environ.get(FLAGS, "")
    if sys.platform != "linux" or os.geteuid() != 0 or chosen:
        return None
    environ[NO_SANDBOX] = "1"
    return "For root the web engine has no sandbox; better start Signalbox as an ordinary user."


def without_noise(environ: MutableMapping[str, str] = os.environ) -> None:
    """Have Qt and its web engine not tell about a Vulkan, a bus or a GPU that this system lacks.

    What they do without is no failure, and a window that does not come is told by us.
    """
    if sys.platform == "linux":
        environ.setdefault("QT_LOGGING_RULES", "default.warning=false;default.info=false")
        flags = environ.get(FLAGS, "")
        if "log" not in flags:
            environ[FLAGS] = f"{flags} --log-level=3".strip()


def require_libraries(environ: Mapping[str, str] = os.environ) -> None:
    """Load Qt. Raises `CannotShow` with what is to be installed."""
    if not all(map(find_spec, WEB_ENGINE)):
        raise CannotShow(
            "The window's web engine is not installed; "
            "`pip install 'signalbox-app[window]'` installs it."
        )
    if sys.platform == "win32" and not _has_webview2():
        raise CannotShow(
            "The web view does not start: install the Microsoft Edge WebView2 Runtime, which "
            "Microsoft offers for every Windows from 10 on, then start Signalbox again."
        )
    if sys.platform != "linux":
        return
    try:
        from PySide6 import QtWebEngineWidgets  # noqa: F401, PLC0415 - it is this that may fail
        from PySide6.QtCore import QLibraryInfo  # noqa: PLC0415

        plugins = Path(QLibraryInfo.path(QLibraryInfo.LibraryPath.PluginsPath))
        if needs_x11(environ):
            ctypes.CDLL(str(plugins / "platforms" / "libqxcb.so"))
    except (ImportError, OSError) as error:
        raise CannotShow(
            f"Qt cannot show a window: {_missing(error)}. {system_packages.advice()}"
        ) from error


def _missing(error: ImportError | OSError) -> str:
    """Which library it is; the loader says so within a text of its own."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the Python package {error.name.partition('.')[0]} is missing"
    named = re.search(r"[\w.+-]+\.so[\w.]*", str(error))
    return f"the library {named[0]} is missing" if named else "a library of it does not load"


def needs_x11(environ: Mapping[str, str]) -> bool:
    """Whether Qt has X11 alone; in a Wayland session it tries both."""
    in_wayland = environ.get("XDG_SESSION_TYPE") == "wayland" and "WAYLAND_DISPLAY" in environ
    return not in_wayland and not environ.get("QT_QPA_PLATFORM")


def _has_webview2() -> bool:
    """Whether Windows has it, for all users or for this one; without it pywebview takes IE.

    Source: Microsoft's "Distribute your app and the WebView2 Runtime", detecting by `pv`.
    """
    if sys.platform != "win32":
        return True
    import winreg  # noqa: PLC0415 - there is none elsewhere

    places = (
        (winreg.HKEY_LOCAL_MACHINE, rf"SOFTWARE\WOW6432Node\{WEBVIEW2}"),
        (winreg.HKEY_LOCAL_MACHINE, rf"SOFTWARE\{WEBVIEW2}"),
        (winreg.HKEY_CURRENT_USER, rf"Software\{WEBVIEW2}"),
    )
    for root, path in places:
        with suppress(OSError), winreg.OpenKey(root, path) as key:
            if winreg.QueryValueEx(key, "pv")[0] not in ("", "0.0.0.0"):  # noqa: S104 - a version
                return True
    return False


def _no_display(environ: Mapping[str, str]) -> str | None:
    if environ.get("QT_QPA_PLATFORM"):
        return None  # somebody chose another way to show things
    x11, wayland = environ.get("DISPLAY"), environ.get("WAYLAND_DISPLAY")
    if not x11 and not wayland:
        return "There is no display: neither DISPLAY nor WAYLAND_DISPLAY is set."
    if (wayland and _wayland_answers(wayland, environ)) or (x11 and _x11_answers(x11)):
        return None
    return f"The display {wayland or x11} does not answer."


def _wayland_answers(name: str, environ: Mapping[str, str]) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(Path(environ.get("XDG_RUNTIME_DIR", "/")) / name))
        except OSError:
            return False
    return True


def _x11_answers(name: str) -> bool:
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True  # a library is missing, which is looked for next
    xcb.xcb_connect.restype = ctypes.c_void_p
    # Left open: an X server without other clients starts anew when the last one goes, and Qt,
    # which is about to come, ends the process where it meets it just then.
    connection = ctypes.c_void_p(xcb.xcb_connect(name.encode(), None))
    return not xcb.xcb_connection_has_error(connection)
