"""Build hook: one name for the wheel, and the pinned Datastar script for the window's page.

A wheel has the parts of the program below `signalbox`; a checkout, as an editable install, has them
beside that folder, where `signalbox/__init__.py` finds them. Why the script comes from a wheel:
docs/adr/006-datastar-js-from-a-wheel.md.
"""

import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WHEEL: Final = (
    "starhtml==0.7.0 --hash=sha256:3515ac3a21f1be7ce3e724b45440ed2be20d3afcdb60f92f6ebbfaec883d3ea2"
)
SCRIPT: Final = "starhtml/static/js/datastar-core.js"
SCRIPT_SHA256: Final = "31c8c9efb895beadeba5f73407c3ca60201dee321c5dea56c182817b475bde9f"
LICENCES: Final = (
    "starhtml-0.7.0.dist-info/licenses/NOTICE",
    "starhtml-0.7.0.dist-info/licenses/LICENSE",
)
MIT: Final = """\
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
"""What the MIT licence says below its copyright line (SPDX: MIT)."""

DATASTAR_LICENCE: Final = f"""\
datastar.js is Datastar 1.0.1 (MIT) as patched and distributed by StarHTML 0.7.0 (Apache-2.0).
Both licences follow.

================================================================================

Copyright © Star Federation

{MIT}
================================================================================

"""


PARTS: Final = ("server", "desktop", "ui")


class Hook(BuildHookInterface[Any]):
    """Runs before a wheel, also an editable one, or a source distribution is built."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        fetch(Path(self.root, "ui", "static"))
        if self.target_name == "wheel" and version != "editable":
            build_data["force_include"].update({part: f"signalbox/{part}" for part in PARTS})


def fetch(folder: Path) -> bool:
    """Make sure that `folder` holds datastar.js and its licence; True where they were fetched.

    Raises RuntimeError where pip cannot fetch the wheel or the script in it is another.
    """
    script, licence = folder / "datastar.js", folder / "datastar.LICENSE"
    if licence.exists() and script.exists() and _is_pinned(script.read_bytes()):
        return False
    with TemporaryDirectory() as scratch, zipfile.ZipFile(_download(Path(scratch))) as wheel:
        content = wheel.read(SCRIPT)
        if not _is_pinned(content):
            raise RuntimeError(f"{SCRIPT} in {WHEEL.split()[0]} has not the pinned sha256.")
        texts = [wheel.read(name).decode() for name in LICENCES]
    script.write_bytes(content)
    licence.write_text(DATASTAR_LICENCE + "\n".join(texts), encoding="utf-8")
    return True


def _is_pinned(content: bytes) -> bool:
    return sha256(content).hexdigest() == SCRIPT_SHA256


def _download(scratch: Path) -> Path:
    """The wheel's path, fetched with pip so that the user's own pip settings count."""
    (scratch / "requirements.txt").write_text(WHEEL + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    # The wheel asks for Python 3.12; only one file of it is read, so any Python will do.
    command += ["--only-binary=:all:", "--python-version=3.12", "--dest", str(scratch)]
    command += ["--requirement", str(scratch / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(
            "Cannot fetch datastar.js: building Signalbox needs a package index once, to download "
            f"{WHEEL.split()[0]}. Go online (or give pip an index) and build again.\n{done.stderr}"
        )
    return next(scratch.glob("*.whl"))
