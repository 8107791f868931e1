"""The store itself on the command line: verify, rebuild, backup, tokens, and starting a server."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apsw
import psutil
import pytest

from support.command_line import Shell
from support.desktop_window import until
from support.harness import Server
from support.page_login import page_origin, redeem_code
from support.raw_http import Client, lines, serving


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A data directory that nobody has used."""
    return Shell(tmp_path / "store")


@pytest.fixture
def used(shell: Shell) -> Shell:
    """One with some keys and no server."""
    with serving(shell.data_dir) as server:
        for key, value in (("a", 1), ("b.c", {"x": None}), ("b.d", "text")):
            server.set(key, value)
        server.post({"type": "delete", "key": "b.d"})
    return shell


def servers_of(data_dir: Path) -> list[Any]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(data_dir) in (process.info["cmdline"] or []) and process.pid != os.getpid()
    ]


def await_no_server(data_dir: Path) -> None:
    until(lambda: not servers_of(data_dir), "the server has gone")
    assert not (data_dir / "endpoint.json").exists()


def edited(data_dir: Path, statement: str) -> None:
    """Change the file behind the program's back."""
    connection = apsw.Connection(str(data_dir / "signalbox.db"))
    connection.execute(statement)
    connection.close()


def test_every_subcommand_starts_a_server_that_ends_with_it(shell: Shell) -> None:
    shell.ok("set", "hello", "world")
    await_no_server(shell.data_dir)
    assert shell.ok("get", "hello") == "world\n"
    await_no_server(shell.data_dir)


def test_many_at_once_share_one_store(shell: Shell) -> None:
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: shell.as_process("add", "n").status, range(8)))
    assert statuses == [0] * 8
    assert shell.ok("get", "n") == "8\n"
    assert shell.ok("verify").startswith("sound")


def test_an_endpoint_of_a_server_that_was_killed_misleads_nobody(shell: Shell) -> None:
    server = Server(shell.data_dir)
    server.set("k", 1)
    server.kill()
    assert (shell.data_dir / "endpoint.json").exists()
    assert shell.ok("get", "k") == "1\n"


def test_verify_finds_the_store_sound_also_beside_a_server(used: Shell) -> None:
    report = json.loads(used.ok("verify", "--json"))
    assert (report["ok"], report["revision"], report["keys"]) == (True, 4, 2)
    with serving(used.data_dir) as server:
        server.set("k", 1)
        assert json.loads(used.ok("verify", "--json"))["revision"] == 5


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE state SET value = '2' WHERE key = 'a'",
        "UPDATE state SET revision = 3 WHERE key = 'a'",
        "DELETE FROM state WHERE key = 'b.c'",
        "INSERT INTO state VALUES ('ghost', 1, 1, '1')",
    ],
)
def test_verify_tells_a_wrong_state_and_rebuild_mends_it(used: Shell, damage: str) -> None:
    before = used.ok("export")
    await_no_server(used.data_dir)
    edited(used.data_dir, damage)
    found = used("verify")
    assert found.status == 1
    assert found.out or found.err
    assert used("rebuild").status == 0
    assert used("verify").status == 0
    assert used.ok("export") == before


def test_verify_tells_a_gap_in_the_log(used: Shell) -> None:
    edited(used.data_dir, "DELETE FROM transactions WHERE revision = 2")
    assert used("verify").status == 1


@pytest.mark.parametrize("place", [100_000, 250_000, 600_000])
def test_damage_to_the_file_is_reported_wherever_it_is(tmp_path: Path, place: int) -> None:
    shell = Shell(tmp_path / "store")
    with serving(shell.data_dir) as box, Client(box) as client:
        client.load(lines(*({"type": "set", "key": f"k{n}", "value": n} for n in range(9_000))))
    file = shell.data_dir / "signalbox.db"
    content = bytearray(file.read_bytes())
    assert len(content) > 700_000
    content[place : place + 400] = b"\xff" * 400
    file.write_bytes(content)
    found = shell("verify")
    assert (found.status, "Traceback" in found.err) == (1, False)
    assert "SQLite" in found.out + found.err
    assert "Traceback" not in shell("rebuild").err


def test_rebuild_refuses_to_run_beside_a_server(used: Shell) -> None:
    with serving(used.data_dir):
        done = used("rebuild")
    assert done.status == 4
    assert "server" in done.err


def test_rebuild_shows_a_bar_on_a_terminal(used: Shell) -> None:
    done = used.on_terminal("rebuild")
    assert done.status == 0
    assert "Replaying" in done.out


def test_a_backup_is_a_whole_store_also_of_one_in_use(used: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "signalbox.db"
    copy.parent.mkdir()
    with serving(used.data_dir) as server:
        server.set("late", 1)
        used.ok("backup", str(copy))
        exported = used.ok("export")
    other = Shell(copy.parent)
    assert other.ok("verify").startswith("sound")
    assert other.ok("export") == exported
    assert copy.stat().st_mode & 0o077 == 0


def test_a_backup_overwrites_nothing(used: Shell, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("precious")
    assert used("backup", str(taken)).status == 4
    assert taken.read_text() == "precious"


def test_tokens_open_the_server_until_they_are_rotated(used: Shell) -> None:
    tokens = json.loads(used.ok("token", "--json"))
    with serving(used.data_dir) as server:
        assert (server.read_token, server.write_token) == (
            tokens["read_token"],
            tokens["write_token"],
        )
        assert used("token", "--rotate").status == 4
    rotated = json.loads(used.ok("token", "--rotate", "--json"))
    assert not set(rotated.values()) & set(tokens.values())
    with serving(used.data_dir) as server:
        assert server.get("/queries/status", token=tokens["read_token"]).status == 401
        assert server.get("/queries/status", token=rotated["read_token"]).status == 200


def test_a_login_address_is_of_the_running_server(used: Shell) -> None:
    assert used("token", "--login").status == 4
    with serving(used.data_dir) as server:
        url = used.ok("token", "--login").strip()
        address, code = url.split("/#code=")
        assert address == page_origin(server)
        assert redeem_code(server, code).status == 200


def test_path_tells_where_the_store_is(shell: Shell, tmp_path: Path) -> None:
    assert shell.ok("path") == f"{shell.data_dir / 'signalbox.db'}\n"
    other = tmp_path / "ünïcode and spaces"
    assert shell.ok("path", "--data-dir", str(other)) == f"{other / 'signalbox.db'}\n"
    assert shell.ok("--data-dir", str(other), "set", "k", "1")
    assert (other / "signalbox.db").exists()


def test_a_file_that_is_no_store_is_named(shell: Shell) -> None:
    shell.data_dir.mkdir()
    (shell.data_dir / "signalbox.db").write_bytes(b"no database" * 100)
    done = shell("get", "k")
    assert (done.status, done.out) == (4, "")
    assert "signalbox.db" in done.err
    told = shell("verify")
    assert (told.status, told.err, told.out.splitlines()[0]) == (1, "", "DAMAGED")
    assert str(shell.data_dir / "signalbox.db") in told.out


def test_a_folder_that_cannot_be_made_is_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = shell("get", "k", "--data-dir", str(tmp_path / "file" / "below"))
    assert done.status == 4
    assert "file/below" in done.err


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["get", "missing"], 3),
        (["set", "a..b", "1"], 1),
        (["set", "a", "1", "--expect", "absent"], 1),
        (["toggle", "a"], 1),
        (["mv", "missing", "other"], 3),
        (["set", "a"], 2),
        (["nonsense"], 2),
        (["rm", "missing"], 3),
        (["set", "a", "5", "--expect", "1"], 0),
    ],
)
def test_the_exit_status_says_what_happened(used: Shell, arguments: list[str], status: int) -> None:
    done = used(*arguments)
    assert done.status == status
    assert bool(done.err) == (status > 0)


def test_the_table_of_a_terminal_escapes_what_could_steer_it(used: Shell) -> None:
    used.ok("set", "evil", "\x1b[2Jcleared\x07", "--text")
    for arguments in (["ls"], ["get", "evil"], ["export", "evil", "--format", "json"]):
        done = used.on_terminal(*arguments)
        assert "\x1b[2J" not in done.out
        assert "cleared" in done.out
    assert used.ok("get", "evil") == "\x1b[2Jcleared\x07\n"


def test_nothing_runs_on_behind_a_subcommand(used: Shell) -> None:
    used.as_process("ls")
    until(lambda: not servers_of(used.data_dir), "no process is left")
