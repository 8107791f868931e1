"""The licences of everything that is bundled, as one text; an unknown part is refused."""

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

import licence_texts

ROOT: Final = Path(__file__).resolve().parent.parent
QT: Final = "LGPL-3.0-only OR GPL-2.0-only OR GPL-3.0-only"
KNOWN_LICENCES: Final = {
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
    "httptools": "MIT",
    "jinja2": "BSD License",
    "jiter": "MIT",
    "jsonschema-rs": "MIT",
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

LICENCE_FILES: Final = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|AUTHORS)", re.IGNORECASE)


class UnknownError(Exception):
    """Something would be bundled whose licence is not known."""


class Licence(NamedTuple):
    """The licence of one part: name and version of the part, what it declares, and the text."""

    part: str
    declared: str
    text: str


def gather(sources: Iterable[str]) -> list[Licence]:
    """The licences of the parts that these files come from, the program's own first.

    Raises `UnknownError` for a file of no known distribution or package.
    """
    owners = _owners()
    named, packages = {"pyinstaller"}, set[str]()
    for source in {Path(source).resolve() for source in sources}:
        if _is_own_file(source) or _is_file_of_python(source):
            continue
        if str(source) in owners:
            named.add(owners[str(source)])
        else:
            packages.add(_debian_package(source))
    named.discard("signalbox-app")
    others = [_distribution_licence(distribution(name)) for name in sorted(named)]
    others += [_package_licence(name) for name in sorted(packages)]
    return [_own_licence(), _python_licence(), _datastar_licence(), *others]


def format_licences(licences: Iterable[Licence]) -> str:
    """All of them as one text for people: a list, then each licence."""
    licences = list(licences)
    listed = "\n".join(f"{licence.part}: {licence.declared}" for licence in licences)
    texts = [
        f"{'=' * 80}\n{licence.part}\n{'=' * 80}\n\n{licence.text.strip()}\n"
        for licence in licences
    ]
    return f"Signalbox is made of these parts.\n\n{listed}\n\n" + "\n".join(texts)


@cache
def _owners() -> dict[str, str]:
    """From each file that is no link to the distribution that has installed it."""
    return {
        os.path.normpath(f"{folder}/{file}"): normalized(dist.name)
        for dist in distributions()
        for folder in [Path(str(dist.locate_file(""))).resolve()]
        for file in dist.files or ()
    }


def _is_own_file(source: Path) -> bool:
    """Whether a bundled file is of this repository: its licence is ours."""
    return source.is_relative_to(ROOT) and ".venv" not in source.relative_to(ROOT).parts


def _is_file_of_python(source: Path) -> bool:
    """Whether a bundled file belongs to a Python that no package manager has installed."""
    base = Path(sys.base_prefix).resolve()
    return source.is_relative_to(base) and base != Path("/usr")


def normalized(name: str) -> str:
    """A distribution's name, as it is compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution_licence(dist: Distribution) -> Licence:
    """The licence of a bundled distribution. Raises `UnknownError` for one that is not listed."""
    name = normalized(dist.name)
    part, declared = f"{dist.name} {dist.version}", _declared_licence(dist)
    if KNOWN_LICENCES.get(name) != declared:
        raise UnknownError(
            f"{part} declares {declared!r}; licences.py has {KNOWN_LICENCES.get(name)!r} of {name}."
        )
    if declared == QT:
        return Licence(part, "LGPL-3.0-only", licence_texts.qt_licence(dist.name))
    return Licence(part, declared, "\n\n".join(_licence_texts(dist)))


def _declared_licence(dist: Distribution) -> str:
    """What the metadata declare: an expression, a short text, or else a classifier."""
    short = _metadata_field(dist, "License-Expression") or _metadata_field(dist, "License")
    if short and "\n" not in short:
        return short
    classifiers = dist.metadata.get_all("Classifier") or ()
    licences = [classifier for classifier in classifiers if classifier.startswith("License ::")]
    return licences[-1].rpartition(":: ")[2] if licences else ""


def _metadata_field(dist: Distribution, field: str) -> str:
    """A field of a distribution's metadata; empty where it is missing."""
    metadata: Message = dist.metadata  # type: ignore[assignment]  # as PackageMetadata documents
    return str(metadata.get(field, ""))


def _licence_texts(dist: Distribution) -> Iterator[str]:
    """The licence files of a wheel; where it has none, the MIT licence in its author's name."""
    files = [file for file in dist.files or () if ".dist-info" in str(file)]
    licence_files = [file for file in files if LICENCE_FILES.search(file.name)]
    for file in licence_files:
        yield Path(str(dist.locate_file(file))).read_text(encoding="utf-8", errors="replace")
    if not licence_files:
        author = _metadata_field(dist, "Author") or _metadata_field(dist, "Author-email")
        yield licence_texts.mit_licence(author or dist.name)


def _debian_package(source: Path) -> str:
    """The Debian package that has installed a library of the system."""
    for path in (source, Path("/", *source.parts[2:])):  # /lib may be a link to /usr/lib
        done = subprocess.run(
            ["dpkg", "-S", str(path)], capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return done.stdout.partition(":")[0]
    raise UnknownError(f"{source} would be bundled, and is of no known package.")


def _package_licence(name: str) -> Licence:
    """The licence of a Debian package whose libraries are bundled."""
    file = Path("/usr/share/doc", name, "copyright")
    if not file.exists():
        raise UnknownError(f"The package {name} has no file {file}.")
    command = ["dpkg-query", "--show", "--showformat=${Version}\n", name]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    return Licence(f"{name} {version} (Debian)", "see below", file.read_text(encoding="utf-8"))


def _own_licence() -> Licence:
    """The licence of Signalbox."""
    ours = distribution("signalbox-app")
    return Licence(f"Signalbox {ours.version}", "MIT", (ROOT / "LICENSE").read_text())


def _python_licence() -> Licence:
    """The licence of the Python that is bundled."""
    version = ".".join(map(str, sys.version_info[:3]))
    for folder in (sysconfig.get_path("stdlib"), sys.base_prefix):
        for file in Path(folder).glob("LICENSE*"):
            return Licence(f"Python {version}", "PSF-2.0", file.read_text(encoding="utf-8"))
    file = Path(f"/usr/share/doc/python{sys.version_info[0]}.{sys.version_info[1]}/copyright")
    return Licence(f"Python {version}", "PSF-2.0", file.read_text(encoding="utf-8"))


def _datastar_licence() -> Licence:
    """The licences of Datastar."""
    file = ROOT / "ui" / "static" / "datastar.LICENSE"
    return Licence("Datastar 1.0.1", "MIT, Apache-2.0", file.read_text(encoding="utf-8"))
