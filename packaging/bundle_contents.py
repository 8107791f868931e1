"""Which of the modules, libraries and data files that PyInstaller finds go into the bundle."""

import re
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import distribution, packages_distributions
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from packaging.requirements import Requirement

import licences

EXCLUDED_MODULES: Final = [
    # imported somewhere, but not by what runs here
    *("tkinter", "unittest", "pydoc", "pdb", "doctest", "lib2to3", "ensurepip", "test", "idlelib"),
    *("pip", "setuptools", "wheel", "IPython", "numpy", "PIL", "cryptography"),
    # later it is setuptools', which PyInstaller leaves out with that
    *(("distutils",) if sys.version_info < (3, 12) else ()),
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


def development_modules() -> list[str]:
    """What only developing takes: some libraries would use it, since it is installed here."""
    running = _distributions_for("signalbox-app[nats,redis,window]")
    return sorted(
        module
        for module, distributions in packages_distributions().items()
        if running.isdisjoint(map(licences.normalized, distributions))
    )


def _distributions_for(*requirements: str) -> set[str]:
    """The normalized names of the distributions that fulfil these requirements, and theirs."""
    found, missing = set[tuple[str, str]](), [Requirement(text) for text in requirements]
    while missing:
        requirement = missing.pop()
        name = licences.normalized(requirement.name)
        extras = [one for one in ("", *requirement.extras) if (name, one) not in found]
        found |= {(name, extra) for extra in extras}
        inner = [Requirement(text) for text in distribution(name).requires or ()]
        missing += [one for one in inner if extras and _applies(one, extras)]
    return {name for name, _ in found}


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras)


OMITTED_HOOKS: Final = {"pyi_rth_pyside6", "pyi_rth_multiprocessing"}
"""Start-up hooks of PyInstaller that are left out: they run before the program, in the server and
the command line too, which the first delays by 60 ms by loading Qt. Qt finds its files without."""

QT_PLUGINS: Final = {
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

SYSTEM_LIBRARIES: Final = (
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


LOADED_BY_NAME: Final = ("libpython3", "libsoftokn3", "libfreebl", "libnssckbi")
"""Libraries that are loaded by name: by the program's start, and by NSS in the web engine."""


class Entry(NamedTuple):
    """One file of the bundle: where it goes, where it comes from, and PyInstaller's type of it."""

    name: str
    source: str
    kind: str


def choose_binaries(
    binaries: Iterable[tuple[str, str, str]], needed_libraries: Callable[[str], Iterable[str]]
) -> list[Entry]:
    """The binaries that are bundled on Linux.

    A library is bundled if something that is bundled is linked with it: Qt's wheel has many that
    only Qt Quick's parts load. Each finds its libraries by the path that it was linked with, so the
    symbolic links that PyInstaller makes are left out.
    """
    entries = [Entry(*entry) for entry in binaries if entry[2] != "SYMLINK"]
    by_name = {PurePosixPath(entry.name).name: entry for entry in entries}
    pending = [entry for entry in entries if _is_root(entry)]
    bundled: dict[str, Entry] = {}
    while pending:
        entry = pending.pop()
        if entry.name in bundled or is_system_library(entry.name):
            continue
        bundled[entry.name] = entry
        pending += [by_name[name] for name in needed_libraries(entry.source) if name in by_name]
    return [entry for entry in entries if entry.name in bundled]


def is_system_library(name: str) -> bool:
    """Whether a library is taken from the system."""
    library = PurePosixPath(name).name
    return "/" not in name and library.partition(".so")[0] in SYSTEM_LIBRARIES


def is_bundled_data(name: str) -> bool:
    """Whether a data file is bundled, by its path in the bundle."""
    path = PurePosixPath(name)
    if path.parts[:2] == ("PySide6", "Qt"):
        return "/".join(path.parts[2:]) in QT_DATA or path.parts[2] in ("libexec", "lib", "plugins")
    if path.parts[0] == "PySide6":
        return path.suffix not in (".pyi", ".qm", ".typesystem", ".xml")
    if ".dist-info" in name:
        return path.name == "METADATA"
    return path.suffix not in (".pyi", ".pyx", ".pxd", ".c", ".h", ".jar")


def _is_root(entry: Entry) -> bool:
    """Whether it is loaded by name, and not because something is linked with it."""
    path = PurePosixPath(entry.name)
    if "plugins" in path.parts:
        return _is_bundled_plugin(path)
    if path.name == "QtWebEngineProcess":
        return True
    is_library = re.search(r"\.so(\.\d+)*$", path.name) and path.name.startswith("lib")
    if entry.kind == "EXTENSION" or not is_library:
        return "qml" not in path.parts
    return path.name.startswith(LOADED_BY_NAME)


def _is_bundled_plugin(path: PurePosixPath) -> bool:
    """Whether a library of Qt's plugins goes into the bundle."""
    name = path.name.partition(".so")[0].removeprefix("lib")
    return name in QT_PLUGINS.get(path.parent.name, ())
