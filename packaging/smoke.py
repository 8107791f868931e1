"""Does the bundle work where there is nothing but it? `python packaging/smoke.py BUNDLE [PICTURE]`.

On Linux without Python on PATH, with an empty home and no network, from a folder with spaces and
letters beyond ASCII. A file of pytest, which this starts on itself.
"""

import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from desk import Desk, Shown, display, free_port, is_running, page_of, until  # noqa: E402

__all__ = ["display"]

BUNDLE: Final = "SIGNALBOX_BUNDLE"
PICTURE: Final = "SIGNALBOX_PICTURE"
SET_FLAGS, IS_UP = 0x8914, 0x1
ALLOWED: Final = (
    # what may be written below the home: data, cache, log
    r"\.local/share/signalbox(/.*)?|\.cache/.*|\.local/state/signalbox(/.*)?"
)


class Bundled(Desk):
    """The bundle on an otherwise empty computer; its store is where it is unless one says else."""

    def __init__(self, program: Path, home: Path, display: str) -> None:
        super().__init__(home / ".local" / "share" / "signalbox", display)
        home.mkdir()
        (home / "bin").mkdir()
        self.program, self.home, self.port = program, home, free_port()
        self.environ = {
            "HOME": str(home),
            "PATH": str(home / "bin"),
            "LANG": "C.UTF-8",
            "QTWEBENGINE_REMOTE_DEBUGGING": str(self.port),
        }

    def live(self) -> Shown:
        return self.open(self.home)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundle that nobody may write to; the program in it."""
    bundle = Path(os.environ[BUNDLE])
    place = tmp_path_factory.mktemp("a place") / "Größe & 値" / bundle.name
    shutil.copytree(bundle, place, symlinks=True)
    for path in place.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    return place / "signalbox"


@pytest.fixture
def bundled(program: Path, display: str, tmp_path: Path) -> Iterator[Bundled]:
    one = Bundled(program, tmp_path / "home", display)
    yield one
    one.end()


def test_there_is_no_network_and_no_python(bundled: Bundled) -> None:
    with pytest.raises(OSError, match="unreachable"), socket.socket() as probe:
        probe.connect(("192.0.2.1", 80))  # RFC 5737: nobody's
    assert shutil.which("python3", path=bundled.environ["PATH"]) is None


def test_a_command_appears_in_the_window_and_quitting_leaves_only_data(bundled: Bundled) -> None:
    before = everything(bundled.program.parent)
    shown = bundled.live()
    with page_of(bundled.port) as page:
        bundled.command("set", "hello", "world")
        row = page.locator("[role=row]", has_text="hello")
        row.wait_for()
        assert "world" in row.inner_text()
    assert oct(bundled.data_dir.stat().st_mode)[-3:] == "700"
    assert shown.close() == 0
    until(lambda: not bundled.servers(), "the server has gone")
    assert not (bundled.data_dir / "endpoint.json").exists()
    assert bundled.command("get", "hello") == "world\n"
    assert everything(bundled.program.parent) == before
    assert not [name for name in names(bundled.home) if not re.fullmatch(ALLOWED, name)]


def test_it_is_there_again_after_a_new_start_and_a_second_one_raises_it(bundled: Bundled) -> None:
    bundled.command("set", "kept", "1")
    first = bundled.live()
    second = bundled.start(bundled.home)
    assert second.wait(20) == 0
    until(lambda: first.is_on_top() or None, "the first window is on top")
    with page_of(bundled.port) as page:
        page.locator("[role=row]", has_text="kept").wait_for()
    assert first.close() == 0


def test_a_killed_window_leaves_no_process(bundled: Bundled) -> None:
    shown = bundled.live()
    processes = [*shown.processes(), *bundled.servers()]
    shown.process.send_signal(signal.SIGKILL)
    until(lambda: not any(map(is_running, processes)) or None, "all of them have gone")
    assert len(processes) > 2


def test_a_killed_server_comes_back(bundled: Bundled) -> None:
    shown = bundled.live()
    bundled.command("set", "before", "1")
    killed = bundled.endpoint()["pid"]
    psutil.Process(killed).kill()
    until(lambda: bundled.endpoint()["pid"] != killed or None, "another server runs")
    bundled.await_streams()
    with page_of(bundled.port) as page:
        bundled.command("set", "after", "2")
        for key in ("before", "after"):
            page.locator("[role=row]", has_text=key).wait_for()
    assert shown.close() == 0


def test_an_older_store_is_taken_over_with_its_data(bundled: Bundled) -> None:
    from older import make_store

    bundled.data_dir.mkdir(parents=True)
    expected = make_store(bundled.data_dir / "signalbox.db")
    shown = bundled.live()
    with page_of(bundled.port) as page:
        for key in expected:
            page.locator("[role=row]", has_text=key).first.wait_for()
    assert shown.close() == 0
    assert bundled.command("ls").splitlines() == [
        f"{key}\t{text}" for key, text in expected.items()
    ]
    assert bundled.command("verify").startswith("The store is sound")


def test_a_folder_beside_it_makes_it_portable(bundled: Bundled, tmp_path: Path) -> None:
    bundled.data_dir = tmp_path / "Stick ü" / "data"
    bundled.command("set", "a", "1")
    assert (bundled.data_dir / "signalbox.db").exists()
    assert not list(bundled.home.glob(".local/share/*"))


def everything(folder: Path) -> dict[str, Any]:
    """Names with sizes and times of change, to see that nobody has written."""
    found = {}
    for path in folder.rglob("*"):
        about = path.lstat()
        found[str(path)] = about.st_size, about.st_mtime_ns
    return found


def names(folder: Path) -> list[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [str(path) for path in files]


def main() -> int:
    bundle = Path(sys.argv[1]).resolve()
    if "apart" not in sys.argv:
        root = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = ["unshare", "--net", *root, sys.executable, __file__, str(bundle), "apart"]
        return subprocess.run(command, check=False).returncode
    _raise_loopback()
    os.environ[BUNDLE] = str(bundle)
    return int(pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), __file__]))


def _raise_loopback() -> None:
    """The one network that there is; a new namespace has it, but down (netdevice(7))."""
    with socket.socket() as probe:
        fcntl.ioctl(probe, SET_FLAGS, struct.pack("16sh22x", b"lo", IS_UP))


if __name__ == "__main__":
    sys.exit(main())
