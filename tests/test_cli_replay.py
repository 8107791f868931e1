"""`replay`: a recorded stretch sent again to another store, once however often, in its pace."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from time import monotonic, time
from typing import Any

import pytest

from support.command_line import Shell
from support.harness import Server
from support.raw_http import Client, lines, serving


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Server]:
    """A store with sets, deletions, two actors and a transaction of three keys."""
    with serving(tmp_path / "source") as server:
        server.set("a", 1, actor="one")
        server.set("b", {"x": [10**30, None, -0.5]}, actor="two")
        three = [{"type": "set", "key": f"c.{name}", "value": name} for name in ("x", "y", "z")]
        server.post({"type": "batch", "commands": three})
        server.post({"type": "delete", "key": "a"})
        server.set("a", "ünïcode\n\x00")
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "target") as server:
        yield server


@pytest.fixture
def shell(source: Server) -> Shell:
    return Shell(source.data_dir)


def recorded(server: Server) -> list[Any]:
    """Who changed what, transaction by transaction."""
    text = server.get("/queries/export", history=1).body.decode()
    found = [json.loads(line) for line in text.splitlines()]
    return [(one["actor"], one["changes"]) for one in found]


def state(server: Server) -> dict[str, Any]:
    with Client(server) as client:
        return client.state()


def at_full_speed(shell: Shell, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        shell.ok("replay", "--speed", "0", "--json", *map(str, arguments))
    )
    return found


def test_a_whole_history_is_made_again_once_however_often(
    source: Server, target: Server, shell: Shell
) -> None:
    into = ("--from", "0", "--into", str(target.data_dir))
    assert at_full_speed(shell, *into) == {
        "transactions": 5,
        "duplicates": 0,
        "changes": 7,
        "revision": 5,
    }
    assert recorded(target) == recorded(source)
    assert state(target) == state(source)
    again = at_full_speed(shell, *into)
    assert (again["duplicates"], again["changes"]) == (5, 0)
    source.set("later", 1)
    assert at_full_speed(shell, *into)["changes"] == 1
    assert recorded(target) == recorded(source)


def test_a_stretch_is_what_happened_behind_its_beginning(target: Server, shell: Shell) -> None:
    assert at_full_speed(shell, "--from", "1", "--to", "3", "--into", str(target.data_dir)) == {
        "transactions": 2,
        "duplicates": 0,
        "changes": 4,
        "revision": 2,
    }
    assert set(state(target)) == {"b", "c.x", "c.y", "c.z"}


def test_a_stretch_may_be_given_by_its_times(source: Server, target: Server, shell: Shell) -> None:
    made = [source.get(f"/queries/history/{key}").json()["items"] for key in ("b", "c.x")]
    begin, end = (items[0]["at"] for items in made)
    last = shell.ok("ls", "--at", end, "--json")
    at_full_speed(shell, "--from", "2000-01-01", "--to", end, "--into", str(target.data_dir))
    assert Shell(target.data_dir).ok("export") == shell.ok("export", "--at", end)
    assert json.loads(last.splitlines()[0])["key"] == "a"
    assert begin <= end


def test_a_file_is_replayed_as_its_store_was(
    source: Server, target: Server, shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "history.ndjson"
    file.write_text(shell.ok("export", "--history"))
    for _ in range(2):
        at_full_speed(shell, str(file), "--into", str(target.data_dir))
        assert recorded(target) == recorded(source)
    text = file.read_bytes()
    done = Shell(target.data_dir)("replay", "-", "--speed", "0", stdin=text)
    assert done == (0, "5 transactions sent, 5 were there, 0 changes\n", "")


def test_what_no_batch_can_hold_is_one_transaction_all_the_same(
    source: Server, target: Server, shell: Shell
) -> None:
    sets = [{"type": "set", "key": f"many.{n:04}", "value": n} for n in range(2_500)]
    with Client(source) as client:
        client.load(lines(*sets), id="many")
        client.send("delete_prefix", prefix="many.")
        client.load(lines(*({**one, "value": "x" * 4_000} for one in sets)), id="again", atomic=1)
    for changes in (7 + 3 * 2_500, 0):
        found = at_full_speed(shell, "--from", "0", "--into", str(target.data_dir))
        assert (found["transactions"], found["changes"]) == (8, changes)
        assert recorded(target) == recorded(source)


def test_few_changes_that_are_too_long_for_a_batch_go_as_well(
    source: Server, target: Server, shell: Shell
) -> None:
    """100 values that escaped would be 24 MB."""
    sets = [{"type": "set", "key": f"long.{n}", "value": "é" * 80_000} for n in range(50)]
    with Client(source) as client:
        client.load(lines(*sets), id="long", atomic=1)
    at_full_speed(shell, "--from", "5", "--into", str(target.data_dir))
    assert recorded(target) == recorded(source)[5:]


def spread(count: int, seconds: float) -> str:
    """Transactions with `seconds` between them."""
    return "".join(
        json.dumps(
            {
                "revision": number + 1,
                "id": f"id-{number}",
                "actor": "player",
                "at": datetime.fromtimestamp(1_700_000_000 + number * seconds)
                .astimezone()
                .isoformat(),
                "type": "set",
                "changes": [{"key": "n", "value": number}],
            }
        )
        + "\n"
        for number in range(count)
    )


def test_it_goes_in_the_recorded_pace_divided_by_the_speed(
    target: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = list[float]()  # when it read its clock: at first when the first one was due

    def clock() -> float:
        reads.append(time())
        return monotonic()

    monkeypatch.setattr("signalbox.desktop.commands.replay.monotonic", clock)
    shell = Shell(target.data_dir)
    text = spread(5, 10.0).encode()
    done = shell("replay", "-", "--speed", "100", stdin=text)
    assert done.status == 0, done
    items = target.get("/queries/history/n").json()["items"]
    times = [datetime.fromisoformat(item["at"]).timestamp() for item in reversed(items)]
    assert len(times) == 5
    assert times[-1] - reads[0] >= 0.399  # stored times have whole milliseconds
    # What is there already takes no time: else this would be an hour.
    assert shell("replay", "-", "--speed", "0.01", stdin=text).status == 0


class Enough(Exception):
    """It has waited often enough."""


def test_however_slow_it_is_it_waits(target: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = list[float]()

    def passes(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise Enough

    monkeypatch.setattr("signalbox.desktop.commands.replay.sleep", passes)
    with pytest.raises(Enough):
        Shell(target.data_dir)("replay", "-", "--speed", "1e-300", stdin=spread(2, 10.0).encode())
    assert max(waits) <= 86_400
    assert target.get("/queries/history/n").json()["items"][0]["value"] == 0


def test_one_that_was_killed_goes_on_where_it_broke_off(target: Server, tmp_path: Path) -> None:
    shell, file = Shell(target.data_dir), tmp_path / "history.ndjson"
    file.write_text(spread(60, 1.0))
    with target.stream(after=0) as stream:
        with shell.started("replay", str(file), "--speed", "20") as process:
            for _ in range(3):
                stream.until("change")
            process.kill()
        assert 3 <= len(recorded(target)) < 60
    assert shell("replay", str(file), "--speed", "0").status == 0
    values = [change["value"] for _, (change,) in recorded(target)]
    assert values == list(range(60))


def test_a_store_does_not_take_its_own_recording(
    source: Server, shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "history.ndjson"
    file.write_text(shell.ok("export", "--history"))
    own = str(source.data_dir)
    for arguments in ([str(file)], [str(file), "--into", own], ["--from", "2", "--into", own]):
        done = shell("replay", "--speed", "0", *arguments)
        assert (done.status, done.out) == (2, "")
        assert "very store" in done.err
    assert len(recorded(source)) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--from", "1"],
        ["--to", "now"],
        ["-", "--from", "1", "--into", "x"],
        ["/nowhere/at/all"],
        ["-", "--speed", "-1"],
        ["-", "--from", "yesterday"],
    ],
)
def test_what_it_needs_is_said(shell: Shell, arguments: list[str]) -> None:
    done = shell("replay", *arguments)
    assert (done.status, done.out) == (2, "")
    assert done.err


@pytest.mark.parametrize(
    "line",
    [
        "no json",
        "[]",
        "{}",
        '{"type": "set", "key": "a", "value": 1}',
        spread(1, 0).replace('"key"', '"name"'),
        spread(1, 0).replace('"at": "2', '"at": "x'),
        spread(1, 0).replace('"id-0"', "5"),
        spread(1, 0).replace('"revision": 1', '"revision": "1"'),
    ],
)
def test_a_line_that_is_no_transaction_is_named(target: Server, line: str) -> None:
    text = spread(1, 0) + line + "\n"
    done = Shell(target.data_dir)("replay", "-", "--speed", "0", stdin=text.encode())
    assert (done.status, done.out) == (2, "")
    assert "Line 2 " in done.err
    assert len(recorded(target)) == 1  # what came before it stays; the next time it is there


def test_what_the_store_refuses_ends_it(target: Server) -> None:
    text = spread(1, 0) + spread(1, 0).replace('"key": "n"', '"key": "a..b"')
    done = Shell(target.data_dir)("replay", "-", "--speed", "0", stdin=text.encode())
    assert (done.status, done.out) == (1, "")
    assert "a..b" in done.err


def test_without_moments_all_from_the_beginning_until_now_is_sent(
    target: Server, shell: Shell
) -> None:
    out = shell.ok("replay", "--speed", "0", "--into", str(target.data_dir))
    assert out.startswith("5 transactions sent")
    assert target.value("a") == "ünïcode\n\x00"


def test_a_terminal_shows_a_bar(target: Server, shell: Shell) -> None:
    done = shell.on_terminal(
        "replay", "--from", "0", "--speed", "0", "--into", str(target.data_dir)
    )
    assert done.status == 0
    assert "Replaying" in done.out
    assert "5 transactions sent" in done.out


@pytest.mark.parametrize("value", ["1e999", "[" * 101 + "]" * 101, '"\\ud800"', "9" * 300_000])
def test_a_line_that_no_store_has_written_is_refused(
    shell: Shell, target: Server, tmp_path: Path, value: str
) -> None:
    line = (
        '{"id":"i","revision":1,"actor":"a","at":"2026-01-01T00:00:00.000Z",'
        f'"changes":[{{"key":"k","value":{value}}}]}}'
    )
    (tmp_path / "line.ndjson").write_text(line)
    done = shell("replay", str(tmp_path / "line.ndjson"), "--into", str(target.data_dir))
    assert (done.status, done.out) == (2, "")
    assert "Line 1 is no transaction" in done.err
