"""The Debian package, and what it has in common with any desktop of Linux."""

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import elf
import icon
import identity

ENTRY: Final = f"""\
[Desktop Entry]
Type=Application
Name={identity.TITLE}
GenericName=Live keys
Comment={{summary}}
Exec={identity.NAME}
Icon={identity.NAME}
Terminal=false
Categories=Development;
Keywords=key;value;state;log;events;
StartupWMClass={identity.NAME}
StartupNotify=true
"""
IMPORT_ENTRY: Final = f"""\
[Desktop Entry]
Type=Application
Name=Import into {identity.TITLE}
Exec={identity.NAME} import %f
Icon={identity.NAME}
Terminal=true
NoDisplay=true
MimeType=application/x-ndjson;
"""
MIME: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="application/x-ndjson">
    <comment>JSON, one value a line</comment>
    <glob pattern="*.ndjson"/>
  </mime-type>
</mime-info>
"""
CONTROL: Final = f"""\
Package: {identity.NAME}
Version: {{version}}
Architecture: {{architecture}}
Maintainer: {identity.TITLE} <maintainers@signalbox.invalid>
Installed-Size: {{kilobytes}}
Depends: {{depends}}
Recommends: libgtk-3-0
Section: utils
Priority: optional
Description: {{summary}}
 People in a window and their scripts steer one flat set of keys. Every write is
 a command with an acknowledgement, every read a query or a stream, and every
 change stays in an event log that can be looked at, undone and replayed.
"""
WITHIN: Final = Path("usr", "lib", identity.NAME)


def share(folder: Path) -> Path:
    """Make what goes below a `share` folder: menu entry, icons, MIME type."""
    for name, text in (
        (f"applications/{identity.NAME}.desktop", ENTRY.format(summary=identity.summary())),
        (f"applications/{identity.NAME}-import.desktop", IMPORT_ENTRY),
        (f"mime/packages/{identity.NAME}.xml", MIME),
        (f"icons/hicolor/scalable/apps/{identity.NAME}.svg", icon.DRAWING.read_text()),
    ):
        _write(folder / name, text.encode())
    for size in icon.SIZES:
        name = f"icons/hicolor/{size}x{size}/apps/{identity.NAME}.png"
        _write(folder / name, icon.png(size))
    return folder


def package(bundle: Path, shared: Path, dist: Path) -> Path:
    """Build it with dpkg-deb from the bundle and what `share` made."""
    tree = shared.parent / "debian"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(bundle, tree / WITHIN, symlinks=True)
    shutil.copytree(shared, tree / "usr" / "share")
    (tree / "usr" / "bin").mkdir()
    (tree / "usr" / "bin" / identity.NAME).symlink_to(
        Path("..", "lib", *WITHIN.parts[2:], bundle.name)
    )
    told = tree / "usr" / "share" / "doc" / identity.NAME
    _write(told / "copyright", (bundle / "_internal/signalbox/ui/static/licences.txt").read_bytes())
    changes = (identity.ROOT / "CHANGELOG.md").read_bytes()
    _write(told / "changelog.gz", gzip.compress(changes, mtime=0))
    _write(tree / "DEBIAN" / "control", _control(tree, bundle).encode())
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    file = dist / f"{identity.NAME}_{identity.version()}_{_architecture()}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return file


def _control(tree: Path, bundle: Path) -> str:
    sizes = (path.lstat().st_size for path in tree.rglob("*") if not path.is_dir())
    return CONTROL.format(
        version=identity.version(),
        architecture=_architecture(),
        kilobytes=sum(sizes) // 1024,
        depends=", ".join(sorted(set(_depends(bundle)))),
        summary=identity.summary(),
    )


def _depends(bundle: Path) -> Iterator[str]:
    """The packages of the libraries that the bundle leaves to the system."""
    # The dialogs of GNOME are loaded where they are there.
    files = [path for path in bundle.rglob("*") if elf.is_one(path) and path.name != "libqgtk3.so"]
    own = {path.name for path in bundle.rglob("*")}
    yield f"libc6 (>= {elf.newest_glibc(files)})"
    for library in {name for file in files for name in elf.needed(str(file))} - own:
        if not re.match(r"(ld-linux|lib(c|m|dl|rt|pthread|util|resolv)\.so)", library):
            yield _package(library)


def _package(library: str) -> str:
    path = _places().get(library)
    if path is None:
        raise LookupError(f"{library}, which the bundle needs, is not installed here.")
    for name in (path, path.removeprefix("/usr"), f"/usr{path}"):
        done = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.partition(":")[0]
    raise LookupError(f"No package has {path}.")


@cache
def _places() -> dict[str, str]:
    """Where the loader of this machine finds each library."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    lines = (line.split() for line in listed.stdout.splitlines()[1:] if "=>" in line)
    return {line[0]: line[-1] for line in lines}


def _architecture() -> str:
    asked = ["dpkg", "--print-architecture"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
