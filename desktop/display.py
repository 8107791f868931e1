"""Whether a window can be shown here: display, web engine, libraries.

Checked before Qt is used, which ends the process where it cannot show one.
"""

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

WEB_ENGINE_MODULES: Final = (
    ("webview", "PySide6", "qtpy") if sys.platform == "linux" else ("webview",)
)
"""The modules of the extra `window`, which servers and CI do without."""
WEBVIEW2: Final = r"Microsoft\EdgeUpdate\Clients\{F3017226-FE2A-4295-8BDF-00C3A9A7E4C5}"
CHROMIUM_FLAGS: Final = "QTWEBENGINE_CHROMIUM_FLAGS"
NO_SANDBOX: Final = "QTWEBENGINE_DISABLE_SANDBOX"


class CannotShow(Exception):
    """No window can be shown here; the message says why and what to do."""


def require_display(environ: Mapping[str, str] = os.environ) -> None:
    """Raises `CannotShow` where there is no display that answers. Takes no time."""
    if sys.platform == "linux" and (why := _display_error(environ)):
        raise CannotShow(why)


def has_display(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a display that answers."""
    return sys.platform != "linux" or _display_error(environ) is None


def disable_sandbox_for_root(environ: MutableMapping[str, str] = os.environ) -> str | None:
    """For root have the web engine do without its sandbox; a warning that says so, else None.

    With one Chromium would end the process. The window shows nothing but the server's own page.
    """
    is_chosen = NO_SANDBOX in environ or "--no-sandbox" in environ.get(CHROMIUM_FLAGS, "")
    if sys.platform != "linux" or os.geteuid() != 0 or is_chosen:
        return None
    environ[NO_SANDBOX] = "1"
    return "For root the web engine has no sandbox; better start Signalbox as an ordinary user."


def silence_engine_log(environ: MutableMapping[str, str] = os.environ) -> None:
    """Keep Qt and its web engine from logging that this system has no Vulkan, D-Bus or GPU.

    They work without these; that no window can be shown is reported by us.
    """
    if sys.platform == "linux":
        environ.setdefault("QT_LOGGING_RULES", "default.warning=false;default.info=false")
        flags = environ.get(CHROMIUM_FLAGS, "")
        if "log" not in flags:
            environ[CHROMIUM_FLAGS] = f"{flags} --log-level=3".strip()


def require_web_engine(environ: Mapping[str, str] = os.environ) -> None:
    """Load the web engine. Raises `CannotShow` with what is to be installed."""
    if not all(map(find_spec, WEB_ENGINE_MODULES)):
        raise CannotShow(
            "The window's web engine is not installed; "
            "install Signalbox again with its extra [window]."
        )
    if sys.platform == "win32" and not _has_webview2():
        raise CannotShow(
            "The web view does not start: install the Microsoft Edge WebView2 Runtime, which "
            "Microsoft offers for every Windows from 10 on, then start Signalbox again."
        )
    if sys.platform != "linux":
        return
    try:
        from PySide6 import QtWebEngineWidgets  # noqa: F401, PLC0415 - this import may fail
        from PySide6.QtCore import QLibraryInfo  # noqa: PLC0415

        plugins = Path(QLibraryInfo.path(QLibraryInfo.LibraryPath.PluginsPath))
        if needs_x11(environ):
            ctypes.CDLL(str(plugins / "platforms" / "libqxcb.so"))
    except (ImportError, OSError) as error:
        problem, advice = _missing_library(error), system_packages.install_advice()
        raise CannotShow(f"Qt cannot show a window: {problem}. {advice}") from error


def _missing_library(error: ImportError | OSError) -> str:
    """Which library is missing: the loader names it within a text of its own."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the Python package {error.name.partition('.')[0]} is missing"
    library = re.search(r"[\w.+-]+\.so[\w.]*", str(error))
    return f"the library {library[0]} is missing" if library else "a library of it does not load"


def needs_x11(environ: Mapping[str, str]) -> bool:
    """Whether Qt has X11 alone; in a Wayland session it tries both."""
    in_wayland = environ.get("XDG_SESSION_TYPE") == "wayland" and "WAYLAND_DISPLAY" in environ
    return not in_wayland and not environ.get("QT_QPA_PLATFORM")


def _has_webview2() -> bool:
    """Whether Windows has WebView2, for all users or this one; without it pywebview takes IE.

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


def _display_error(environ: Mapping[str, str]) -> str | None:
    """Why there is no display, for the message of `CannotShow`."""
    if environ.get("QT_QPA_PLATFORM"):
        return None  # somebody chose another way to show things
    x11, wayland = environ.get("DISPLAY"), environ.get("WAYLAND_DISPLAY")
    if not x11 and not wayland:
        return "There is no display: neither DISPLAY nor WAYLAND_DISPLAY is set."
    if (wayland and _wayland_answers(wayland, environ)) or (x11 and _x11_answers(x11)):
        return None
    return f"The display {wayland or x11} does not answer."


def _wayland_answers(name: str, environ: Mapping[str, str]) -> bool:
    """Whether a Wayland display takes connections at the socket of this name."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(Path(environ.get("XDG_RUNTIME_DIR", "/")) / name))
        except OSError:
            return False
    return True


def _x11_answers(name: str) -> bool:
    """Whether an X11 display takes connections."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True  # a library is missing, which is looked for next
    xcb.xcb_connect.restype = ctypes.c_void_p
    # Left open: an X server without other clients starts anew when the last one goes, and Qt,
    # which is about to come, ends the process where it meets it just then.
    connection = ctypes.c_void_p(xcb.xcb_connect(name.encode(), None))
    return not xcb.xcb_connection_has_error(connection)
