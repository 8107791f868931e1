"""The libraries that ELF files (programs and libraries of Linux) are linked with."""

import re
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

NEEDED: Final = re.compile(r"^\s+NEEDED\s+(\S+)$", re.MULTILINE)
GLIBC: Final = re.compile(r"\bGLIBC_(\d+)\.(\d+)")
MAGIC: Final = b"\x7fELF"


def needed_libraries(path: str) -> frozenset[str]:
    """The names of the libraries that one file is linked with (System V ABI, DT_NEEDED)."""
    return frozenset(NEEDED.findall(_headers(path)))


def newest_glibc(files: Iterable[Path]) -> str:
    """The lowest version of the C library that has every symbol which these ELF files use."""
    versions = [
        tuple(map(int, version)) for file in files for version in GLIBC.findall(_headers(str(file)))
    ]
    return ".".join(map(str, max(versions)))


def is_elf_file(path: Path) -> bool:
    """Whether it is an ELF file, and no link to one."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


@cache
def _headers(path: str) -> str:
    """What `objdump` reads of an ELF file: among others the libraries it is linked with."""
    command = ["objdump", "-p", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
