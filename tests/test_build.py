"""What is built: the wheel has the window's script and nothing foreign; make passes options on."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import hatch_build
from harness import ROOT


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


def test_the_wheel_has_one_name_with_all_parts_and_the_script(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
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
