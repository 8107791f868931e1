"""What the bundle is made of, for every system; the bundle itself is tried by its smoke test."""

import ast
import gzip
import io
import plistlib
import re
import sys
from importlib.metadata import distribution, distributions, requires, version
from pathlib import Path

import pytest
from PIL import Image

import app_metadata
import bundle_contents
import debian_package
import elf_libraries
import icon
import licences
import man_page
from signalbox.server import __version__
from support.harness import ROOT

QT = "PySide6/Qt/"


class TestLean:
    def test_a_library_stays_where_something_that_stays_is_linked_with_it(self) -> None:
        linked = {
            "PySide6/QtGui.abi3.so": ["libQt6Gui.so.6"],
            "libQt6Gui.so.6": ["libQt6Core.so.6", "libglib-2.0.so.0"],
            "libQt6Quick3D.so.6": ["libQt6Core.so.6"],
            "libglib-2.0.so.0": ["libonlyglib.so.1"],
        }
        binaries = [
            ("PySide6/QtGui.abi3.so", "PySide6/QtGui.abi3.so", "EXTENSION"),
            (QT + "lib/libQt6Gui.so.6", "libQt6Gui.so.6", "BINARY"),
            (QT + "lib/libQt6Core.so.6", "libQt6Core.so.6", "BINARY"),
            (QT + "lib/libQt6Quick3D.so.6", "libQt6Quick3D.so.6", "BINARY"),
            (QT + "plugins/platforms/libqxcb.so", "libqxcb.so", "BINARY"),
            (QT + "plugins/platforms/libqvnc.so", "libqvnc.so", "BINARY"),
            (QT + "qml/Qt/labs/liblabs.so", "liblabs.so", "BINARY"),
            (QT + "libexec/QtWebEngineProcess", "QtWebEngineProcess", "BINARY"),
            ("libpython3.11.so.1.0", "libpython", "BINARY"),
            ("libQt6Quick3D.so.6", QT + "lib/libQt6Quick3D.so.6", "SYMLINK"),
            ("libglib-2.0.so.0", "libglib-2.0.so.0", "BINARY"),
            ("libonlyglib.so.1", "libonlyglib.so.1", "BINARY"),
        ]
        kept = bundle_contents.choose_binaries(binaries, lambda source: linked.get(source, ()))
        assert [entry.name.removeprefix(QT) for entry in kept] == [
            "PySide6/QtGui.abi3.so",
            "lib/libQt6Gui.so.6",
            "lib/libQt6Core.so.6",
            "plugins/platforms/libqxcb.so",
            "libexec/QtWebEngineProcess",
            "libpython3.11.so.1.0",
        ]

    @pytest.mark.parametrize(
        ("name", "is_wanted"),
        [
            ("ui/static/past.css", True),
            (QT + "resources/icudtl.dat", True),
            (QT + "resources/qtwebengine_devtools_resources.pak", False),
            (QT + "translations/qtwebengine_locales/en-US.pak", True),
            (QT + "translations/qtwebengine_locales/de.pak", False),
            (QT + "qml/QtQuick/qmldir", False),
            ("PySide6/QtCore.pyi", False),
            ("signalbox-0.1.0.dist-info/METADATA", True),
            ("signalbox-0.1.0.dist-info/direct_url.json", False),
            ("webview/lib/pywebview-android.jar", False),
        ],
    )
    def test_data_files(self, name: str, is_wanted: bool) -> None:
        assert bundle_contents.is_bundled_data(name) is is_wanted


def needed_distributions() -> set[str]:
    """What the program requires, its extras included, as far as this system has it."""
    wanted = {re.match(r"[\w.-]+", one) for one in requires("signalbox-app") or ()}
    names = {found[0] for found in wanted if found}
    assert {"gevent", "jsonschema-rs", "nats-py", "pywebview"} <= names
    installed = {licences.normalized(one.name) for one in distributions()}
    return {name for name in names if licences.normalized(name) in installed}


class TestLicences:
    def test_everything_that_the_program_needs_is_known(self) -> None:
        sources = [
            str(file.locate())
            for name in {*needed_distributions(), "zope.interface"}
            for file in distribution(name).files or ()
        ]
        found = licences.gather(sources)
        assert {one.part.split()[0].lower() for one in found} >= {
            *("signalbox", "python", "datastar", "gevent", "bottle", "jiter", "msgspec"),
            "pyinstaller",
        }
        assert all(len(one.text) > 500 for one in found)
        whole = licences.format_licences(found)
        assert f"gevent {version('gevent')}: MIT" in whole
        assert "Star Federation" in whole

    def test_what_nobody_has_looked_at_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "libsecret.so"
        file.touch()
        with pytest.raises(licences.UnknownError, match=r"libsecret\.so would be bundled"):
            licences.gather([str(file)])
        monkeypatch.setitem(licences.KNOWN_LICENCES, "bottle", "GPL-3.0-only")
        bottle, *_ = list(distribution("bottle").files or ())
        with pytest.raises(licences.UnknownError, match=r"bottle .* declares 'MIT'"):
            licences.gather([str(bottle.locate())])

    def test_all_dependencies_have_been_looked_at(self) -> None:
        lock = (ROOT / "requirements-dev.lock").read_text()
        for name in licences.KNOWN_LICENCES:
            assert f"\n{name.replace('-', '_')}==" in lock.replace("-", "_") or name in {
                *("bottle-websocket", "clr-loader", "pycparser"),
            }, name


class TestIdentity:
    def test_the_version_is_that_of_the_project(self) -> None:
        assert app_metadata.version() == __version__ == version("signalbox-app")

    def test_windows_reads_name_and_version(self) -> None:
        nodes = ast.walk(ast.parse(app_metadata.windows_version_file()))
        texts = [node.value for node in nodes if isinstance(node, ast.Constant)]
        assert {"Signalbox", "signalbox.exe", app_metadata.version()} <= {*texts}

    def test_macos_reads_a_property_list(self) -> None:
        told = plistlib.loads(plistlib.dumps(app_metadata.info_plist()))
        assert told["CFBundleShortVersionString"] == app_metadata.version()
        assert told["NSAppTransportSecurity"] == {"NSAllowsLocalNetworking": True}


class TestIcon:
    @pytest.mark.parametrize("size", icon.SIZES)
    def test_every_size_is_drawn(self, size: int) -> None:
        image = Image.open(io.BytesIO(icon.render_png(size)))
        assert image.size == (size, size)
        corner, middle = image.getpixel((0, 0)), image.getpixel((size // 2, size // 3))
        assert isinstance(corner, tuple)
        assert isinstance(middle, tuple)
        assert corner[3] == 0
        assert middle[1] > middle[0], "the upper lamp is green"

    def test_windows_and_macos_have_theirs(self, tmp_path: Path) -> None:
        with Image.open(icon.write_ico(tmp_path / "a.ico")) as image:
            assert image.info["sizes"] == {(size, size) for size in icon.ICO_SIZES}
        with Image.open(icon.write_icns(tmp_path / "a.icns")) as image:
            assert image.size == (1024, 1024)


class TestLinux:
    def test_the_menu_entry_starts_the_program(self, tmp_path: Path) -> None:
        shared = debian_package.make_share_folder(tmp_path / "share")
        entry = (shared / "applications" / "signalbox.desktop").read_text().splitlines()
        assert {"Exec=signalbox", "Icon=signalbox", "Terminal=false"} <= {*entry}
        for size in icon.SIZES:
            name = f"icons/hicolor/{size}x{size}/apps/signalbox.png"
            with Image.open(shared / name) as image:
                assert image.size == (size, size)
        for shell, name in debian_package.COMPLETIONS.items():
            assert f"Completion of signalbox in {shell}" in (shared / name).read_text()
        page = gzip.decompress((shared / "man" / "man1" / "signalbox.1.gz").read_bytes())
        assert page.decode() == man_page.man_page()
        assert "*.ndjson" in (shared / "mime" / "packages" / "signalbox.xml").read_text()

    def test_what_a_program_is_linked_with_is_read_from_it(self) -> None:
        python = Path(sys.executable).resolve()
        assert elf_libraries.is_elf_file(python)
        assert not elf_libraries.is_elf_file(Path(__file__))
        assert "libc.so.6" in elf_libraries.needed_libraries(str(python))
        major, minor = elf_libraries.newest_glibc([python]).split(".")
        assert (int(major), int(minor)) >= (2, 2)
