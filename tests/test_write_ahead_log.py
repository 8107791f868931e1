"""The write-ahead log is used again from its start instead of growing with each commit."""

from concurrent.futures import ThreadPoolExecutor

from conftest import StartServer
from signalbox.server.store.file_names import STORE_FILE
from support.harness import Server
from support.raw_http import Client

MAX_BYTES = 8 * 1024 * 1024
SENDERS = 4
SETS = 500


def send(server: Server, sender: int) -> None:
    with Client(server) as client:
        for number in range(SETS):
            client.send("set", key=f"key.{sender}.{number}", value=number)


def test_it_stays_small_while_many_write(server: StartServer) -> None:
    """Each of these commits adds pages: together some ten times as much."""
    one = server()
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(lambda sender: send(one, sender), range(SENDERS)))
    assert one.get("/queries/status").json()["revision"] == SENDERS * SETS
    log = one.data_dir / f"{STORE_FILE}-wal"
    assert 0 < log.stat().st_size < MAX_BYTES
