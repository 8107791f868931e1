"""What programs and libraries of Linux want of others (System V ABI, dynamic linking)."""

import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

NEEDED: Final = re.compile(r"^\s+NEEDED\s+(\S+)$", re.MULTILINE)
GLIBC: Final = re.compile(r"\bGLIBC_(\d+)\.(\d+)")
MAGIC: Final = b"\x7fELF"


def needed(path: str) -> frozenset[str]:
    """The names of the libraries that one file asks the loader for."""
    return frozenset(NEEDED.findall(_headers(path)))


def newest_glibc(files: Iterable[Path]) -> str:
    """The version of the C library that has all that they ask of it."""
    found = [tuple(map(int, each)) for file in files for each in GLIBC.findall(_headers(str(file)))]
    return ".".join(map(str, max(found)))


def is_one(path: Path) -> bool:
    """Whether it is such a file, and no link to one."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@cache
def _headers(path: str) -> str:
    asked = ["objdump", "-p", path]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout
