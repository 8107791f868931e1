"""`--engine` on the command line: where a server is started, and where one runs already."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

from signalbox.server.engines.address import read_address
from signalbox.server.engines.shared_log import CLIENTS, shared_log
from signalbox.server.model.errors import StoreError
from support.brokers import new_log
from support.command_line import Shell
from support.harness import ROOT
from support.raw_http import serving

USAGE, CANNOT_OPEN = 2, 4


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "one")


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_subcommand_starts_its_server_on_the_engine_that_stays_the_stores(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    address = new_log(kind)
    shell.ok("--engine", address, "set", "a", "1")
    assert shell.ok("get", "a") == "1\n"  # the data directory knows where its log is
    assert Shell(tmp_path / "two").ok("--engine", address, "get", "a") == "1\n"
    done = shell("--engine", "sqlite", "get", "a")
    assert (done.status, done.out) == (CANNOT_OPEN, "")
    assert "migrate --to sqlite" in done.err


@pytest.mark.parametrize("kind", ["nats", "redis"])
def test_a_command_line_undoes_what_it_did_and_not_what_that_of_another_node_did(
    shell: Shell, tmp_path: Path, kind: str
) -> None:
    address, other = new_log(kind), Shell(tmp_path / "two")
    for one in (shell, other):
        one.ok("--engine", address, "set", f"by.{one.data_dir.name}", "1")
    shell("import", "--format", "lines", "-", stdin=b"more = 2")
    node = json.loads(shell.ok("status", "--json"))["log"]["node"]
    items = [json.loads(line) for line in shell.ok("ls", "--json").splitlines()]
    assert {one["key"]: one["actor"] == f"cli@{node}" for one in items} == {
        "by.one": True,
        "by.two": False,
        "more": True,
    }
    for _ in range(2):
        shell.ok("undo")
    assert f"cli@{node} has done nothing" in shell("undo").err
    assert shell.ok("ls") == "by.two\t1\n"


def test_a_server_that_runs_with_another_engine_is_not_used(shell: Shell) -> None:
    with serving(shell.data_dir) as server:
        server.set("a", 1)
        assert shell.ok("--engine", "sqlite", "get", "a") == "1\n"
        for asked in (("set", "a", "2"), ()):
            done = shell.as_process("--engine", "nats://user:secret@127.0.0.1:1/lamps", *asked)
            assert (done.status, done.out) == (CANNOT_OPEN, "")
            assert "uses the engine sqlite, not nats://127.0.0.1:1/lamps" in done.err
            assert "secret" not in done.err
        assert server.value("a") == 1


def test_the_engine_that_runs_is_used_whatever_secrets_lead_to_it(shell: Shell) -> None:
    address = new_log("redis")
    with serving(shell.data_dir, "--engine", address):
        shell.ok("--engine", address, "set", "a", "1")
        shell.ok("--engine", address.replace("//", "//default:@"), "get", "a")
        shell.ok("--require-durable", "get", "a")


def test_what_may_be_lost_is_refused_where_it_must_not_be(shell: Shell) -> None:
    with serving(shell.data_dir, "--engine", "memory"):
        done = shell("--require-durable", "get", "a")
        assert (done.status, done.out) == (CANNOT_OPEN, "")
        assert "not durable" in done.err
    done = shell("--require-durable", "--engine", "memory", "get", "a")
    assert (done.status, done.out) == (CANNOT_OPEN, "")
    assert "not durable" in done.err


def test_an_engine_that_nobody_knows_is_a_wrong_use(shell: Shell) -> None:
    done = shell("--engine", "kafka://here", "get", "a")
    assert (done.status, done.out) == (USAGE, "")
    assert "nats://HOST:PORT/STREAM" in done.err


def test_an_engine_that_is_away_is_reported(shell: Shell) -> None:
    done = shell("--engine", "redis://127.0.0.1:1", "get", "a")
    assert (done.status, done.out) == (CANNOT_OPEN, "")
    assert "cannot be reached" in done.err


@pytest.mark.parametrize(("scheme", "package"), [("tls", "nats"), ("redis", "redis")])
def test_a_client_that_is_missing_is_named_with_what_installs_it(
    scheme: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, _, extra = CLIENTS[scheme]
    for name in [name for name in sys.modules if name.split(".")[0] == package or name == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    told = rf"needs the package {package}.*install Signalbox again with its extra \[{extra}\]\.$"
    with pytest.raises(StoreError, match=told):
        shared_log(read_address(f"{scheme}://127.0.0.1"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(one.startswith(package) for one in project["optional-dependencies"][extra])


def test_what_credentials_need_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nkeys", None)
    log = shared_log(read_address("nats://127.0.0.1:1/team?creds=/none"))
    with pytest.raises(StoreError, match=r"needs the package nkeys.*with its extra \[nats\]\.$"):
        log.connect(None)
