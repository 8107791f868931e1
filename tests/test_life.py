"""A server's life: where it says it is, who may start it, how it ends, what it refuses to open."""

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any

import apsw
import pytest

from conftest import StartServer
from support.harness import ROOT, SECONDS, Server
from support.raw_http import NDJSON, Client, assert_sound, head, plain_socket

STORE = "signalbox.db"


def test_a_server_begins_without_what_only_windows_help_and_sources_need() -> None:
    late = ("click", "datastar_py", "importlib.metadata", "jinja2", "psutil", "signalbox.ui.views")
    program = f"import signalbox.server.__main__, sys; print({{*{late}}} & {{*sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def refused(
    data_dir: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    status: int = 4,
    through: Sequence[str] = (),
) -> str:
    """The one line of a `serve` that ends at once; nothing on stdout.

    `through` is a command that starts another.
    """
    ended = subprocess.run(
        [
            *through,
            sys.executable,
            "-m",
            "signalbox.server",
            "serve",
            "--json",
            "--data-dir",
            str(data_dir),
            *options,
        ],
        cwd=ROOT,
        env={**dict(environment()), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (status, ""), ended.stderr
    assert ended.stderr.startswith("signalbox: ")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.endswith(".\n")
    return ended.stderr


def environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


def endpoint(data_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data_dir / "endpoint.json").read_text())
    return found


def ends(box: Server, seconds: float = SECONDS) -> int:
    """The exit status of a server that ends by itself."""
    return box.process.wait(seconds)


def is_running(box: Server) -> bool:
    return box.get("/queries/status").status == 200 and box.process.poll() is None


def let_go(box: Server) -> None:
    """What happens to the server's stdin when its starter is gone."""
    assert box.process.stdin is not None
    box.process.stdin.close()
    box.process.stdin = None


def test_the_first_line_and_the_file_say_the_same_and_are_true(server: StartServer) -> None:
    box = server()
    assert endpoint(box.data_dir) == box.endpoint
    names = ["url", "read_token", "write_token", "pid", "store", "version", "directory"]
    assert list(box.endpoint) == names
    assert box.endpoint["pid"] == box.process.pid
    status = box.get("/queries/status").json()
    assert (status["store"], status["version"]) == (box.store, box.endpoint["version"])
    assert len({box.read_token, box.write_token}) == 2
    assert min(len(box.read_token), len(box.write_token)) >= 32


def test_it_listens_on_this_computer_alone(server: StartServer) -> None:
    port = f"{server().port:04X}"
    local = {
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    assert [address for address in local if address.endswith(f":{port}")] == [f"0100007F:{port}"]


def test_nobody_else_can_read_its_files(server: StartServer, tmp_path: Path) -> None:
    data_dir = tmp_path / "store"
    box = server(data_dir=data_dir)
    box.set("k", value=1)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data_dir.iterdir()}
    assert set(modes) >= {STORE, f"{STORE}-wal", "endpoint.json"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_and_takes_the_endpoint_away(
    server: StartServer, number: signal.Signals
) -> None:
    box = server()
    box.set("k", value=1)
    box.process.send_signal(number)
    assert ends(box) == 0
    assert not (box.data_dir / "endpoint.json").exists()
    assert not (box.data_dir / f"{STORE}-wal").exists()
    assert box.stderr.read_text() == ""
    assert assert_sound(box.data_dir) == 1


def test_an_endpoint_that_a_crash_left_behind_is_replaced(server: StartServer) -> None:
    first = server()
    first.kill()
    assert endpoint(first.data_dir)["pid"] == first.pid
    again = server(data_dir=first.data_dir)
    assert endpoint(first.data_dir) == again.endpoint
    assert again.pid != first.pid


def test_a_second_server_on_the_same_data_is_refused_and_the_first_goes_on(
    server: StartServer,
) -> None:
    box = server()
    assert str(box.data_dir) in refused(box.data_dir)
    assert "another" in refused(box.data_dir, "--port", "0").lower()
    assert endpoint(box.data_dir) == box.endpoint
    assert is_running(box)


def test_it_takes_its_last_port_again_if_that_is_free(server: StartServer) -> None:
    first = server()
    first.stop()
    again = server(data_dir=first.data_dir)
    assert (again.port, again.store) == (first.port, first.store)
    assert (again.read_token, again.write_token) == (first.read_token, first.write_token)
    again.kill()
    with socket.create_server(("127.0.0.1", first.port)):
        elsewhere = server(data_dir=first.data_dir)
        assert elsewhere.port != first.port
        assert is_running(elsewhere)


def test_a_chosen_port_that_is_taken_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refused(tmp_path / "store", "--port", port)


def test_lingering_ends_when_the_starter_is_gone_and_nothing_is_open(server: StartServer) -> None:
    box = server("--linger", "0")
    assert is_running(box)
    let_go(box)
    assert ends(box) == 0
    assert not (box.data_dir / "endpoint.json").exists()
    assert box.stderr.read_text() == ""


def test_lingering_stays_while_a_stream_is_open(server: StartServer) -> None:
    box = server("--linger", "0")
    with box.stream() as stream:
        stream.until("caught-up")
        let_go(box)
        for number in range(50):
            box.set("k", value=number)
            assert stream.until("change")[-1].data["changes"][0]["value"] == number
        with pytest.raises(subprocess.TimeoutExpired):
            ends(box, 1.0)
    assert ends(box) == 0


def test_lingering_waits_so_many_seconds_after_the_last_request(server: StartServer) -> None:
    box = server("--linger", "1.5")
    let_go(box)
    with pytest.raises(subprocess.TimeoutExpired):
        ends(box, 0.7)
    last = monotonic()
    assert is_running(box)
    assert ends(box) == 0
    assert 1.0 < monotonic() - last < 5


def test_a_connection_that_asks_nothing_does_not_keep_it(server: StartServer) -> None:
    box = server("--linger", "0")
    with Client(box) as client:
        assert client.get("status").status == 200
        let_go(box)
        assert ends(box) == 0


def test_without_linger_it_stays_when_the_starter_is_gone(server: StartServer) -> None:
    box = server()
    let_go(box)
    with pytest.raises(subprocess.TimeoutExpired):
        ends(box, 1.0)
    assert is_running(box)


def test_open_requests_end_before_it_does(server: StartServer) -> None:
    box = server()
    line = b'{"type":"add","key":"n"}\n'
    length = f"Content-Length: {2 * len(line)}"
    kind = f"Content-Type: {NDJSON['Content-Type']}"
    with plain_socket(box) as plain, box.stream(match="n") as stream:
        stream.until("caught-up")
        plain.sendall(head(box, "POST /commands/import", length, kind) + line)
        stream.until("change")
        box.process.send_signal(signal.SIGTERM)
        assert list(stream) == []
        with pytest.raises(ConnectionError):
            box.get("/queries/status")
        plain.sendall(line)
        response = http.client.HTTPResponse(plain)
        response.begin()
        summary = json.loads(response.read().splitlines()[-1])
    assert (summary["status"], summary["accepted"]) == ("accepted", 2)
    assert ends(box) == 0
    assert box.stderr.read_text() == ""
    assert assert_sound(box.data_dir) == summary["revision"]


def test_ending_under_load_loses_nothing_that_was_acknowledged(server: StartServer) -> None:
    box = server()
    told: list[int] = []

    def write() -> None:
        with Client(box) as client:
            try:
                while True:
                    told.append(client.send("add", key="n").json()["revision"])
            except (OSError, http.client.HTTPException):
                return

    threads = [Thread(target=write, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    with box.stream(match="n") as stream:
        while stream.until("change")[-1].data["revision"] < 500:
            pass
    assert box.stop() == 0
    for thread in threads:
        thread.join(SECONDS)
    assert box.stderr.read_text() == ""
    assert assert_sound(box.data_dir) >= max(told)


def made(server: StartServer, *statements: str) -> Path:
    """A store that was closed in order and then altered by `statements`."""
    box = server()
    box.set("k", value=1)
    box.stop()
    connection = apsw.Connection(str(box.data_dir / STORE))
    for statement in statements:
        connection.execute(statement)
    connection.close()
    return box.data_dir


def test_a_store_of_a_newer_version_is_left_alone_with_a_clear_line(server: StartServer) -> None:
    data_dir = made(server, "PRAGMA user_version = 99")
    line = refused(data_dir)
    assert "99" in line
    assert "newer" in line
    connection = apsw.Connection(str(data_dir / STORE))
    assert connection.pragma("user_version") == 99
    connection.close()


def test_events_of_a_newer_version_are_not_served(server: StartServer) -> None:
    line = refused(made(server, "UPDATE transactions SET version = 7"))
    assert "version 7" in line
    assert "newer" in line


@pytest.mark.parametrize("content", [b"not a database at all" * 300, b"SQLite format 3\0" * 500])
def test_a_file_that_is_no_store_is_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / STORE
    path.write_bytes(content)
    assert str(path) in refused(tmp_path)
    assert path.read_bytes() == content


def test_folders_and_files_in_the_wrong_place_are_reported(tmp_path: Path) -> None:
    (tmp_path / "folder" / STORE).mkdir(parents=True)
    assert STORE in refused(tmp_path / "folder")
    (tmp_path / "file").write_text("x")
    assert "file" in refused(tmp_path / "file")
    assert "file" in refused(tmp_path / "file" / "below")


def test_every_setting_may_come_from_the_environment_and_options_win(
    server: StartServer, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {
        "SIGNALBOX_PORT": str(port),
        "SIGNALBOX_ENGINE": "memory",
        "SIGNALBOX_MAX_CONNECTIONS": "7",
        "SIGNALBOX_DATA_DIR": str(tmp_path / "ignored"),
        "SIGNALBOX_LINGER": "0",
    }
    box = server("--engine", "sqlite", env=env)
    status = box.get("/queries/status").json()
    assert box.port == port
    assert status["engine"] == "SQLite"
    assert status["limits"]["connections"] == 7
    assert not (tmp_path / "ignored").exists()
    let_go(box)
    assert ends(box) == 0


BAD = [
    ("port", "abc"),
    ("port", "-1"),
    ("port", "65536"),
    ("engine", "redis"),
    ("linger", "-1"),
    ("linger", "nan"),
    ("linger", "soon"),
    ("max_connections", "0"),
    ("max_connections", "many"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_setting_that_makes_no_sense_is_named_with_its_value(
    tmp_path: Path, name: str, value: str
) -> None:
    variable = {"SIGNALBOX_" + name.upper(): value}
    option = ["--" + name.replace("_", "-"), value]
    for line in (
        refused(tmp_path / "store", env=variable, status=2),
        refused(tmp_path / "store", *option, status=2),
    ):
        assert name in line
        assert repr(value) in line
    assert not (tmp_path / "store").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere everybody may use every port")
def test_a_port_that_this_user_may_not_use_is_not_called_taken(tmp_path: Path) -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if not first:
        pytest.skip("here everybody may use every port")
    rightless = ("setpriv", "--bounding-set=-net_bind_service") if os.geteuid() == 0 else ()
    told = refused(tmp_path, "--port", str(first - 1), through=rightless)
    assert f"The port {first - 1} is one that this user has no right to use" in told
