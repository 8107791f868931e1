"""Signalbox for scripts: one file, standard library alone, free to copy.

import signalbox
box = signalbox.connect(actor="train.py")
box["train.lr"] = 0.01
for change in box.watch("train.*"): ...
"""

from __future__ import annotations

import contextlib
import hmac
import io
import json
import logging
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

Moment = int | str | datetime
"""A revision, or a time (ISO 8601 as text): then the last revision not later is meant."""

CANNOT_OPEN: Final = 4
"""The server's exit status where another one owns the data directory, or it cannot be used."""
IN_USE: Final = "Another Signalbox server"
"""How the server begins to say that it is the former."""
PATIENCE: Final = 10.0
"""Seconds to wait for a server that somebody else is starting, or that is coming back."""
PAUSE: Final = 0.05
GLANCE: Final = 2.0
"""Seconds within which a server that runs says so; whatever else has its port may say nothing."""
AT_ONCE: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Opening a file waits for nobody, also where a pipe is in its place."""
SAFE_DIGITS: Final = 4_000
BUSY: Final = 429
"""What a server answers that has all connections in use."""
LONGEST_HELLO: Final = 4_096
"""Bytes of the answer that proves who answers, head and all."""
SILENCE: Final = 45.0
"""Seconds of silence after which a stream is opened anew; the server breaks it every 15."""


class NotRunning(Exception):
    """No server could be found or started."""


class Stranger(NotRunning):
    """Something else listens where the server should. It got nothing but a random number."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"Something else listens on {address}{_listener(address)}, or a server that does not "
            "know this token. It got nothing but a random number."
        )
        self.address = address


class Rejected(Exception):
    """The server refused: `code` is stable, `message` says why, the others help where set.

    Where it is not even known whether it was written (`is_known`), the outcome comes later, under
    `id`; sent again under the same id it is never written twice.
    """

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(status, body)  # as given, so that it can be pickled
        self.status = status
        self.code: str = body.get("code", "internal")
        self.message: str = body.get("message", "")
        self.id: str | None = body.get("id")
        self.key: str | None = body.get("key")
        self.keys: list[str] = body.get("keys", [])
        self.revision: int | None = body.get("revision")
        self.limit: int | None = body.get("limit")
        self.of: list[str] = body.get("of", [])
        self.effects: list[dict[str, Any]] = body.get("effects", [])
        self.is_known: bool = body.get("status") != "unknown"

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


_UNREACHABLE: Final = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    HTTPException,
    NotRunning,
    Rejected,
)
"""What looking for a server may meet where none is."""


class Endpoint(NamedTuple):
    """Where a server listens and what opens it, as `endpoint.json` says.

    `directory` is where the file lies, as device and inode: a copy of the file lies elsewhere.
    `node` is the server's own name among those that share a store.
    """

    url: str
    read_token: str
    write_token: str
    pid: int
    store: str
    version: str
    directory: str
    node: str | None = None


class Change(NamedTuple):
    """A key's value as it is (`is_current`), or as it became; then with `actor` and `at`."""

    key: str
    value: Any
    revision: int
    deleted: bool = False
    is_current: bool = False
    actor: str | None = None
    at: str | None = None
    id: str | None = None


class Version(NamedTuple):
    """What one transaction made of a key."""

    key: str
    value: Any
    revision: int
    deleted: bool
    actor: str
    at: str
    id: str
    type: str


class Difference(NamedTuple):
    """A key's values at two moments; `added` where it was not there before, `removed` after."""

    key: str
    before: Any
    after: Any
    added: bool
    removed: bool


def connect(
    actor: str | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    start: bool = True,
) -> Box:
    """A client of the running app; where none runs, of a server that is started for us.

    With `url` and `token` nothing is looked for or started. Raises `NotRunning`.
    """
    if url is not None:
        box = Box(url, token or "", actor)
        box.query("status")
        return box
    folder = at_home(data_dir) if data_dir else default_data_dir()
    return Box("", "", actor, _Source(folder, start))


def at_home(folder: str | os.PathLike[str]) -> Path:
    """The path of a folder, in which `~` is a home.

    Raises `NotRunning` where nobody has that, or where no store can be.
    """
    try:
        path = Path(folder).expanduser().absolute()
        str(path).encode()
    except RuntimeError:
        raise NotRunning(f"The data directory {folder} is in the home of nobody here.") from None
    except UnicodeEncodeError:
        raise NotRunning(
            f"The data directory {str(path)!r} is not UTF-8; SQLite opens no other path."
        ) from None
    return path


def default_data_dir() -> Path:
    """`SIGNALBOX_DATA_DIR`, else the user's data folder as platformdirs finds it.

    Raises `NotRunning` where the variable is empty: a script that has not set it means another one.
    """
    if given := os.environ.get("SIGNALBOX_DATA_DIR"):
        return at_home(given)
    if given == "":
        raise NotRunning("SIGNALBOX_DATA_DIR is empty; it is the folder of the store.")
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "signalbox"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/signalbox"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "signalbox"


def find(data_dir: Path) -> Endpoint | None:
    """The server that serves `data_dir` now.

    None where `endpoint.json` is missing, left over, or came with a copy of another folder.
    """
    try:
        if (endpoint := _announced(data_dir)) is not None:
            _meet(endpoint)
    except Stranger as error:
        _warn(error)
        return None
    except _UNREACHABLE:
        return None
    return endpoint


def hanging_process(data_dir: Path) -> int | None:
    """The process of the server of `data_dir` where it takes connections but does not answer."""
    endpoint = None
    try:
        if (endpoint := _announced(data_dir)) is not None:
            _meet(endpoint)
    except TimeoutError:
        return endpoint.pid if endpoint else None
    except _UNREACHABLE:
        pass
    return None


def _announced(data_dir: Path) -> Endpoint | None:
    """What `endpoint.json` says, unless it came with a copy of another folder."""
    endpoint = _endpoint(_plain(data_dir / "endpoint.json"))
    return endpoint if endpoint.directory == _directory(data_dir) else None


def _meet(endpoint: Endpoint) -> None:
    """Have the server prove that it is there; `TimeoutError` where it says nothing."""
    token, directory = endpoint.read_token, endpoint.directory
    with Box(endpoint.url, token, silence=GLANCE, directory=directory) as box:
        box.open()


def _hangs(data_dir: Path) -> NotRunning | None:
    """What to do about a server that takes connections but does not answer."""
    if (pid := hanging_process(data_dir)) is None:
        return None
    return NotRunning(
        f"The server (process {pid}) does not answer. Wait until it does, or end that process: "
        "what it has acknowledged is kept."
    )


_warned: set[str] = set()


def _warn(stranger: Stranger) -> None:
    """Tell once who has the port that a server had before it crashed; another one is started."""
    if stranger.address not in _warned:
        _warned.add(stranger.address)
        logging.getLogger("signalbox").warning("signalbox: %s", stranger)


def _directory(path: Path) -> str:
    """As `Endpoint.directory` has it."""
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _listener(address: str) -> str:
    """Which program listens there, in brackets; empty where the system does not tell."""
    try:
        psutil: Any = import_module("psutil")
    except ImportError:
        return ""
    port = int(address.rpartition(":")[2])
    try:
        found = [one for one in psutil.net_connections("tcp") if one.laddr[1:] == (port,)]
        pids = {one.pid for one in found if one.status == psutil.CONN_LISTEN}
        names = [f"{psutil.Process(pid).name()}, pid {pid}" for pid in pids if pid is not None]
    except (OSError, psutil.Error):
        return ""
    if not pids:
        return ""
    return f" ({'; '.join(names) or 'a program of another user'})"


def await_endpoint(data_dir: Path, seconds: float = PATIENCE) -> Endpoint:
    """The server that somebody else is starting. Raises `NotRunning` when it does not come."""
    end = time.monotonic() + seconds
    while (endpoint := find(data_dir)) is None:
        if time.monotonic() > end:
            raise NotRunning(f"No server answers for {data_dir}, but one holds its lock.")
        time.sleep(PAUSE)
    return endpoint


def main() -> int:
    """What `signalbox` on the command line runs where a copy of this file hides the program."""
    print(
        f"signalbox: {__file__} is a copy of the client, and is found where the program should be. "
        "Rename it, or take its folder off PYTHONPATH.",
        file=sys.stderr,
    )
    return CANNOT_OPEN


def bundled_program() -> Path | None:
    """The program with a console of the bundle that this runs in; None where it is none of ours."""
    program = Path(sys.executable)
    if not getattr(sys, "frozen", False) or not program.stem.lower().startswith("signalbox"):
        return None
    return program.with_name("signalbox-cli.exe") if sys.platform == "win32" else program


def serve_command(data_dir: Path) -> list[str]:
    """The command that starts a server which ends with whoever holds its stdin open."""
    if bundled := bundled_program():
        program = [str(bundled), "serve"]
    elif __name__ == "signalbox.client":  # and no copy of this file
        # -P: a script's folder may hold a `signalbox.py`.
        program = [sys.executable, "-P", "-m", "signalbox.server"]
    elif installed := shutil.which("signalbox"):
        program = [installed, "serve"]
    else:
        raise NotRunning("No server runs, and there is no `signalbox` on PATH to start one.")
    return [*program, "--json", "--linger", "0", "--data-dir", str(data_dir)]


def start_server(
    data_dir: Path,
    log: IO[bytes] | None = None,
    starting: Callable[[subprocess.Popen[bytes]], object] = lambda _: None,
    options: Sequence[str] = (),
) -> tuple[Endpoint, subprocess.Popen[bytes] | None]:
    """Start a server, or find that of whoever was faster (then there is no process).

    It runs until its stdin is closed and nobody uses it. What it has to say goes to the end of
    `log`, and into `NotRunning` where it does not start. `starting` is called with each process
    before it is waited for, which may take long. `options` are further ones of `signalbox serve`.
    """
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.nullcontext(log) if log else tempfile.TemporaryFile() as stderr:
            process, line, said = _launch([*serve_command(data_dir), *options], stderr, starting)
        if line:
            return _endpoint(line), process
        status = process.wait()
        is_in_use = status == CANNOT_OPEN and IN_USE in said
        if not is_in_use or time.monotonic() > end:
            raise (is_in_use and _hangs(data_dir)) or NotRunning(_last_words(said, status))
        with contextlib.suppress(NotRunning):  # the other one may just be ending
            return await_endpoint(data_dir, GLANCE), None


def _last_words(said: str, status: int) -> str:
    """Why a server did not start: in its words, unless these are for whoever mends it."""
    if said and "Traceback (most recent call last)" not in said:
        return said
    return f"The server ended with status {status}: `signalbox serve` shows what it said."


def _launch(
    command: list[str], stderr: IO[bytes], starting: Callable[[subprocess.Popen[bytes]], object]
) -> tuple[subprocess.Popen[bytes], bytes, str]:
    """A new server, the line that it printed once it was ready, else what it said instead."""
    begin = stderr.seek(0, os.SEEK_END)
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # the terminal's Ctrl-C is for the script
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would show a console
    )
    starting(process)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
    if line:
        # It may end before us; somebody has to take note of it.
        threading.Thread(target=process.wait, daemon=True).start()
        return process, line, ""
    process.stdin.close()
    process.wait()
    stderr.seek(begin)
    said = stderr.read().decode(errors="replace").strip()
    return process, line, said.removeprefix("signalbox: ")


def _plain(path: Path) -> bytes:
    """What a file has. Raises `OSError`, also for a pipe or device, which would be waited for."""
    number = os.open(path, os.O_RDONLY | AT_ONCE)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path} is no file")
    with os.fdopen(number, "rb") as file:
        return file.read()


def _endpoint(text: bytes) -> Endpoint:
    fields = decoded(text)
    needed = [fields[name] for name in Endpoint._fields if name != "node"]
    return Endpoint._make([*needed, fields.get("node")])


def _why(error: Exception) -> str:
    """What a failed connection means, without the system's own words."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return "it was silent for too long"
    if isinstance(error, (ConnectionError, HTTPException)):
        return "it broke off"
    return f"the connection failed ({type(error).__name__})"


class _Source:
    """Where the endpoint comes from: the data directory, and a server of ours if need be."""

    def __init__(self, data_dir: Path, start: bool) -> None:
        self.data_dir = data_dir
        self._start = start
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def endpoint(self) -> Endpoint:
        with self._lock:
            if (found := find(self.data_dir)) is not None:
                return found
            if not self._start:
                raise _hangs(self.data_dir) or NotRunning(f"No Signalbox runs for {self.data_dir}.")
            self.close()
            found, self._process = start_server(self.data_dir)
            return found

    def close(self) -> None:
        """Let go of our server: it ends as soon as nobody else uses it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


class _Commands:
    """The commands by name; what happens to one is up to `_send`."""

    def _send(self, command: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def set(self, key: str, value: Any, *, expect: Any = None) -> dict[str, Any]:
        """`expect`: a revision of the key, "absent", "present", or {"store_revision": n}."""
        return self._send({"type": "set", "key": key, "value": value, **_expect(expect)})

    def delete(self, key: str, *, expect: Any = None) -> dict[str, Any]:
        return self._send({"type": "delete", "key": key, **_expect(expect)})

    def delete_prefix(self, prefix: str, *, expect: Any = None) -> dict[str, Any]:
        return self._send({"type": "delete_prefix", "prefix": prefix, **_expect(expect)})

    def add(self, key: str, by: float = 1, *, expect: Any = None) -> dict[str, Any]:
        return self._send({"type": "add", "key": key, "by": by, **_expect(expect)})

    def toggle(self, key: str, *, expect: Any = None) -> dict[str, Any]:
        return self._send({"type": "toggle", "key": key, **_expect(expect)})

    def merge(self, key: str, value: Any, *, expect: Any = None) -> dict[str, Any]:
        """`value` is a JSON merge patch (RFC 7396)."""
        return self._send({"type": "merge", "key": key, "value": value, **_expect(expect)})

    def rename(
        self, key: str, to: str, *, replace: bool = False, expect: Any = None
    ) -> dict[str, Any]:
        """A dot at the end of both renames a prefix."""
        fields = {"type": "rename", "key": key, "to": to, "replace": replace}
        return self._send(fields | _expect(expect))


class Batch(_Commands):
    """Gathers commands; `with` sends them as one transaction unless an exception leaves it."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._commands: list[dict[str, Any]] = []
        self.outcome: dict[str, Any] | None = None

    def _send(self, command: dict[str, Any]) -> dict[str, Any]:
        self._commands.append(command)
        return {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._commands:
            self.outcome = self._box.command({"type": "batch", "commands": self._commands})


class Box(_Commands):
    """A client, to be shared by threads; a lost connection is made anew.

    `actor` is who sends its commands, the default of the token where it is None. `node` is that of
    the endpoint, None where it was given by its address. Where `directory` is given, the server has
    to serve that one.

    On each connection the server first proves that it knows the token; only then it is sent.

    A command that was lost on the way is sent again with the same id, so it is done once.
    """

    def __init__(
        self,
        url: str,
        token: str,
        actor: str | None = None,
        source: _Source | None = None,
        silence: float = SILENCE,
        directory: str | None = None,
    ) -> None:
        self.actor = actor
        self.node: str | None = None
        self._source = source
        self._silence = silence
        self._directory = directory
        self._patience = 0.0  # until the server has answered once
        self._idle: deque[HTTPConnection] = deque()
        self._open: dict[HTTPConnection, socket.socket] = {}
        self._pid = os.getpid()
        self._closed = threading.Event()
        self.url, self.token = url, token
        if source is not None:
            self._locate()

    # Commands.

    def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send any command; its acknowledgement. Raises `Rejected`, `NotRunning`."""
        body = {"id": secrets.token_hex(12), **command}
        if self.actor is not None:
            body.setdefault("actor", self.actor)
        headers = {"Content-Type": "application/json"}
        answer: dict[str, Any] = self._json(
            "POST", "/commands", json.dumps(body, allow_nan=False).encode(), headers
        )
        return answer

    def _send(self, command: dict[str, Any]) -> dict[str, Any]:
        return self.command(command)

    def batch(self) -> Batch:
        return Batch(self)

    def undo(
        self,
        of: str | None = None,
        *,
        keep: Iterable[str] = (),
        replace: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Undo this actor's last command, or the one (or the import) whose id is `of`.

        Keys that somebody changed since make it a conflict: `Rejected.keys`, and `effects` tells
        what each of them is now and would be. Those of `keep` are left as they are, those of
        `replace` undone all the same if they are still at that revision.
        """
        return self.command(_reversal("undo", of, keep, replace))

    def redo(
        self,
        of: str | None = None,
        *,
        keep: Iterable[str] = (),
        replace: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Take this actor's last undo back, or that of the command `of`; conflicts as in `undo`."""
        return self.command(_reversal("redo", of, keep, replace))

    def restore(
        self,
        to: Moment,
        match: str = "**",
        *,
        without: Iterable[str] = (),
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Make the keys that match what they were then, but for those below `without`."""
        moment, left_out = self.revision(to), list(without)
        fields = {"to_revision": moment, "match": match, "without": left_out, "dry_run": dry_run}
        return self.command({"type": "restore"} | fields)

    def compact(self, *, dry_run: bool = False, confirm: bool = False) -> dict[str, Any]:
        """Remove now what retention lets go; how much that is, or would be.

        With `confirm` the computer's clock is right, though it has leapt (see the `clock` of the
        status). Of millions of changes that may take minutes, in which others are served. Tried
        once.
        """
        asked = {"dry_run": dry_run, "confirm": confirm}
        query = urlencode({name: 1 for name, is_asked in asked.items() if is_asked})
        path = "/commands/compact" + (f"?{query}" if query else "")
        with self.request("POST", path, silence=None) as answer:
            report: dict[str, Any] = decoded(answer.read())
        return report

    def login(self) -> str:
        """A one-time address that opens the window's page in a browser."""
        return str(self._json("POST", "/login")["url"])

    # Queries.

    def query(self, path: str, **parameters: Any) -> Any:
        """What `/queries/<path>` answers; parameters that are None are left out."""
        return self._json("GET", address(path, parameters))

    def item(self, key: str, *, at: Moment | None = None) -> dict[str, Any] | None:
        """Key, value, revision, at and actor; None where there is no such key."""
        try:
            found: dict[str, Any] = self.query("state/" + quote(key, safe=""), at=_text(at))
        except Rejected as error:
            if error.code == "not_found":
                return None
            raise
        return found

    def get(self, key: str, default: Any = None, *, at: Moment | None = None) -> Any:
        found = self.item(key, at=at)
        return default if found is None else found["value"]

    def items(self, match: str = "**", *, at: Moment | None = None) -> Iterator[tuple[str, Any]]:
        """Keys that match, with their values, in key order.

        Of a moment they are complete, or `Rejected` says what was `compacted`.
        """
        strict = None if at is None else 1  # a program would not see what an answer lacks
        for page in self._pages("state", match=match, at=_text(at), strict=strict):
            yield from ((item["key"], item["value"]) for item in page["items"])

    def history(self, key: str) -> Iterator[Version]:
        """What became of a key, newest first, as far back as it was kept."""
        for page in self._pages("history/" + quote(key, safe=""), "before"):
            for item in page["items"]:
                deleted = item.get("deleted", False)
                about = (item["actor"], item["at"], item["id"], item["type"])
                yield Version(key, item.get("value"), item["revision"], deleted, *about)

    def diff(
        self, since: Moment, until: Moment | None = None, match: str = "**"
    ) -> Iterator[Difference]:
        """The keys that differ between two moments (`until` is now unless given), in key order.

        They are complete, or `Rejected` says what was `compacted`.
        """
        moments: dict[str, Any] = {"from": _text(since), "to": _text(until)}
        for page in self._pages("diff", match=match, strict=1, **moments):
            for item in page["items"]:
                before, after = item.get("before"), item.get("after")
                sides = "before" not in item, "after" not in item
                yield Difference(item["key"], before, after, *sides)

    def revision(self, moment: Moment | None = None) -> int:
        """The last revision not later than a moment; the newest one unless given."""
        if isinstance(moment, int):
            return moment
        if moment is None:
            return int(self.query("status")["revision"])
        # Of one key, which need not exist, since only the revision is wanted.
        return int(self.query("state", match="_", at=_text(moment), limit=1)["revision"])

    def _pages(self, query: str, position: str = "after", **wanted: Any) -> Iterator[Any]:
        """Every page, all of the moments that the first one is of."""
        following: Any = None
        while True:
            page = self.query(query, limit=1000, **wanted, **{position: following})
            yield page
            if (following := page["next"]) is None:
                return
            wanted |= {name: page[name] for name in ("from", "to") if name in page}
            wanted |= {"at": page["revision"]} if wanted.get("at") else {}

    def watch(self, match: str = "**", *, after: int | str | None = None) -> Watch:
        """Current values, then changes; only what came after a revision with `after`."""
        return Watch(self, match, None if after is None else str(after))

    def __getitem__(self, key: str) -> Any:
        found = self.item(key)
        if found is None:
            raise KeyError(key)
        return found["value"]

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.delete(key)["changed"]:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Also of what can be no key at all."""
        try:
            return isinstance(key, str) and self.item(key) is not None
        except UnicodeEncodeError:  # half of a surrogate pair
            return False
        except Rejected as error:
            if error.code == "invalid":
                return False
            raise

    def __iter__(self) -> Iterator[str]:
        return (key for key, _ in self.items())

    def __len__(self) -> int:
        return int(self.query("status")["keys"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and watch of this client; let go of the server it started."""
        self._closed.set()
        self._leave_to_parent()
        for connection in list(self._open):
            self.drop(connection)
        if self._source is not None:
            self._source.close()

    # Connections.

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        silence: float | None = SILENCE,
    ) -> HTTPResponse:
        """One request on a connection of its own; the answer is still to be read.

        Tried anew where it cannot have been done: a query, and what was never sent, since a server
        that nobody uses ends between two requests. Raises `Rejected` for a refusal, `NotRunning`,
        also where nothing has been heard for `silence` seconds.
        """
        end = time.monotonic() + self._patience
        while True:
            may_be_done = False
            try:
                connection = self.open()
                connection.sock.settimeout(silence)
                may_be_done = method != "GET"
                return self.ask(connection, method, path, body, headers)
            except (OSError, HTTPException) as error:
                if may_be_done:
                    raise self._lost(error) from error
                self.await_return(error, end)

    def _json(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """What the server answers. A lost connection is tried anew."""
        end = time.monotonic() + self._patience
        while True:
            try:
                with self._connection() as connection:
                    answer = self.ask(connection, method, path, body, headers).read()
            except (OSError, HTTPException, Stranger) as error:
                self._drop_idle()  # what ended this one has ended them
                self.await_return(error, end)
            else:
                self._patience = PATIENCE
                return decoded(answer)

    def ask(
        self,
        connection: HTTPConnection,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HTTPResponse:
        """One request, tried once. Raises `Rejected`, `OSError`, `HTTPException`."""
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        if response.status >= 400:
            raise Rejected(response.status, _refusal(response))
        return response

    def await_return(self, error: Exception, end: float) -> None:
        """Pause and look for the server anew; raise `NotRunning` when `end` has passed."""
        if self._closed.is_set() or time.monotonic() >= end:
            raise self._lost(error) from error
        self._closed.wait(PAUSE)
        try:
            self._locate()
        except NotRunning:
            if time.monotonic() >= end:
                raise

    def _lost(self, error: Exception) -> NotRunning:
        if self._closed.is_set():
            return NotRunning("This client has been closed.")
        if isinstance(error, Stranger):
            return error
        return NotRunning(f"The server at {self.url} does not answer: {_why(error)}.")

    def _locate(self) -> None:
        if self._source is not None and not self._closed.is_set():
            endpoint = self._source.endpoint()
            self.url, self.token, self.node = endpoint.url, endpoint.write_token, endpoint.node
            self._directory = endpoint.directory
            self._patience = PATIENCE

    @contextlib.contextmanager
    def _connection(self) -> Iterator[HTTPConnection]:
        """One that nobody uses; it is kept for the next request unless this one was cut short."""
        connection, is_whole = self._take(), False
        try:
            yield connection
            is_whole = True
        except Rejected:
            is_whole = True
            raise
        finally:
            if is_whole and connection.sock is not None and not self._closed.is_set():
                self._idle.append(connection)
            else:
                self.drop(connection)

    def _take(self) -> HTTPConnection:
        self._leave_to_parent()
        if not self._closed.is_set():
            with contextlib.suppress(IndexError):
                return self._idle.pop()
        return self.open()

    def _drop_idle(self) -> None:
        idle, self._idle = self._idle, deque()
        for connection in idle:
            self.drop(connection)

    def _leave_to_parent(self) -> None:
        """A forked process has copies of its parent's connections, which are not its own."""
        if self._pid != os.getpid():
            copies, self._open, self._idle = list(self._open), {}, deque()
            self._pid = os.getpid()
            for connection in copies:
                connection.close()

    def open(self) -> HTTPConnection:
        """A new connection, which `close` ends as well."""
        if self._closed.is_set():
            raise ConnectionError("the client has been closed")
        end = time.monotonic() + self._silence
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=self._silence)
        connection.connect()
        connection.auto_open = 0  # what was dropped stays so
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[connection] = connection.sock
        if self.token:
            self._check(connection, end)
        return connection

    def _check(self, connection: HTTPConnection, end: float) -> None:
        """Have the other side prove until then that it knows the token.

        Raises `Stranger`, `Rejected`, `OSError`.
        """
        host, port = connection.sock.getpeername()[:2]
        with contextlib.ExitStack() as unless_known:
            unless_known.callback(self.drop, connection)
            if not self._is_known(connection.sock, f"{host}:{port}", end):
                raise Stranger(f"{host}:{port}")
            unless_known.pop_all()
        connection.sock.settimeout(self._silence)

    def _is_known(self, sock: socket.socket, address: str, end: float) -> bool:
        nonce = secrets.token_urlsafe(24)
        sock.sendall(f"GET /hello?nonce={nonce} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        limited: Any = _Limited(sock, LONGEST_HELLO, end)
        try:
            with HTTPResponse(limited, method="GET") as response:
                response.begin()
                if response.status == BUSY:
                    raise Rejected(response.status, _refusal(response))
                answer = response.read()
        except OSError:
            if limited.is_silent:  # a server that hangs or has just ended
                raise
            return False
        except HTTPException:
            return False
        return _is_proof(answer, self.token, nonce, address, self._directory)

    def drop(self, connection: HTTPConnection) -> None:
        """End a connection, whatever waits on it in another thread."""
        # The connection has forgotten its socket when the answer is a stream.
        sock = self._open.pop(connection, None)
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        connection.close()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()


class _Limited(io.RawIOBase):
    """So many bytes of what a socket receives, and only until `end`, however slowly it trickles."""

    def __init__(self, sock: socket.socket, size: int, end: float) -> None:
        self._sock, self._size, self._end = sock, size, end
        self.is_silent = True

    def makefile(self, _: str) -> io.BufferedReader:
        """What an `HTTPResponse` takes of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises `OSError`; `TimeoutError` at the end."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        count = self._sock.recv_into(buffer, min(len(buffer), self._size)) if self._size else 0
        self._size -= count
        self.is_silent = self.is_silent and count == 0
        return count


class Watch:
    """Iterates over changes; reconnects by itself, without gap or duplicate, until it is closed."""

    def __init__(self, box: Box, match: str, after: str | None) -> None:
        self._box = box
        self._match = match
        self._position = after
        self._connection: HTTPConnection | None = None
        self._closed = threading.Event()
        self._end: float | None = None  # of our patience with a server that has gone
        self._known: dict[str, int] = {}
        self._listed: set[str] | None = None
        self._changes = self._follow()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        if self._ended():
            raise StopIteration
        return next(self._changes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration, also from another thread."""
        self._closed.set()
        if self._connection is not None:
            self._box.drop(self._connection)

    def _follow(self) -> Iterator[Change]:
        while not self._ended():
            try:
                yield from self._stream()
            except (OSError, HTTPException, Stranger) as error:
                if not self._ended():
                    self._end = self._end or time.monotonic() + PATIENCE
                    self._box.await_return(error, self._end)
            finally:
                if self._connection is not None:
                    self._box.drop(self._connection)

    def _ended(self) -> bool:
        return self._closed.is_set() or self._box.is_closed

    def _stream(self) -> Iterator[Change]:
        self._connection = connection = self._box.open()
        path = address("stream", {"match": self._match, "after": self._position})
        self._listed = None
        if self._ended():  # `close` may have looked for the connection just before there was one
            return
        response = self._box.ask(connection, "GET", path)
        self._end = None
        for event in _events(response):
            self._position = event.id or self._position
            if event.name == "snapshot":
                yield from self._snapshot(event.data)
            elif event.name == "caught-up":
                yield from self._vanished(event.data["revision"])
            elif event.name == "change":
                yield from self._changed(event.data)
            elif event.name == "reset":  # what we know may be of another store
                self._position, self._known = None, dict.fromkeys(self._known, -1)
        raise ConnectionError("the stream has ended")

    def _snapshot(self, data: dict[str, Any]) -> Iterator[Change]:
        if self._listed is None:
            self._listed = set()
        for item in data["items"]:
            key, revision = item["key"], item["revision"]
            self._listed.add(key)
            if self._known.get(key) != revision:
                self._known[key] = revision
                yield Change(key, item["value"], revision, is_current=True)

    def _vanished(self, revision: int) -> Iterator[Change]:
        """Keys that went while nobody told us: known, and not in the snapshot that just ended."""
        if self._listed is not None:
            for key in self._known.keys() - self._listed:
                del self._known[key]
                yield Change(key, None, revision, deleted=True)
        self._listed = None

    def _changed(self, data: dict[str, Any]) -> Iterator[Change]:
        about = {"actor": data["actor"], "at": data["at"], "id": data["id"]}
        for change in data["changes"]:
            key, deleted = change["key"], change.get("deleted", False)
            if deleted:
                self._known.pop(key, None)
            else:
                self._known[key] = data["revision"]
            yield Change(key, change.get("value"), data["revision"], deleted, **about)


class _Event(NamedTuple):
    name: str
    data: Any
    id: str | None


def _events(response: HTTPResponse) -> Iterator[_Event]:
    """Server-sent events (WHATWG HTML, section 9.2); one without data carries a position alone."""
    name, data, identity = "", "", None
    for line in response:
        field, _, value = line.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data = value
        elif field == "id":
            identity = value
        elif line in (b"\n", b"\r\n"):
            yield _Event(name, decoded(data) if data else None, identity)
            name, data, identity = "", "", None


def address(path: str, parameters: Mapping[str, Any]) -> str:
    """The path of a query with those parameters that are not None."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"/queries/{path}" + (f"?{urlencode(given)}" if given else "")


def _is_proof(answer: bytes, token: str, nonce: str, address: str, directory: str | None) -> bool:
    """Whether what `/hello` answered can be only of a server that knows the token."""
    try:
        hello = json.loads(answer)
        store, place = str(hello["store"]), str(hello["directory"])
        proofs = [str(hello["proofs"][name]).encode() for name in ("read", "write")]
    except (ValueError, TypeError, LookupError, RecursionError):
        return False
    text = f"signalbox hello\n{nonce}\n{address}\n{store}\n{place}"
    wanted = hmac.digest(token.encode(), text.encode(), "sha256").hex().encode()
    is_known = any(hmac.compare_digest(wanted, one) for one in proofs)
    return is_known and directory in (None, place)


def _text(moment: Moment | None) -> str | None:
    if isinstance(moment, datetime):
        moment = moment.astimezone().isoformat()  # without a zone it is this computer's
    return None if moment is None else str(moment)


def decoded(text: bytes | str) -> Any:
    """The JSON of an answer. Raises `NotRunning` where whoever answered is no Signalbox."""
    try:
        return json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise NotRunning("What answered is no Signalbox: it did not send JSON.") from error


def _integer(digits: str) -> int:
    """An integer of any size: Python would refuse one of more than 4,300 digits."""
    if len(digits) <= SAFE_DIGITS:
        return int(digits)
    sign, digits = (-1, digits[1:]) if digits[0] == "-" else (1, digits)
    half = len(digits) // 2
    high, low = _integer(digits[:-half]), _integer(digits[-half:])
    tens: int = 10**half
    return sign * (high * tens + low)


def _reversal(
    type: str, of: str | None, keep: Iterable[str], replace: Mapping[str, int] | None
) -> dict[str, Any]:
    command = {"type": type, "keep": list(keep), "replace": dict(replace or {})}
    return command | ({} if of is None else {"of": of})


def _expect(expect: Any) -> dict[str, Any]:
    if expect is None:
        return {}
    return {"expect": {"revision": expect} if isinstance(expect, int) else expect}


def _refusal(response: HTTPResponse) -> dict[str, Any]:
    body = response.read()
    try:
        return dict(decoded(body))
    except (NotRunning, ValueError, TypeError):
        return {
            "code": "internal",
            "message": f"What answered with status {response.status} is no Signalbox.",
        }
