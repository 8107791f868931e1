"""What is built: the wheel has the window's script and nothing foreign; make passes options on."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from twine.commands.check import check

import app_metadata
import hatch_build
from support.desktop_window import PROGRAM
from support.harness import ROOT, SECONDS


def test_the_script_is_fetched_once(tmp_path: Path) -> None:
    static = ROOT / "ui" / "static"
    assert hatch_build.fetch(static) is False
    assert "Star Federation" in (static / "datastar.LICENSE").read_text()
    for name in ("datastar.js", "datastar.LICENSE"):
        (tmp_path / name).write_bytes((static / name).read_bytes())
    assert hatch_build.fetch(tmp_path) is False


def test_another_script_in_its_place_is_not_kept_and_offline_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "datastar.js").write_text("alert('something else')")
    (tmp_path / "datastar.LICENSE").write_text("")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(RuntimeError, match="needs a package index once"):
        hatch_build.fetch(tmp_path)


def built(target: str, folder: Path, source: Path = ROOT) -> Path:
    """The wheel or source distribution that a tree makes, without an index."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder],
        cwd=source,
        env={**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""},
        check=True,
        capture_output=True,
    )
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    return built("sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is unpacked."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run(folder: Path, *command: str | Path, path: Path) -> subprocess.CompletedProcess[str]:
    """A command in `folder` for which Python looks into `path` first."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_the_wheel_has_one_name_with_all_parts_and_the_script(site: Path) -> None:
    names = files(site)
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"signalbox"}
    assert {
        "signalbox/py.typed",
        "signalbox/client.py",
        "signalbox/server/app.py",
        "signalbox/desktop/app.py",
        "signalbox/ui/static/datastar.js",
        "signalbox/ui/static/datastar.LICENSE",
        "signalbox/ui/templates/shell.html",
    } <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_tells_its_version(site: Path) -> None:
    done = run(site, sys.executable, "-m", "signalbox", "--version", path=site)
    assert (done.stdout, done.stderr) == (f"signalbox, version {app_metadata.version()}\n", "")


def test_the_index_would_show_both_with_their_description(wheel: Path, sdist: Path) -> None:
    assert not check([str(wheel), str(sdist)], strict=True)


def test_what_the_index_would_not_show_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "empty"\nversion = "1"\n'
        "[tool.hatch.build.targets.wheel]\nbypass-selection = true\n"
    )
    assert check([str(built("wheel", tmp_path / "dist", tmp_path))], strict=True)


def test_a_source_distribution_makes_the_same_wheel_offline(
    site: Path, sdist: Path, tmp_path: Path
) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    with zipfile.ZipFile(built("wheel", tmp_path / "wheel", source)) as wheel:
        assert set(wheel.namelist()) == files(site)


def test_folders_named_like_parts_of_the_program_are_not_in_its_way(
    site: Path, tmp_path: Path
) -> None:
    for name in ("server", "desktop", "ui"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong one')")
    program = (sys.executable, "-m", "signalbox", "--data-dir", tmp_path / "data")
    done = run(tmp_path, *program, "set", "lamp", "1", path=site)
    assert (done.returncode, done.stderr) == (0, "")
    assert run(tmp_path, *program, "get", "lamp", path=site).stdout == "1\n"


def test_a_copy_of_the_client_is_named_where_it_hides_the_program(tmp_path: Path) -> None:
    copy = tmp_path / "signalbox.py"
    copy.write_bytes((ROOT / "signalbox" / "client.py").read_bytes())
    done = run(tmp_path, PROGRAM, "--version", path=tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert str(copy) in done.stderr
    assert "Rename it" in done.stderr


def test_a_copy_of_the_client_beside_a_script_starts_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "signalbox.py").write_bytes((ROOT / "signalbox" / "client.py").read_bytes())
    (tmp_path / "script.py").write_text(
        "import sys, signalbox\n"
        "with signalbox.connect(data_dir=sys.argv[1]) as box:\n"
        "    box['lamp'] = 7\n"
        "    print(box['lamp'], signalbox.__file__)\n"
    )
    monkeypatch.setenv("PATH", str(PROGRAM.parent))
    done = run(tmp_path, sys.executable, "script.py", tmp_path / "data", path=tmp_path / "none")
    assert done.stdout == f"7 {tmp_path / 'signalbox.py'}\n", done.stderr


@pytest.mark.parametrize(
    ("arguments", "quick"), [(["QUICK=1"], True), (["--", "--quick"], True), ([], False)]
)
def test_make_bench_can_be_quick(arguments: list[str], quick: bool) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "bench", *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    started = next(line for line in done.stdout.splitlines() if "tests/benchmarks/run.py" in line)
    assert started.endswith(" --quick") is quick
