"""The window's stream as bytes: regions only when changed, bounded, and never broken by a value."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest

from conftest import StartServer
from support.harness import Server
from support.hostile_inputs import HOSTILE_TEXTS
from support.page_window import set_values

Patch = tuple[str, Any]
"""`("elements", html)` or `("signals", {...})`."""


@pytest.fixture
def box(server: StartServer) -> Server:
    started = server()
    set_values(started, [("lamp.desk.on", True), ("lamp.hall.on", False), ("train.lr", 0.01)])
    return started


@contextmanager
def request(
    box: Server, headers: dict[str, str] | None = None, **ask: Any
) -> Iterator[http.client.HTTPResponse]:
    connection = box.connect()
    path = f"/queries/page?datastar={quote(json.dumps(ask))}"
    connection.request("GET", path, headers={**box.authorization("read"), **(headers or {})})
    response = connection.getresponse()
    try:
        yield response
    finally:
        response.close()
        connection.close()


@contextmanager
def picture(
    box: Server, headers: dict[str, str] | None = None, **ask: Any
) -> Iterator[Iterator[Patch]]:
    with request(box, headers, **ask) as response:
        assert response.status == 200, response.read()
        yield patches(response)


def patches(response: http.client.HTTPResponse) -> Iterator[Patch]:
    """Every patch; each line must be one that an event is made of."""
    kind, data = "", list[str]()
    for line in iter(response.readline, b""):
        field, _, value = line.decode().removesuffix("\n").partition(": ")
        assert field in ("event", "id", "data", "")
        if field == "event":
            kind = value
        elif field == "data":
            data.append(value)
        elif not field:
            yield read(kind, data)
            data = []


def read(kind: str, data: list[str]) -> Patch:
    name = kind.removeprefix("datastar-patch-")
    parts = [line.partition(" ") for line in data]
    assert {part[0] for part in parts} == {name}
    text = "\n".join(part[2] for part in parts)
    return name, json.loads(text) if name == "signals" else text


def frame(stream: Iterator[Patch]) -> tuple[dict[str, str], dict[str, Any]]:
    """The next frame's regions by their ids, and its signals."""
    regions: dict[str, str] = {}
    for kind, content in stream:
        if kind == "signals":
            return regions, content
        regions[content.split('id="', 1)[1].split('"', 1)[0]] = content
    raise AssertionError("The stream ended.")


def test_the_first_frame_has_every_region_and_the_next_only_what_changed(box: Server) -> None:
    with picture(box) as stream:
        regions, signals = frame(stream)
        assert set(regions) == {"rows", "found", "about", "fact", "tree", "ticks", "foot"}
        assert signals["_total"] == signals["_keys"] == 3
        box.set("train.lr", 0.02)
        changed: dict[str, str] = {}
        # The status line may come by itself: its rate goes down, or it rests after a slow look.
        while not {"rows", "ticks", "foot"} <= set(changed):
            changed |= frame(stream)[0]
        assert set(changed) == {"rows", "ticks", "foot"}
        assert "0.02" in changed["rows"]


def test_a_region_that_the_window_has_is_not_sent_again(box: Server) -> None:
    with picture(box) as stream:
        _, signals = frame(stream)
    have = signals["_have"]
    with picture(box, key="train.lr", have=have) as stream:
        regions, _ = frame(stream)
        assert {"about", "fact"} <= set(regions)
        assert "tree" not in regions


def test_what_a_request_claims_to_have_is_not_believed_when_it_is_sent_again(box: Server) -> None:
    with picture(box) as stream:
        _, signals = frame(stream)
    with picture(box, {"Last-Event-ID": "1"}, have=signals["_have"]) as stream:
        regions, _ = frame(stream)
        assert {"rows", "tree", "foot"} <= set(regions)


def test_rows_come_before_a_count_that_takes_longer(box: Server) -> None:
    with picture(box, text="lamp") as stream:
        regions, signals = frame(stream)
        assert "lamp.desk.on" in regions["rows"]
        assert signals["_total"] == -1
        assert "counting…" in regions["found"]
        regions, signals = frame(stream)
        assert signals["_total"] == 2
        assert "2 found" in regions["found"]


def test_a_position_behind_the_end_shows_the_end(box: Server) -> None:
    ask: dict[str, Any] = {"from": 5000, "rows": 2}
    with picture(box, **ask) as stream:
        regions, _ = frame(stream)
        assert 'data-from="1"' in regions["rows"]
        assert "train.lr" in regions["rows"]


def test_a_held_picture_stands_still_and_counts(box: Server) -> None:
    with picture(box, hold=True) as stream:
        frame(stream)
        box.set("train.lr", 0.02)
        regions, signals = frame(stream)
        assert set(regions) <= {"foot"}
        assert signals["_waiting"] == 1


def test_outcomes_come_to_the_window_that_sent_the_command_and_to_no_other(box: Server) -> None:
    with picture(box, actor="window.a") as mine, picture(box, actor="window.b") as other:
        frame(mine)
        frame(other)
        box.post({"type": "add", "key": "lamp.hall.on", "actor": "window.a", "id": "c1"})
        box.set("train.lr", 3)
        _, signals = frame(mine)
        assert [o["id"] for o in json.loads(signals["_outcomes"])] == ["c1"]
        _, signals = frame(other)
        assert json.loads(signals.get("_outcomes", "[]")) == []


def test_no_value_breaks_the_lines_of_an_event(box: Server) -> None:
    set_values(box, [(f"h.{n:02}", text) for n, text in enumerate(HOSTILE_TEXTS)])
    with picture(box, key="h.11") as stream:
        regions, _ = frame(stream)
        assert "forged" not in regions["foot"]
        fact = regions["fact"].split(">", 1)[1].removesuffix("</data>")
        assert json.loads(unescape(fact)) == HOSTILE_TEXTS[11]


REFUSED: list[dict[str, Any]] = [
    {"rows": 0},
    {"rows": 10_000},
    {"from": -1},
    {"view": "passwords"},
    {"sort": "size"},
    {"type": "date"},
    {"prefix": "<b>"},
    {"open": [["lamp.", 10**9]]},
    {"actor": "a b"},
    {"text": "x" * 501},
    {"hold": "yes"},
]


def test_parameters_that_no_window_sends_are_refused_by_name(box: Server) -> None:
    for ask in REFUSED:
        with request(box, **ask) as response:
            assert response.status == 422, ask
            body = json.loads(response.read())
        assert body["code"] == "invalid"
        assert next(iter(ask)) in body["message"]


def test_a_window_that_goes_is_noticed_at_once(box: Server) -> None:
    with request(box) as response:
        frame(patches(response))
        assert box.get("/queries/status").json()["streams"] == 1
    for n in range(100):
        box.set("n", n)
        if box.get("/queries/status").json()["streams"] == 0:
            return
    raise AssertionError("The stream is still open.")


def test_a_window_that_does_not_read_is_sent_the_latest_and_not_everything(box: Server) -> None:
    count = 600
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        reader.settimeout(20)
        reader.connect(("127.0.0.1", box.port))
        ask = quote(json.dumps({"key": "big"}))
        token = box.authorization("read")["Authorization"]
        head = f"GET /queries/page?datastar={ask} HTTP/1.0\r\nHost: 127.0.0.1:{box.port}\r\n"
        reader.sendall(f"{head}Authorization: {token}\r\n\r\n".encode())
        for n in range(count):
            box.set("big", f"{n:05}" + "x" * 200_000)
        end, tail, frames = f"{count - 1:05}xxx".encode(), b"", 0
        while end not in tail:
            part = reader.recv(1 << 20)
            assert part, "The stream ended before the last value came."
            frames += part.count(b'id="fact"')
            tail = tail[-20:] + part
    # What the sockets hold and then the last: in that time 90 could have been made.
    assert frames < 45
