"""From the tree to `dist/`: the bundle, what people download, and a smoke test of it.

`python packaging/build.py`; with `--bundle` the bundle alone.
"""

import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import archives
import debian
import icon
import identity

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
MADE: Final = ROOT / "build"
DIST: Final = ROOT / "dist"
MEGABYTE: Final = 1_000_000
BUDGETS: Final = {"linux": {"unpacked": 400 * MEGABYTE, "packed": 145 * MEGABYTE}}


def main() -> int:
    """The exit status."""
    asked = _asked()
    for folder in (MADE, DIST):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    _make_parts()
    bundle = _bundle()
    sizes = {"unpacked": _report(bundle)}
    if not asked.bundle:
        files = list(_pack(bundle))
        sizes["packed"] = files[0].stat().st_size
        for file in files:
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size / MEGABYTE:.1f} MB")
    if over := _over(sizes):
        print(f"Too large: {over}.", file=sys.stderr)
        return 1
    return 0 if asked.bundle else _smoke(bundle)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", action="store_true", help="no archives, no smoke test")
    return parser.parse_args()


def _make_parts() -> None:
    """What the spec takes from `build/`."""
    icon.ico(MADE / identity.ICONS["win32"])
    icon.icns(MADE / identity.ICONS["darwin"])
    (MADE / "version.txt").write_text(identity.version_file(), encoding="utf-8")
    site = MADE / "site"
    shutil.rmtree(site, ignore_errors=True)
    installing = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", *installing, str(ROOT)], check=True)


def _bundle() -> Path:
    options = ["--noconfirm", "--distpath", str(DIST), "--workpath", str(MADE)]
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "WARN", *options]
    subprocess.run([*command, str(HERE / "signalbox.spec")], cwd=ROOT, check=True)
    if sys.platform == "darwin":
        return DIST / f"{identity.TITLE}.app"
    bundle = DIST / identity.NAME
    if sys.platform == "linux":
        for library in bundle.glob("_internal/libpython*"):
            # Debugging symbols, three quarters of it; what wheels bring is stripped already.
            subprocess.run(["strip", "--strip-unneeded", str(library)], check=True)
        # The web engine would make it at its start, where it may.
        (bundle / "_internal" / "PySide6" / "Qt" / "resources" / "locales").mkdir(exist_ok=True)
    return bundle


def _report(bundle: Path) -> int:
    """Print what is large; the sum in bytes."""
    files = [path for path in bundle.rglob("*") if path.is_file() and not path.is_symlink()]
    sizes = sorted(((path.stat().st_size, path) for path in files), reverse=True)
    total = sum(size for size, _ in sizes)
    print(f"{bundle.relative_to(ROOT)}: {total / MEGABYTE:.1f} MB in {len(files)} files")
    for size, path in sizes[:10]:
        print(f"  {size / MEGABYTE:6.1f} MB  {path.relative_to(bundle)}")
    return total


def _pack(bundle: Path) -> Iterator[Path]:
    """What people download; the first is what the budget is about."""
    name = f"{identity.NAME}-{identity.version()}-{_system()}"
    if sys.platform == "linux":
        yield archives.tar_xz(bundle, debian.share(MADE / "share"), DIST / f"{name}.tar.xz")
        yield debian.package(bundle, MADE / "share", DIST)
    elif sys.platform == "darwin":
        yield archives.dmg(bundle, DIST / f"{name}.dmg")
    else:
        yield archives.zipped(bundle, DIST / f"{name}.zip")


def _system() -> str:
    return f"{ {'darwin': 'macos', 'win32': 'windows'}.get(sys.platform, sys.platform) }-" + (
        platform.machine().lower()
    )


def _over(sizes: dict[str, int]) -> str:
    budget = BUDGETS.get(sys.platform, {})
    return ", ".join(
        f"{size / MEGABYTE:.1f} MB {what}, allowed {budget[what] / MEGABYTE:.0f}"
        for what, size in sizes.items()
        if size > budget.get(what, size)
    )


def _smoke(bundle: Path) -> int:
    command = [sys.executable, str(HERE / "smoke.py"), str(bundle)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
