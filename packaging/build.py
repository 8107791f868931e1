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

import app_metadata
import archives
import debian_package
import icon

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
BUILD: Final = ROOT / "build"
DIST: Final = ROOT / "dist"
MEGABYTE: Final = 1_000_000
BUDGETS: Final = {"linux": {"unpacked": 410 * MEGABYTE, "packed": 145 * MEGABYTE}}


def main() -> int:
    """The exit status."""
    options = _parse_options()
    for folder in (BUILD, DIST):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    _make_inputs()
    bundle = _build_bundle()
    sizes = {"unpacked": _report_sizes(bundle)}
    if not options.bundle:
        files = list(_make_downloads(bundle))
        sizes["packed"] = files[0].stat().st_size
        for file in files:
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size / MEGABYTE:.1f} MB")
    if excess := _over_budget(sizes):
        print(f"Too large: {excess}.", file=sys.stderr)
        return 1
    return 0 if options.bundle else _run_smoke_test(bundle)


def _parse_options() -> argparse.Namespace:
    """The options of a build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", action="store_true", help="no archives, no smoke test")
    return parser.parse_args()


def _make_inputs() -> None:
    """Make what the spec reads from `build/`."""
    icon.write_ico(BUILD / app_metadata.ICONS["win32"])
    icon.write_icns(BUILD / app_metadata.ICONS["darwin"])
    (BUILD / "version.txt").write_text(app_metadata.windows_version_file(), encoding="utf-8")
    site = BUILD / "site"
    shutil.rmtree(site, ignore_errors=True)
    pip = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", *pip, str(ROOT)], check=True)


def _build_bundle() -> Path:
    """Have PyInstaller make the bundle, and remove what it need not have."""
    options = ["--noconfirm", "--distpath", str(DIST), "--workpath", str(BUILD)]
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "WARN", *options]
    subprocess.run([*command, str(HERE / "signalbox.spec")], cwd=ROOT, check=True)
    if sys.platform == "darwin":
        return DIST / f"{app_metadata.TITLE}.app"
    bundle = DIST / app_metadata.NAME
    if sys.platform == "linux":
        for library in bundle.glob("_internal/libpython*"):
            # Debugging symbols, three quarters of it; what wheels bring is stripped already.
            subprocess.run(["strip", "--strip-unneeded", str(library)], check=True)
        # The web engine would create it at its start, which it may not where that is read-only.
        (bundle / "_internal" / "PySide6" / "Qt" / "resources" / "locales").mkdir(exist_ok=True)
    return bundle


def _report_sizes(bundle: Path) -> int:
    """Print the largest files; the sum of all in bytes."""
    files = [path for path in bundle.rglob("*") if path.is_file() and not path.is_symlink()]
    sizes = sorted(((path.stat().st_size, path) for path in files), reverse=True)
    total = sum(size for size, _ in sizes)
    print(f"{bundle.relative_to(ROOT)}: {total / MEGABYTE:.1f} MB in {len(files)} files")
    for size, path in sizes[:10]:
        print(f"  {size / MEGABYTE:6.1f} MB  {path.relative_to(bundle)}")
    return total


def _make_downloads(bundle: Path) -> Iterator[Path]:
    """The files that people download; the budget is for the first."""
    name = f"{app_metadata.NAME}-{app_metadata.version()}-{_platform_name()}"
    if sys.platform == "linux":
        yield archives.make_tar_xz(
            bundle, debian_package.make_share_folder(BUILD / "share"), DIST / f"{name}.tar.xz"
        )
        yield debian_package.build_package(bundle, BUILD / "share", DIST)
    elif sys.platform == "darwin":
        yield archives.make_dmg(bundle, DIST / f"{name}.dmg")
    else:
        yield archives.make_zip(bundle, DIST / f"{name}.zip")


def _platform_name() -> str:
    """System and machine in the names of archives, such as `linux-x86_64`."""
    return f"{ {'darwin': 'macos', 'win32': 'windows'}.get(sys.platform, sys.platform) }-" + (
        platform.machine().lower()
    )


def _over_budget(sizes: dict[str, int]) -> str:
    """Which of the sizes is larger than allowed on this system; empty where none is."""
    budget = BUDGETS.get(sys.platform, {})
    return ", ".join(
        f"{size / MEGABYTE:.1f} MB {what}, allowed {budget[what] / MEGABYTE:.0f}"
        for what, size in sizes.items()
        if size > budget.get(what, size)
    )


def _run_smoke_test(bundle: Path) -> int:
    """Try the bundle where there is nothing but it; the exit status."""
    command = [sys.executable, str(HERE / "smoke.py"), str(bundle)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
