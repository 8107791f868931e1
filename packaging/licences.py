"""The licences of everything that is bundled, as one text; what it does not know it refuses."""

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from email.message import Message
from functools import cache
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import Final, NamedTuple

import texts

ROOT: Final = Path(__file__).resolve().parent.parent
QT: Final = "LGPL-3.0-only OR GPL-2.0-only OR GPL-3.0-only"
KNOWN: Final = {
    "apsw": "any-OSI",
    "async-timeout": "Apache-2.0",
    "bottle": "MIT",
    "bottle-websocket": "MIT",
    "cffi": "MIT-0",
    "click": "BSD-3-Clause",
    "clr-loader": "MIT",
    "colorama": "BSD License",
    "datastar-py": "MIT",
    "filelock": "MIT",
    "gevent": "MIT",
    "greenlet": "MIT AND PSF-2.0",
    "jinja2": "BSD License",
    "jiter": "MIT",
    "markupsafe": "BSD-3-Clause",
    "msgspec": "BSD-3-Clause",
    "nats-py": "Apache-2.0",
    "nkeys": "Apache 2 License",
    "packaging": "Apache-2.0 OR BSD-2-Clause",
    "platformdirs": "MIT",
    "proxy-tools": "MIT",
    "psutil": "BSD-3-Clause",
    "pycparser": "BSD-3-Clause",
    "pyinstaller": "GPLv2-or-later with a special exception which allows to use PyInstaller to "
    "build and distribute non-free programs (including commercial ones)",
    "pynacl": "Apache-2.0",
    "pyobjc-core": "MIT",
    "pyobjc-framework-cocoa": "MIT",
    "pyobjc-framework-quartz": "MIT",
    "pyobjc-framework-security": "MIT",
    "pyobjc-framework-uniformtypeidentifiers": "MIT",
    "pyobjc-framework-webkit": "MIT",
    "pyside6-addons": QT,
    "pyside6-essentials": QT,
    "pyside6-webengine": QT,
    "pythonnet": "MIT",
    "pywebview": "BSD License",
    "qtpy": "MIT",
    "redis": "MIT",
    "rich": "MIT",
    "shiboken6": QT,
    "typing-extensions": "PSF-2.0",
    "zope-event": "ZPL-2.1",
    "zope-interface": "ZPL-2.1",
}
"""From the name of each distribution that may be bundled to the licence that it declares."""

TEXTS: Final = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)


class UnknownError(Exception):
    """Something would be bundled whose licence nobody has looked at."""


class Licence(NamedTuple):
    """Of one part: its name with version, what it declares, and the whole text."""

    part: str
    declared: str
    text: str


def gather(sources: Iterable[str]) -> list[Licence]:
    """The licences of what the files at `sources` come from, the program's own first.

    Raises `UnknownError` for a file that nothing known has brought.
    """
    owners = _owners()
    named, packages = {"pyinstaller"}, set[str]()
    for source in {Path(source).resolve() for source in sources}:
        if _is_ours(source) or _is_pythons(source):
            continue
        if str(source) in owners:
            named.add(owners[str(source)])
        else:
            packages.add(_package(source))
    named.discard("signalbox-app")
    found = [_of_distribution(distribution(name)) for name in sorted(named)]
    found += [_of_package(name) for name in sorted(packages)]
    return [_own(), _pythons(), _datastar(), *found]


def text(found: Iterable[Licence]) -> str:
    """All of them for people to read: a list, then each text once."""
    found = list(found)
    listed = "\n".join(f"{one.part}: {one.declared}" for one in found)
    whole = [f"{'=' * 80}\n{one.part}\n{'=' * 80}\n\n{one.text.strip()}\n" for one in found]
    return f"Signalbox is made of these parts.\n\n{listed}\n\n" + "\n".join(whole)


@cache
def _owners() -> dict[str, str]:
    """The distribution that has brought each file, which is no link itself."""
    return {
        os.path.normpath(f"{folder}/{file}"): _normal(each.name)
        for each in distributions()
        for folder in [Path(str(each.locate_file(""))).resolve()]
        for file in each.files or ()
    }


def _is_ours(source: Path) -> bool:
    return source.is_relative_to(ROOT) and ".venv" not in source.relative_to(ROOT).parts


def _is_pythons(source: Path) -> bool:
    base = Path(sys.base_prefix).resolve()
    return source.is_relative_to(base) and base != Path("/usr")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _of_distribution(found: Distribution) -> Licence:
    name = _normal(found.name)
    part, declared = f"{found.name} {found.version}", _declared(found)
    if KNOWN.get(name) != declared:
        raise UnknownError(
            f"{part} declares {declared!r}; licences.py knows {KNOWN.get(name)!r} of {name}."
        )
    if declared == QT:
        return Licence(part, "LGPL-3.0-only", texts.of_qt(found.name))
    return Licence(part, declared, "\n\n".join(_texts(found)))


def _declared(found: Distribution) -> str:
    """As the metadata tell it: an expression, a short text, or else a classifier."""
    short = _told(found, "License-Expression") or _told(found, "License")
    if short and "\n" not in short:
        return short
    told = found.metadata.get_all("Classifier") or ()
    known = [one for one in told if one.startswith("License ::")]
    return known[-1].rpartition(":: ")[2] if known else ""


def _told(found: Distribution, field: str) -> str:
    told: Message = found.metadata  # type: ignore[assignment]  # as PackageMetadata documents
    return str(told.get(field, ""))


def _texts(found: Distribution) -> Iterator[str]:
    files = [file for file in found.files or () if ".dist-info" in str(file)]
    whole = [file for file in files if TEXTS.search(file.name)]
    for file in whole:
        yield Path(str(found.locate_file(file))).read_text(encoding="utf-8", errors="replace")
    if not whole:
        yield texts.mit(_told(found, "Author") or found.name)


def _package(source: Path) -> str:
    """The Debian package that a library of the system is from."""
    for path in (source, Path("/", *source.parts[2:])):  # /lib may be a link to /usr/lib
        done = subprocess.run(
            ["dpkg", "-S", str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return done.stdout.partition(":")[0]
    raise UnknownError(f"{source} would be bundled, and nothing known has brought it.")


def _of_package(name: str) -> Licence:
    file = Path("/usr/share/doc", name, "copyright")
    if not file.exists():
        raise UnknownError(f"The package {name} has no file {file}.")
    asked = ["dpkg-query", "--show", "--showformat=${Version}\n", name]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]
    return Licence(f"{name} {version} (Debian)", "see below", file.read_text(encoding="utf-8"))


def _own() -> Licence:
    ours = distribution("signalbox-app")
    return Licence(f"Signalbox {ours.version}", "MIT", (ROOT / "LICENSE").read_text())


def _pythons() -> Licence:
    version = ".".join(map(str, sys.version_info[:3]))
    for folder in (sysconfig.get_path("stdlib"), sys.base_prefix):
        for file in Path(folder).glob("LICENSE*"):
            return Licence(f"Python {version}", "PSF-2.0", file.read_text(encoding="utf-8"))
    file = Path(f"/usr/share/doc/python{sys.version_info[0]}.{sys.version_info[1]}/copyright")
    return Licence(f"Python {version}", "PSF-2.0", file.read_text(encoding="utf-8"))


def _datastar() -> Licence:
    told = ROOT / "ui" / "static" / "datastar.LICENSE"
    return Licence("Datastar 1.0.1", "MIT, Apache-2.0", told.read_text(encoding="utf-8"))
