"""A wrong clock is reported everywhere, on every engine, and harms nothing that only waits."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from signalbox.server.runtime.trusted_clock import DAY
from support import brokers
from support.command_line import Shell
from support.harness import ROOT, Server
from support.nodes import Site, reach, status, until
from support.page_login import new_login_code, redeem_code
from support.page_window import OpenWindow

SAME_COMPUTER = "ahead => { const right = Date.now; Date.now = () => right() + ahead; }"
"""The browser's clock is the server's."""

LATELY = re.compile(r"now|\d+ s|\d+ min")
"""Not a year ago, however long this has taken."""


class LeapingServer(Server):
    """As `Server`, with `leap` to set its clock, which is `ahead` at first."""

    def __init__(self, data_dir: Path, *options: str, ahead: float = 0) -> None:
        self.clock = data_dir.with_name(data_dir.name + ".clock")
        self.leap(ahead)
        super().__init__(
            data_dir,
            *options,
            program=("-m", "support.clock_server", str(self.clock)),
            env={"PYTHONPATH": str(ROOT / "tests")},
        )

    def leap(self, ahead: float) -> None:
        """From now on the clock is so many seconds ahead."""
        new = self.clock.with_suffix(".new")
        new.write_text(str(ahead))
        new.replace(self.clock)


@pytest.fixture(scope="module")
def leaping(
    engine: brokers.Options, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LeapingServer]:
    started = LeapingServer(tmp_path_factory.mktemp("clock") / "store", *engine())
    yield started
    started.kill()


@pytest.fixture
def wrong(leaping: LeapingServer) -> Iterator[LeapingServer]:
    """A server whose clock has just leapt; right again afterwards."""
    leaping.set("a", "right")
    leaping.leap(500 * DAY)
    yield leaping
    leaping.leap(0)


def year(server: Server, key: str) -> str:
    at: str = server.get(f"/queries/state/{key}").json()["at"]
    return at[:4]


def compacted(server: Server) -> dict[str, Any]:
    report: dict[str, Any] = server.request("POST", "/commands/compact").json()
    return report


def test_a_leap_is_reported_and_stamps_nothing(wrong: LeapingServer) -> None:
    before = year(wrong, "a")
    wrong.set("a", "while wrong")
    clock = status(wrong)["clock"]
    assert year(wrong, "a") == before == clock["time"][:4] < clock["computer"][:4]
    assert clock["problem"].endswith(f"signalbox --data-dir {wrong.data_dir} compact --confirm")
    done = Shell(wrong.data_dir)("compact")
    assert (done.status, done.err) == (0, f"signalbox: {clock['problem']}\n")
    assert f"clock.problem\t{clock['problem']}\n" in Shell(wrong.data_dir).ok("status")
    wrong.leap(0)
    assert status(wrong)["clock"]["problem"] is None
    assert Shell(wrong.data_dir)("compact").err == ""
    lines = wrong.stderr.read_text().splitlines()[-2:]
    logged = [line.split(maxsplit=2)[2] for line in lines]  # behind date and time
    assert logged == [f"WARNING {clock['problem']}", "INFO Times are right again."]


def test_what_only_waits_goes_on_through_a_leap(wrong: LeapingServer) -> None:
    code = new_login_code(wrong)
    wrong.leap(-500 * DAY)
    wrong.set("a", "set back")
    assert redeem_code(wrong, code).status == 200
    until(lambda: status(wrong)["rates"]["changes_per_second"] > 0)


def test_the_command_line_confirms(tmp_path: Path) -> None:
    server = LeapingServer(tmp_path / "store")
    try:
        for number in range(3):
            server.set("a", number)
        server.leap(500 * DAY)
        shell = Shell(server.data_dir)
        assert shell("compact", "--json").json()["changes"] == 0
        assert shell("compact", "--dry-run", "--confirm", "--json").json()["changes"] == 2
        assert status(server)["clock"]["problem"] is not None
        done = shell("compact", "--confirm")
        assert (done.status, done.out.split()[0], done.err) == (0, "2", "")
        assert status(server)["clock"]["problem"] is None
    finally:
        server.kill()


def test_starts_a_year_ahead_remove_nothing_until_a_user_confirms(tmp_path: Path) -> None:
    for number, ahead in enumerate((0.0, 370 * DAY, 370 * DAY)):
        server = LeapingServer(tmp_path / "store", ahead=ahead)
        try:
            for value in (2 * number, 2 * number + 1):
                server.set("a", value)
            assert compacted(server)["changes"] == 0
            assert status(server)["clock"]["problem"] is None
            if number == 2:
                done = Shell(server.data_dir).ok("compact", "--confirm", "--json")
                assert json.loads(done)["changes"] == 1  # of the first start
            assert server.stop() == 0
        finally:
            server.kill()


def test_starts_further_and_further_ahead_creep_nowhere(tmp_path: Path) -> None:
    told, stamps = [], []
    for ahead in (399 * DAY, 0.0, 798 * DAY):
        server = LeapingServer(tmp_path / "store", ahead=ahead)
        try:
            server.set("a", ahead)
            assert compacted(server)["changes"] == 0
            told.append(status(server)["clock"])
            stamps.append(server.get("/queries/state/a").json()["at"])
        finally:
            server.kill()
    assert stamps == stamps[:1] * 3
    assert told[2]["time"][:10] == told[1]["time"][:10] < told[0]["time"][:10]
    assert "has leapt" in told[2]["problem"]


def test_the_window_says_it_and_goes_on(wrong: LeapingServer, open_window: OpenWindow) -> None:
    window = open_window(wrong)
    window.page.evaluate(SAME_COMPUTER, 500 * DAY * 1000)
    expect(window["#foot [role=status]"]).to_contain_text("This computer's clock has leapt")
    wrong.set("a", "seen")
    expect(window.row("a")).to_contain_text("seen")
    expect(window.row("a").locator(".t")).to_have_text(LATELY)
    # The slider's end is now, by the server's time.
    window["#time"].fill("0")
    expect(window["body"]).to_have_class("past")
    window["#time"].fill("10000")
    expect(window["body"]).not_to_have_class("past")
    wrong.leap(0)
    expect(window["#foot [role=status]"]).to_have_count(0)


def test_the_stamps_of_a_node_whose_clock_is_wrong_are_passed_over(site: Site) -> None:
    wrong = LeapingServer(site.folder / "wrong", "--engine", site.address, ahead=3650 * DAY)
    try:
        for number in range(3):
            wrong.set("a", number)
        right = site.node()
        reach(3, right)
        right.set("a", "right")
        assert year(right, "a") == year(wrong, "a") == status(wrong)["clock"]["time"][:4]
        problem = status(right)["clock"]["problem"]
        assert problem.startswith("The newest change is stamped 203")
        assert compacted(right)["changes"] == 0
        right.set("_signalbox.retention", {"max_age": "1s"})
        until(lambda: compacted(right)["oldest_revision"] >= 4)
        assert right.get("/queries/history/a").json()["items"][-1]["value"] == "right"
    finally:
        wrong.kill()
