"""Does the bundle work where there is nothing but it? `python packaging/smoke.py BUNDLE`.

With an empty home, no Python on PATH, and from a read-only folder with spaces and letters beyond
ASCII; on Linux without any network. A file of pytest, which this starts on itself.

The page is read through the web engine's own debugging port. macOS has none: there it is seen only
that the page is live.
"""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import example  # noqa: E402
from support.desktop_window import (  # noqa: E402
    DesktopApp,
    ShownWindow,
    is_running,
    page_of,
    until,
    virtual_screen,
)
from support.first_schema_store import make_store  # noqa: E402
from support.ports import free_port  # noqa: E402

BUNDLE: Final = "SIGNALBOX_BUNDLE"
LINUX: Final = sys.platform == "linux"
SET_FLAGS, IS_UP = 0x8914, 0x1
WRITTEN: Final = r"\.local/share/signalbox(/.*)?|\.cache/.*|\.local/state/signalbox(/.*)?"
"""What may be written below the home on Linux: data, cache, log."""
KEPT: Final = ("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "TEMP", "TMP", "COMSPEC", "PROGRAMFILES(X86)")
"""What no program on Windows starts without."""


class Bundled(DesktopApp):
    """The bundle on an otherwise empty computer, with its store where it is by default."""

    def __init__(self, program: Path, home: Path, display: str) -> None:
        super().__init__(home / ".local" / "share" / "signalbox", display)
        (home / "bin").mkdir(parents=True)
        self.program, self.home, self.port = program, home, free_port()
        self.log = home.with_name("stderr")
        self.environ = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            **{name: str(home) for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "APPDATA")},
            "PATH": str(home / "bin"),
            "LANG": "C.UTF-8",
            "QTWEBENGINE_REMOTE_DEBUGGING": str(self.port),
            "WEBVIEW2_ADDITIONAL_BROWSER_ARGUMENTS": f"--remote-debugging-port={self.port}",
        }

    @property
    def console(self) -> Path:
        """The bundle's program for the command line."""
        on_windows = self.program.with_name("signalbox-cli.exe")
        return on_windows if sys.platform == "win32" else self.program

    def command(self, *arguments: str) -> str:
        """Run a subcommand of the bundle; what it prints."""
        return subprocess.run(
            [self.console, "--data-dir", self.data_dir, *arguments],
            env=self.environ,
            check=True,
            capture_output=True,
            encoding="utf-8",
            timeout=30,
        ).stdout

    @contextmanager
    def live(self) -> Iterator[subprocess.Popen[str]]:
        """The bundle's window, connected; it must end well, unless it has been killed."""
        process = self.start(self.home)
        self.await_streams()
        yield process
        if process.poll() is None:
            self.quit(process)
            assert process.wait(20) == 0

    def quit(self, process: subprocess.Popen[str]) -> None:
        """Close the bundle's window as a person does."""
        if LINUX:
            ShownWindow(self, process).close()
        elif sys.platform == "win32":
            subprocess.run(["taskkill", "/PID", str(process.pid)], check=True)
        else:
            process.terminate()

    def await_row(self, key: str, text: str = "") -> None:
        """Wait until the bundled window's page shows the key, with this text in its row."""
        if sys.platform == "darwin":
            return
        with page_of(self.port) as page:
            page.locator("[role=row]", has_text=key).filter(has_text=text).first.wait_for()


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    """A virtual screen for the bundled window; none is needed but on Linux."""
    if not LINUX:
        yield ""
        return
    with virtual_screen() as name:
        yield name


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundle that nobody may write to; the program in it."""
    bundle = Path(os.environ[BUNDLE])
    folder = tmp_path_factory.mktemp("a place") / "Größe & 値" / bundle.name
    shutil.copytree(bundle, folder, symlinks=True)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)
    if sys.platform == "darwin":
        return folder / "Contents" / "MacOS" / "signalbox"
    return folder / ("signalbox.exe" if sys.platform == "win32" else "signalbox")


@pytest.fixture
def bundled(program: Path, display: str, tmp_path: Path) -> Iterator[Bundled]:
    """The bundle with a home directory of its own."""
    bundle = Bundled(program, tmp_path / "home", display)
    yield bundle
    bundle.end()


@pytest.mark.skipif(not LINUX, reason="only Linux can take the network away from a process")
def test_there_is_no_network(bundled: Bundled) -> None:
    with pytest.raises(OSError, match="unreachable"), socket.socket() as probe:
        probe.connect(("192.0.2.1", 80))  # RFC 5737: nobody's
    assert shutil.which("python3", path=bundled.environ["PATH"]) is None


def test_a_command_appears_in_the_window_and_quitting_leaves_only_data(bundled: Bundled) -> None:
    before = everything(bundled.program.parent)
    with bundled.live():
        bundled.command("set", "hello", "wörld")
        bundled.await_row("hello", "wörld")
    until(lambda: not bundled.servers(), "the server has gone")
    assert not (bundled.data_dir / "endpoint.json").exists()
    assert bundled.command("get", "hello") == "wörld\n"
    assert everything(bundled.program.parent) == before
    if LINUX:
        assert oct(bundled.data_dir.stat().st_mode)[-3:] == "700"
        assert not [name for name in names(bundled.home) if not re.fullmatch(WRITTEN, name)]


def test_it_is_there_again_after_a_new_start_and_a_second_one_raises_it(bundled: Bundled) -> None:
    bundled.command("set", "kept", "1")
    with bundled.live() as first:
        assert bundled.start(bundled.home).wait(20) == 0
        if LINUX:
            until(
                lambda: ShownWindow(bundled, first).is_on_top() or None,
                "the first window is on top",
            )
        bundled.await_row("kept")


def test_a_killed_window_leaves_no_process(bundled: Bundled) -> None:
    with bundled.live() as process:
        own = psutil.Process(process.pid)
        processes = [own, *own.children(recursive=True), *bundled.servers()]
        process.kill()
        until(lambda: not any(map(is_running, processes)) or None, "all of them have gone")
        assert len(processes) > 1


def test_a_killed_server_comes_back(bundled: Bundled) -> None:
    with bundled.live():
        bundled.command("set", "before", "1")
        killed = bundled.endpoint()["pid"]
        os.kill(killed, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        until(lambda: bundled.endpoint()["pid"] != killed or None, "another server runs")
        bundled.await_streams()
        bundled.command("set", "after", "2")
        bundled.await_row("before")
        bundled.await_row("after")


def test_an_older_store_is_taken_over_with_its_data(bundled: Bundled) -> None:
    bundled.data_dir.mkdir(parents=True)
    expected = make_store(bundled.data_dir / "signalbox.db")
    with bundled.live():
        for key in expected:
            bundled.await_row(key)
    listed = bundled.command("ls").splitlines()
    assert listed == [f"{key}\t{text}" for key, text in expected.items()]
    assert bundled.command("verify").startswith("sound: revision 6, ")


def test_a_data_directory_of_its_own_makes_it_portable(bundled: Bundled, tmp_path: Path) -> None:
    bundled.data_dir = tmp_path / "Stick ü" / "data"
    bundled.command("set", "a", "1")
    assert (bundled.data_dir / "signalbox.db").exists()
    assert not [name for name in names(bundled.home) if "signalbox" in name]


@pytest.mark.parametrize("address", ["nats://127.0.0.1:1/none", "redis://127.0.0.1:1"])
def test_the_clients_of_the_engines_are_there(bundled: Bundled, address: str) -> None:
    done = subprocess.run(
        [bundled.console, "serve", "--data-dir", bundled.data_dir, "--engine", address],
        env=bundled.environ,
        check=False,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
    )
    assert done.returncode == 4
    assert "cannot be reached" in done.stderr


def test_every_link_in_the_bundle_leads_somewhere(bundled: Bundled) -> None:
    links = [path for path in bundled.program.parent.rglob("*") if path.is_symlink()]
    assert not [path for path in links if not path.exists()]


@pytest.mark.skipif(not LINUX, reason="only Linux tells what a process has loaded")
def test_what_the_bundle_has_is_loaded_from_there(bundled: Bundled) -> None:
    own = {path.name for path in bundled.program.parent.rglob("*.so*")}
    with bundled.live() as process:
        served = {path for server in bundled.servers() for path in loaded_by(server)}
        loaded = served | loaded_by(psutil.Process(process.pid))
    assert len([path for path in loaded if path.name in own]) > 50
    foreign = [path for path in loaded if bundled.program.parent not in path.parents]
    assert not [path for path in foreign if path.name in own]
    assert not [path for path in served if "Qt" in path.name]  # it would keep the start waiting


@pytest.mark.skipif(sys.platform == "darwin", reason="nothing reads a page there")
def test_about_tells_the_licences_of_all_parts(bundled: Bundled) -> None:
    with bundled.live(), page_of(bundled.port) as page:
        page.evaluate(
            """document.dispatchEvent(
                new CustomEvent("signalbox-menu", { detail: { command: "About Signalbox" } }))"""
        )
        told = page.locator("#licences")
        told.filter(has_text="Star Federation").wait_for()
        assert "GNU LESSER GENERAL PUBLIC LICENSE" in told.inner_text()


@pytest.mark.skipif(not LINUX, reason="taken on Linux")
def test_a_picture_is_taken(bundled: Bundled) -> None:
    """Of a window in use: `build/window.png`."""
    with bundled.live() as process, page_of(bundled.port) as page:
        example.play(bundled.endpoint(), seconds=20)
        page.get_by_label("Time that the slider covers").select_option("15m")
        page.locator("[role=row]", has_text="train.loss").first.click()
        page.get_by_role("radiogroup", name="Time that the chart shows").get_by_text("All").click()
        # The stretch is that of the example alone, whose times have seconds.
        page.locator("#chart").get_by_text(re.compile(r"\d\d:\d\d:\d\d")).first.wait_for()
        for _ in range(3):  # frames, until it is on the screen
            page.evaluate("new Promise(requestAnimationFrame)")
        shown = ShownWindow(bundled, process)
        shown.picture(ROOT / "build" / "window.png")
        assert shown.colours() > 200


def loaded_by(process: psutil.Process) -> set[Path]:
    """The files that a process of the bundle has in its memory."""
    return {Path(mapped.path) for mapped in process.memory_maps()}


def everything(folder: Path) -> dict[str, Any]:
    """The files below a folder with sizes and times of change, to see that none was written."""
    files = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        files[str(path)] = status.st_size, status.st_mtime_ns
    return files


def names(folder: Path) -> list[str]:
    """The files below a folder, by their paths."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return [path.as_posix() for path in files]


def main() -> int:
    """The exit status of pytest."""
    bundle = Path(sys.argv[1]).resolve()
    if LINUX and "apart" not in sys.argv:
        root = [] if os.geteuid() == 0 else ["--map-root-user"]
        command = ["unshare", "--net", *root, sys.executable, __file__, str(bundle), "apart"]
        return subprocess.run(command, check=False).returncode
    if LINUX:
        _raise_loopback()
    os.environ[BUNDLE] = str(bundle)
    return int(pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), __file__]))


def _raise_loopback() -> None:
    """The one network that there is; a new namespace has it, but down (netdevice(7))."""
    import fcntl

    with socket.socket() as probe:
        fcntl.ioctl(probe, SET_FLAGS, struct.pack("16sh22x", b"lo", IS_UP))


if __name__ == "__main__":
    sys.exit(main())
