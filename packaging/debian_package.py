"""The Debian package, and what Linux uses of any program: menu entry, icons, completion, manual."""

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import app_metadata
import elf_libraries
import icon
import man_page
from signalbox.desktop.completion_scripts import SCRIPTS

MENU_ENTRY: Final = f"""\
[Desktop Entry]
Type=Application
Name={app_metadata.TITLE}
GenericName=Live keys
Comment={{summary}}
Exec={app_metadata.NAME}
Icon={app_metadata.NAME}
Terminal=false
Categories=Development;
Keywords=key;value;state;log;events;
StartupWMClass={app_metadata.NAME}
StartupNotify=true
"""
IMPORT_ENTRY: Final = f"""\
[Desktop Entry]
Type=Application
Name=Import into {app_metadata.TITLE}
Exec={app_metadata.NAME} import %f
Icon={app_metadata.NAME}
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
Package: {app_metadata.NAME}
Version: {{version}}
Architecture: {{architecture}}
Maintainer: {app_metadata.TITLE} <maintainers@signalbox.invalid>
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
COMPLETIONS: Final = {
    "bash": f"bash-completion/completions/{app_metadata.NAME}",
    "zsh": f"zsh/vendor-completions/_{app_metadata.NAME}",
    "fish": f"fish/vendor_completions.d/{app_metadata.NAME}.fish",
}
"""Where in `share` each shell looks for the completion of programs."""
INSTALL_PATH: Final = Path("usr", "lib", app_metadata.NAME)


def make_share_folder(folder: Path) -> Path:
    """Make a `share` folder: menu entry, icons, MIME type, completion of shells, manual page."""
    for name, text in (
        (
            f"applications/{app_metadata.NAME}.desktop",
            MENU_ENTRY.format(summary=app_metadata.summary()),
        ),
        (f"applications/{app_metadata.NAME}-import.desktop", IMPORT_ENTRY),
        (f"mime/packages/{app_metadata.NAME}.xml", MIME),
        (f"icons/hicolor/scalable/apps/{app_metadata.NAME}.svg", icon.DRAWING.read_text()),
    ):
        _write(folder / name, text.encode())
    for shell, name in COMPLETIONS.items():
        _write(folder / name, SCRIPTS[shell].encode())
    page = gzip.compress(man_page.man_page().encode(), mtime=0)
    _write(folder / f"man/man1/{app_metadata.NAME}.1.gz", page)
    for size in icon.SIZES:
        name = f"icons/hicolor/{size}x{size}/apps/{app_metadata.NAME}.png"
        _write(folder / name, icon.render_png(size))
    return folder


def build_package(bundle: Path, shared: Path, dist: Path) -> Path:
    """Build the .deb with dpkg-deb from the bundle and the folder of `make_share_folder`."""
    tree = shared.parent / "debian"
    shutil.rmtree(tree, ignore_errors=True)
    shutil.copytree(bundle, tree / INSTALL_PATH, symlinks=True)
    shutil.copytree(shared, tree / "usr" / "share")
    (tree / "usr" / "bin").mkdir()
    (tree / "usr" / "bin" / app_metadata.NAME).symlink_to(
        Path("..", "lib", *INSTALL_PATH.parts[2:], bundle.name)
    )
    doc = tree / "usr" / "share" / "doc" / app_metadata.NAME
    _write(doc / "copyright", (bundle / "_internal/signalbox/ui/static/licences.txt").read_bytes())
    changes = (app_metadata.ROOT / "CHANGELOG.md").read_bytes()
    _write(doc / "changelog.gz", gzip.compress(changes, mtime=0))
    _write(tree / "DEBIAN" / "control", _control(tree, bundle).encode())
    for path in tree.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    file = dist / f"{app_metadata.NAME}_{app_metadata.version()}_{_architecture()}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return file


def _control(tree: Path, bundle: Path) -> str:
    """The package's `control` file, with its size and the packages that it depends on."""
    sizes = (path.lstat().st_size for path in tree.rglob("*") if not path.is_dir())
    return CONTROL.format(
        version=app_metadata.version(),
        architecture=_architecture(),
        kilobytes=sum(sizes) // 1024,
        depends=", ".join(sorted(set(_depends(bundle)))),
        summary=app_metadata.summary(),
    )


def _depends(bundle: Path) -> Iterator[str]:
    """The packages of the libraries that the bundle takes from the system."""
    # The dialogs of GNOME are optional.
    files = [
        path
        for path in bundle.rglob("*")
        if elf_libraries.is_elf_file(path) and path.name != "libqgtk3.so"
    ]
    own = {path.name for path in bundle.rglob("*")}
    yield f"libc6 (>= {elf_libraries.newest_glibc(files)})"
    for library in {
        name for file in files for name in elf_libraries.needed_libraries(str(file))
    } - own:
        if not re.match(r"(ld-linux|lib(c|m|dl|rt|pthread|util|resolv)\.so)", library):
            yield _package_of(library)


def _package_of(library: str) -> str:
    """The Debian package that has a library. Raises `LookupError`."""
    path = _library_paths().get(library)
    if path is None:
        raise LookupError(f"{library}, which the bundle needs, is not installed here.")
    for name in (path, path.removeprefix("/usr"), f"/usr{path}"):
        done = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.partition(":")[0]
    raise LookupError(f"No package has {path}.")


@cache
def _library_paths() -> dict[str, str]:
    """From the name of each library to its path, as the loader of this machine finds it."""
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    lines = (line.split() for line in listed.stdout.splitlines()[1:] if "=>" in line)
    return {line[0]: line[-1] for line in lines}


def _architecture() -> str:
    """The machine of this system, as Debian names it."""
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _write(path: Path, content: bytes) -> None:
    """Write a file of the package, and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
