"""Whoever else listens where a server was gets a random number and nothing else."""

import hashlib
import hmac
import json
import logging
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import expect

import signalbox.client
from support.desktop_window import PROGRAM
from support.harness import SECONDS, Server
from support.other_program import OtherProgram, SlowAnswer, other_program, slow_program
from support.page_login import NONCE, query_hello, window_key, window_secret
from support.page_window import OpenWindow


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "store")
    server.set("lamp.level", 70)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that runs through all tests."""
    server = Server(tmp_path_factory.mktemp("steady") / "store")
    yield server
    server.kill()


def assert_only_nonces(stranger: OtherProgram, box: Server) -> None:
    """All that was sent is the request for a proof, and that was sent."""
    assert stranger.seen
    for request in stranger.seen:
        line, _, rest = request.partition("\n")
        assert line.startswith("GET /hello?nonce=")
        assert "authorization" not in rest.lower()
        assert "cookie" not in rest.lower()
        for token in (box.read_token, box.write_token, "lamp", "secret-value"):
            assert token not in request
    nonces = [request.splitlines()[0] for request in stranger.seen]
    assert len(set(nonces)) == len(nonces)


ACTS: Final[dict[str, Callable[[signalbox.Box], Any]]] = {
    "get": lambda box: box.get("lamp.level"),
    "set": lambda box: box.set("lamp.level", "secret-value"),
    "login": lambda box: box.login(),
    "watch": lambda box: next(box.watch("lamp.**")),
    "compact": lambda box: box.compact(),
}


@pytest.mark.parametrize("role", ["read", "write"])
@pytest.mark.parametrize("act", ACTS)
def test_a_client_sends_a_stranger_nothing(
    steady: Server, act: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalbox.client, "SERVER_TIMEOUT", 0.0)
    token = {"read": steady.read_token, "write": steady.write_token}[role]
    with other_program() as stranger, signalbox.Box(stranger.url, token) as box:
        with pytest.raises(signalbox.Stranger, match="Something else listens on") as got:
            ACTS[act](box)
        assert str(stranger.server_port) in str(got.value)
        assert f"pid {os.getpid()}" in str(got.value)
        assert_only_nonces(stranger, steady)


def test_a_connection_that_is_made_anew_is_proved_anew(
    box: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalbox.client, "SERVER_TIMEOUT", 0.2)
    with signalbox.connect(url=box.url, token=box.write_token) as client:
        assert client["lamp.level"] == 70
        box.kill()
        with other_program(box.port) as stranger:
            with pytest.raises(signalbox.Stranger):
                client["lamp.level"] = "secret-value"
            assert_only_nonces(stranger, box)
        again = Server(box.data_dir)
        try:
            assert client["lamp.level"] == 70
        finally:
            again.kill()


def test_the_proof_is_of_nonce_address_store_and_directory(steady: Server) -> None:
    told = query_hello(steady)
    found = steady.data_dir.stat()
    assert told["directory"] == steady.endpoint["directory"] == f"{found.st_dev}:{found.st_ino}"
    assert told["store"] == steady.store
    place = f"127.0.0.1:{steady.port}\n{steady.store}\n{told['directory']}"
    text = f"signalbox hello\n{NONCE}\n{place}".encode()
    for name, token in (("read", steady.read_token), ("write", steady.write_token)):
        wanted = hmac.new(token.encode(), text, hashlib.sha256).hexdigest()
        assert told["proofs"][name] == wanted
    assert query_hello(steady, NONCE + "x")["proofs"] != told["proofs"]


@pytest.mark.parametrize("nonce", ["", "short", "x" * 129, "%00" * 16, "a b" * 8, "a%0Ab" * 8])
def test_what_is_no_nonce_is_refused(steady: Server, nonce: str) -> None:
    path = f"/hello?nonce={nonce.replace(' ', '%20')}"
    answer = steady.request("GET", path, token=None)
    assert (answer.status, answer.json()["code"]) == (422, "invalid")


def test_a_stranger_who_has_the_true_server_prove_it_gets_nowhere(steady: Server) -> None:
    """It passes the nonce on, and what an earlier nonce was answered with."""
    with other_program() as stranger:
        stranger.page = json.dumps(query_hello(steady))
        with pytest.raises(signalbox.Stranger):
            signalbox.connect(url=stranger.url, token=steady.write_token)
        stranger.answer_with = lambda path: steady.request("GET", path, token=None).body.decode()
        with pytest.raises(signalbox.Stranger):
            signalbox.connect(url=stranger.url, token=steady.write_token)
        assert_only_nonces(stranger, steady)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "null",
        "[]",
        "[" * 4000,
        '{"store": 1}',
        '{"store": "a", "directory": "b", "proofs": null}',
        '{"store": "a", "directory": "b", "proofs": {"read": "", "write": null}}',
        '{"store": "a", "directory": "b", "proofs": {"read": "ÿ", "write": 1}}',
        "x" * 1_000_000,
    ],
    ids=range(9),
)
def test_whatever_a_stranger_says_it_is_one(steady: Server, said: str) -> None:
    with other_program() as stranger:
        stranger.page = said
        for status in (200, 401, 404, 500):
            stranger.status = status
            with pytest.raises(signalbox.Stranger):
                signalbox.connect(url=stranger.url, token=steady.read_token)


def test_a_token_of_another_store_is_not_sent(box: Server, steady: Server) -> None:
    with pytest.raises(signalbox.Stranger, match="does not know this token"):
        signalbox.connect(url=box.url, token=steady.write_token)


def test_who_has_a_crashed_servers_port_is_reported_and_another_is_started(
    box: Server, caplog: pytest.LogCaptureFixture
) -> None:
    box.kill()
    with other_program(box.port) as stranger:
        with pytest.raises(signalbox.NotRunning):
            signalbox.connect(data_dir=box.data_dir, start=False)
        with caplog.at_level(logging.WARNING), signalbox.connect(data_dir=box.data_dir) as client:
            assert client["lamp.level"] == 70
            assert client.url != box.url
        assert f"Something else listens on 127.0.0.1:{box.port}" in caplog.text
        assert caplog.text.count("Something else") == 1
        assert_only_nonces(stranger, box)


@pytest.mark.parametrize(
    "how",
    [
        SlowAnswer(b"", b"H", 0.05),
        SlowAnswer(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
        SlowAnswer(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
        SlowAnswer(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n", 0.05),
        SlowAnswer(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n", b" ", 0.05),
        SlowAnswer(b"HTTP/1.1 429 Wait\r\n\r\n", b" ", 0.0),
    ],
    ids=["a word", "a flood", "continuing", "a head", "a body", "a refusal"],
)
def test_who_never_comes_to_an_end_is_not_waited_for(
    steady: Server,
    tmp_path: Path,
    how: SlowAnswer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As the port of a crashed server is found: where it may hang for good, it is soon given up."""
    monkeypatch.setattr(signalbox.client, "PROBE_TIMEOUT", 0.3)
    found = tmp_path.stat()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    left = {"url": f"http://127.0.0.1:{port}", "directory": f"{found.st_dev}:{found.st_ino}"}
    (tmp_path / "endpoint.json").write_text(json.dumps({**steady.endpoint, **left}))
    with slow_program(port, how) as gave_up, caplog.at_level(logging.WARNING):
        assert signalbox.find(tmp_path) is None
        assert not gave_up.is_set()
    is_busy = b"429" in how.first
    assert is_busy or f"Something else listens on 127.0.0.1:{port}" in caplog.text


def test_the_command_line_goes_on_and_tells(box: Server) -> None:
    box.kill()
    with other_program(box.port) as stranger:
        ended = subprocess.run(
            [PROGRAM, "get", "lamp.level", "--data-dir", box.data_dir],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
        assert ended.stdout == "70\n"
        assert f"Something else listens on 127.0.0.1:{box.port}" in ended.stderr
        assert_only_nonces(stranger, box)


def test_an_open_page_sends_a_stranger_nothing_and_goes_on_when_the_server_is_back(
    box: Server, open_window: OpenWindow
) -> None:
    window = open_window(box)
    window.choose("lamp.level")
    window.errors = []
    box.kill()
    with other_program(box.port) as stranger:
        stranger.headers = [("Access-Control-Allow-Origin", "*")]
        window.press("Enter")
        window.type("71")
        window.press("Enter")
        window["[data-view=activity]"].click()
        expect(window["#saved"]).to_contain_text("Something else listens on 127.0.0.1:")
        expect(window["#saved"]).to_contain_text(str(box.port))
        stranger.await_requests(len(stranger.seen) + 3)
        assert_only_nonces(stranger, box)
    again = Server(box.data_dir)
    try:
        expect(window["#saved"]).to_have_text("All changes saved", timeout=20_000)
        assert again.value("lamp.level") == 71
    finally:
        window.errors = [one for one in window.errors if "Something else" not in one]
        again.kill()


def test_what_a_page_sends_is_not_its_secret_and_good_for_one_run_alone(box: Server) -> None:
    secret = window_secret(box)
    key = window_key(box, secret)
    assert box.request("GET", "/queries/status", token=key).status == 200
    assert box.request("GET", "/queries/status", token=secret).status == 401
    box.stop()
    again = Server(box.data_dir)
    try:
        assert again.port == box.port
        assert again.request("GET", "/queries/status", token=key).status == 401
        assert (
            again.request("GET", "/queries/status", token=window_key(again, secret)).status == 200
        )
    finally:
        again.kill()


def test_a_secret_that_a_page_had_at_one_port_opens_nothing_at_another(box: Server) -> None:
    """Who has the port after a crash has the page's origin, and so what it kept."""
    secret = window_secret(box)
    box.kill()
    with other_program(box.port):
        again = Server(box.data_dir)
        try:
            assert again.port != box.port
            answer = again.request("GET", "/queries/status", token=window_key(again, secret))
            assert answer.status == 401
        finally:
            again.kill()


def test_the_page_is_at_the_address_alone_that_is_ours(steady: Server) -> None:
    """The name localhost may lead to ::1, where a stranger could listen."""
    host = {"Host": f"localhost:{steady.port}"}
    answer = steady.request("GET", "/", headers=host, token=None)
    assert (answer.status, answer.headers["location"]) == (307, f"{steady.url}/")


def copied(box: Server, name: str = "copy") -> Path:
    target = box.data_dir.with_name(name)
    shutil.copytree(box.data_dir, target)
    return target


def test_a_copied_folder_does_not_lead_to_the_original(box: Server) -> None:
    target = copied(box)
    assert signalbox.find(box.data_dir) is not None
    assert signalbox.find(target) is None
    with signalbox.connect(data_dir=target) as client:
        client["lamp.level"] = "changed"
    assert box.value("lamp.level") == 70


def test_a_folder_that_was_moved_with_its_server_is_found(box: Server) -> None:
    moved = box.data_dir.rename(box.data_dir.with_name("moved"))
    found = signalbox.find(moved)
    assert found is not None
    assert found.url == box.url
    link = moved.with_name("link")
    link.symlink_to(moved)
    assert signalbox.find(link) == found


def test_the_server_of_a_copy_is_not_taken_for_the_crashed_original(box: Server) -> None:
    """It has the same store, the same tokens and, here, the port that the original had."""
    target = copied(box)
    box.kill()
    other = Server(target, "--port", str(box.port))
    try:
        assert other.store == box.store
        assert signalbox.find(box.data_dir) is None
        held = signalbox.Box(
            box.url, box.write_token, directory=box.endpoint["directory"], silence=SECONDS
        )
        with held, pytest.raises(signalbox.Stranger):
            held.get("lamp.level")
    finally:
        other.kill()


def test_a_copy_leaves_the_originals_port_free(box: Server) -> None:
    target = copied(box)
    box.stop()
    other = Server(target)
    try:
        assert other.port != box.port
        again = Server(box.data_dir)
        assert again.port == box.port
        again.kill()
    finally:
        other.kill()
