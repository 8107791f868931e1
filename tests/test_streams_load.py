"""Many streams, slow ones and those that vanish: the writer never waits, memory stays bounded."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from struct import pack
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest

from conftest import StartServer
from signalbox.server.http.api.streams import HEARTBEAT_SECONDS
from support.harness import SECONDS, Server, Stream
from support.raw_http import Block, Client, blocks, head, memory, plain_socket, serving

PROMISED_SECONDS = 15.0

MIB = 1024 * 1024
BIG = "x" * 100_000
MANY = 300


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "store") as server:
        yield server


def reach(claim: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Whether `claim` comes true in time; each look is a request or takes no time."""
    end = monotonic() + seconds
    while monotonic() < end:
        if claim():
            return True
    return False


def open_streams(client: Client) -> int:
    return int(client.get("status").json()["streams"])


def lazy_reader(box: Server, query: str = "") -> socket.socket:
    """A stream that nobody reads; only a few kilobytes fit between server and reader."""
    plain = plain_socket(box, receive_buffer=4_096)
    plain.sendall(head(box, f"GET /queries/stream{query}"))
    return plain


def revisions(lines: Iterator[bytes], last: int) -> Iterator[int]:
    """The revisions of the change events, up to `last`."""
    for line in lines:
        if line.startswith(b'data: {"revision"') and b'"changes"' in line:
            revision = int(json.loads(line[6:])["revision"])
            yield revision
            if revision >= last:
                return


def test_a_reader_that_does_not_read_costs_little_and_delays_nobody(box: Server) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(Client(box))
        client.send("set", key="big.k", value="begin")
        lazy = [stack.enter_context(lazy_reader(box, "?after=0&acks=1")) for _ in range(20)]
        quick = stack.enter_context(box.stream(match="mark"))
        quick.until("caught-up")
        assert reach(lambda: open_streams(client) == 21)
        before, writes = memory(box), 300
        for number in range(writes):
            assert client.send("set", key="big.k", value=f"{number}{BIG}").status == 200
            if number % 30 == 0:
                client.send("set", key="mark", value=number)
                assert quick.until("change")[-1].data["changes"][0]["value"] == number
        assert memory(box) - before < 60 * MIB  # 20 readers times 30 MiB lie unread
        last = client.get("status").json()["revision"]
        read = list(revisions(iter(lazy[0].makefile("rb")), last))
    assert read == list(range(1, last + 1))


def test_a_snapshot_for_a_reader_that_does_not_read_costs_one_page_at_most(box: Server) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(Client(box))
        for number in range(300):
            client.send("set", key=f"big.{number}", value=BIG)
        before = memory(box)
        for _ in range(10):
            stack.enter_context(lazy_reader(box))
        assert reach(lambda: open_streams(client) == 10)
        assert client.send("set", key="k", value="still quick").status == 200
        assert memory(box) - before < 120 * MIB  # the snapshots have 300 MiB together


def closed(plain: socket.socket) -> None:
    plain.close()


def reset(plain: socket.socket) -> None:
    """Close at once, as when the process is killed with unread data."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    plain.close()


def half_closed(plain: socket.socket) -> None:
    plain.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("leave", [closed, reset, half_closed])
def test_readers_that_left_are_noticed_at_once(
    box: Server, leave: Callable[[socket.socket], None]
) -> None:
    """Long before a heartbeat would find out, and though nothing is written."""
    with Client(box) as client:
        readers = [lazy_reader(box) for _ in range(50)]
        assert reach(lambda: open_streams(client) == 50)
        for plain in readers[5:]:
            leave(plain)
        assert reach(lambda: open_streams(client) == 5, seconds=5)
        for plain in readers:
            plain.close()
        assert reach(lambda: open_streams(client) == 0, seconds=5)


def test_a_slow_reader_that_leaves_is_noticed_too(box: Server) -> None:
    with Client(box) as client, ExitStack() as stack:
        readers = [stack.enter_context(lazy_reader(box, "?after=0")) for _ in range(10)]
        for number in range(100):
            client.send("set", key="big", value=f"{number}{BIG}")
        assert reach(lambda: open_streams(client) == 10)
        for plain in readers:
            reset(plain)
        assert reach(lambda: open_streams(client) == 0, seconds=5)


def test_hundreds_of_streams_all_get_every_change(box: Server) -> None:
    with ExitStack() as stack:
        client = stack.enter_context(Client(box))
        streams = [stack.enter_context(box.stream(match="all.**")) for _ in range(MANY)]
        for stream in streams:
            stream.until("caught-up")
        sent = [client.send("add", key="all.n").json()["revision"] for _ in range(20)]
        assert open_streams(client) == MANY
        for stream in streams:
            seen = [stream.until("change")[-1].data["revision"] for _ in sent]
            assert seen == sent


@contextmanager
def writing(box: Server) -> Iterator[None]:
    """Somebody else writes all the time."""
    over = Event()

    def write() -> None:
        with Client(box) as client:
            while not over.is_set():
                client.send("add", key="noise.n")

    threads = [Thread(target=write, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(SECONDS)


def test_who_is_caught_up_gets_the_ack_of_what_is_sent_from_now_on(box: Server) -> None:
    """Also among many streams, and though others write all the time."""
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(box.stream(match="nothing")).until("caught-up")
        stack.enter_context(writing(box))
        client = stack.enter_context(Client(box))
        for number in range(60):
            with box.stream(match="mine.*", acks=True) as stream:
                stream.until("caught-up")
                outcome = client.send("set", key="mine.k", value=number).json()
                changed = False
                for event in stream:
                    changed = changed or event.name == "change"
                    if event.name == "ack" and event.data["id"] == outcome["id"]:
                        break
                assert changed


def test_streams_opened_under_load_have_neither_gap_nor_repetition(box: Server) -> None:
    with writing(box):
        for _ in range(30):
            with box.stream(match="noise.n") as stream:
                events = stream.until("caught-up")
                for _ in range(20):
                    events += stream.until("change")
            snapshot, *changes = [event.data for event in events if event.name != "caught-up"]
            value = snapshot["items"][0]["value"] if snapshot["items"] else 0
            for step, data in enumerate(changes, start=1):
                assert data["revision"] == snapshot["revision"] + step
                assert data["changes"][0]["value"] == value + step


def test_an_idle_stream_hears_a_comment_with_its_position(server: StartServer) -> None:
    """The position goes on where nothing matches, so that resuming does not read the log again."""
    assert HEARTBEAT_SECONDS < PROMISED_SECONDS
    box = server(limits={"signalbox.server.http.api.streams.HEARTBEAT_SECONDS": 0.5})
    with box.stream(match="nothing") as quiet, Client(box) as client:
        quiet.until("caught-up")
        last = client.send("set", key="other", value=1).json()["revision"]
        beat = next(block for block in comments(quiet) if block.id == f"{box.store}:{last}")
    assert (beat.event, beat.data) == (None, None)


def comments(stream: Stream) -> Iterator[Block]:
    return (block for block in blocks(stream) if block.comment is not None)


def test_streams_end_when_the_server_is_told_to_end(server: StartServer) -> None:
    box = server()
    with ExitStack() as stack:
        streams: list[Any] = [stack.enter_context(box.stream()) for _ in range(20)]
        lazy = stack.enter_context(lazy_reader(box))
        for stream in streams:
            stream.until("caught-up")
        assert box.stop() == 0
        assert [list(stream) for stream in streams] == [[]] * 20
        while lazy.recv(65_536):
            pass
    assert box.stderr.read_text() == ""
