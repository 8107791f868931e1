"""What renders pages is imported while others run: in a native thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.harness import ROOT, Server
from support.page_login import new_login_code, redeem_code

LOGIN = b"login\n"
SMALL = {b"encodings.unicode_escape\n"}
"""What Jinja looks for with its first template: a quarter of a millisecond."""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    server = Server(
        tmp_path / "data",
        program=("-m", "support.import_watcher"),
        env={"PYTHONPATH": str(ROOT / "tests")},
    )
    yield server
    server.kill()


def test_the_hub_imports_nothing_large_for_the_first_window(box: Server) -> None:
    code = new_login_code(box)
    assert box.request("GET", "/", token=None).status == 200
    assert redeem_code(box, code).status == 200
    assert box.request("GET", "/static/app.js", token=None).status == 200
    connection = box.connect()
    connection.request("GET", "/queries/page", headers=box.authorization("read"))
    assert connection.getresponse().readline()
    connection.close()
    new_login_code(box)
    said = box.process.stdout
    assert said is not None
    assert said.readline() == LOGIN
    assert set(iter(said.readline, LOGIN)) <= SMALL
