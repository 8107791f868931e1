"""What of all that PyInstaller finds goes into the bundle."""

import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Final, NamedTuple

EXCLUDED: Final = [
    # imported somewhere, but not by what runs here
    *("tkinter", "unittest", "pydoc", "pdb", "doctest", "lib2to3", "ensurepip", "test", "idlelib"),
    *("pip", "setuptools", "wheel", "distutils", "IPython", "numpy", "PIL", "cryptography"),
    *("gevent.tests", "gevent.testing", "psutil.tests", "apsw.tests", "apsw.shell", "apsw.fts5"),
    *("gevent.libuv", "gevent.resolver.dnspython", "gevent.monkey.__main__", "dns", "zope.testing"),
    *("rich.markdown", "rich.syntax", "pygments", "markdown_it"),
    *("PyQt5", "PyQt6", "PySide2", "gi", "sqlite3", "readline", "rlcompleter"),
    *("attr", "attrs", "yaml", "anyio", "httpx", "pydantic"),
    # hooks take along whatever of Qt has a binding
    *("qtpy.QtDataVisualization", "PySide6.QtDataVisualization", "PySide6.QtOpenGL"),
    *("PySide6.QtOpenGLWidgets", "PySide6.QtQuick", "PySide6.QtQuickWidgets", "PySide6.QtQml"),
    *("PySide6.QtDBus", "PySide6.QtPositioning"),
]

HOOKS: Final = {"pyi_rth_pyside6", "pyi_rth_multiprocessing"}
"""Of PyInstaller's, left out: they run before the program, in the server and the command line too,
which the first keeps waiting for 60 ms while it loads Qt. Qt's wheels know where they are."""

PLUGINS: Final = {
    "platforms": ("qxcb", "qwayland", "qwayland-generic", "qwayland-egl", "qoffscreen"),
    "platforminputcontexts": (
        "composeplatforminputcontextplugin",
        "ibusplatforminputcontextplugin",
    ),
    "platformthemes": ("qgtk3", "qxdgdesktopportal"),
    "xcbglintegrations": ("qxcb-egl-integration", "qxcb-glx-integration"),
    "wayland-shell-integration": ("xdg-shell",),
    "wayland-graphics-integration-client": ("qt-plugin-wayland-egl", "dmabuf-server"),
    "wayland-decoration-client": ("adwaita", "bradient"),
}
"""The plugins of Qt that a window uses: it speaks to X11 or Wayland, takes input, and asks for
files with the desktop's own dialogs."""

QT_DATA: Final = (
    "resources/icudtl.dat",
    "resources/qtwebengine_resources.pak",
    "resources/qtwebengine_resources_100p.pak",
    "resources/qtwebengine_resources_200p.pak",
    "resources/v8_context_snapshot.bin",
    "translations/qtwebengine_locales/en-US.pak",
    "resources/locales/en-US.pak",
)
"""Without the developer tools, and in the one language that the window speaks."""

SYSTEM: Final = (
    # What every desktop has, and what must be one with its graphics drivers and themes: another
    # libstdc++ or libwayland than theirs keeps them from being loaded.
    *("libstdc++", "libgcc_s", "libGL", "libGLX", "libGLdispatch", "libEGL", "libOpenGL", "libdrm"),
    *("libgbm", "libwayland-client", "libwayland-cursor", "libwayland-egl", "libwayland-server"),
    *("libX11", "libX11-xcb", "libxcb", "libXau", "libXdmcp", "libXext", "libXrender", "libXfixes"),
    *("libXi", "libXcursor", "libXcomposite", "libXdamage", "libXrandr", "libXtst", "libXinerama"),
    *("libfontconfig", "libfreetype", "libexpat", "libharfbuzz", "libgraphite2", "libfribidi"),
    *(
        "libglib-2.0",
        "libgobject-2.0",
        "libgio-2.0",
        "libgmodule-2.0",
        "libgthread-2.0",
        "libpcre2-8",
    ),
    *(
        "libgtk-3",
        "libgdk-3",
        "libgdk_pixbuf-2.0",
        "libpango-1.0",
        "libpangocairo-1.0",
        "libatk-1.0",
    ),
    *(
        "libpangoft2-1.0",
        "libcairo",
        "libcairo-gobject",
        "libatk-bridge-2.0",
        "libatspi",
        "libepoxy",
    ),
    *("libasound", "libdbus-1", "libsystemd", "libudev", "libmount", "libblkid", "libselinux"),
    *("libcups", "libpulse"),
)


LOADED: Final = ("libpython3", "libsoftokn3", "libfreebl", "libnssckbi")
"""Libraries that are loaded by name: by the program's start, and by NSS in the web engine."""


class Entry(NamedTuple):
    """One file of the bundle: where it goes, where it comes from, and PyInstaller's type of it."""

    name: str
    source: str
    kind: str


def chosen(
    binaries: Iterable[tuple[str, str, str]], needs: Callable[[str], Iterable[str]]
) -> list[Entry]:
    """The binaries that stay on Linux; `needs` names the libraries that one is linked with.

    A library stays where something that stays is linked with it: Qt's wheel has many that only
    Qt Quick's parts load. Each finds its own by the path that it was linked with, so the links that
    PyInstaller makes go.
    """
    entries = [Entry(*entry) for entry in binaries if entry[2] != "SYMLINK"]
    by_name = {PurePosixPath(entry.name).name: entry for entry in entries}
    wanted = [entry for entry in entries if _is_root(entry)]
    kept: dict[str, Entry] = {}
    while wanted:
        entry = wanted.pop()
        if entry.name in kept or is_of_system(entry.name):
            continue
        kept[entry.name] = entry
        wanted += [by_name[name] for name in needs(entry.source) if name in by_name]
    return [entry for entry in entries if entry.name in kept]


def is_of_system(name: str) -> bool:
    """Whether a library is left to the desktop."""
    library = PurePosixPath(name).name
    return "/" not in name and library.partition(".so")[0] in SYSTEM


def is_wanted(name: str) -> bool:
    """Whether a data file stays, by its place in the bundle."""
    path = PurePosixPath(name)
    if path.parts[:2] == ("PySide6", "Qt"):
        return "/".join(path.parts[2:]) in QT_DATA or path.parts[2] in ("libexec", "lib", "plugins")
    if path.parts[0] == "PySide6":
        return path.suffix not in (".pyi", ".qm", ".typesystem", ".xml")
    if ".dist-info" in name:
        return path.name == "METADATA"
    return path.suffix not in (".pyi", ".pyx", ".pxd", ".c", ".h", ".jar")


def _is_root(entry: Entry) -> bool:
    """What is loaded by name and not as something's library."""
    path = PurePosixPath(entry.name)
    if "plugins" in path.parts:
        return _is_plugin(path)
    if path.name == "QtWebEngineProcess":
        return True
    is_library = re.search(r"\.so(\.\d+)*$", path.name) and path.name.startswith("lib")
    if entry.kind == "EXTENSION" or not is_library:
        return "qml" not in path.parts
    return path.name.startswith(LOADED)


def _is_plugin(path: PurePosixPath) -> bool:
    name = path.name.partition(".so")[0].removeprefix("lib")
    return name in PLUGINS.get(path.parent.name, ())
