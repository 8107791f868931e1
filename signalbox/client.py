"""Signalbox for scripts: one file, standard library alone, free to copy.

import signalbox
box = signalbox.connect(actor="train.py")
box["train.lr"] = 0.01
for change in box.watch("train.*"): ...
lr = box.knob("train.lr", 0.01, minimum=0, maximum=1)  # then `lr.value` is always the current one

In this order: what calls return and raise, the client (`Box`, `Batch`, `Watch`), what its threads
keep current (`Knob`, `Mirror`) and write (`Box.log`), the client for asyncio, what it sends and
receives, its connections, finding the server of a data directory, starting one.
"""

from __future__ import annotations

import contextlib
import functools
import hmac
import json
import math
import os
import socket
import stat
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import (
    Callable,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Generic, Literal, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit

if TYPE_CHECKING:
    import subprocess

T = TypeVar("T")
Moment = int | str | datetime
"""A revision, or a time (ISO 8601 as text): then the last revision not later is meant."""

CANNOT_OPEN: Final = 4
"""The server's exit status where another one owns the data directory, or it cannot be used."""
IN_USE_PREFIX: Final = "Another Signalbox server"
"""How the server's message begins where it is the former."""
SERVER_TIMEOUT: Final = 10.0
"""Seconds to wait for a server that somebody else is starting, or that is coming back."""
RETRY_INTERVAL: Final = 0.05
PROBE_TIMEOUT: Final = 2.0
"""Seconds for a server to prove that it runs; another program on its port may not answer."""
SILENCE_TIMEOUT: Final = 45.0
"""Seconds without a byte after which a stream is opened again; the server sends one every 15."""
TOO_MANY_CONNECTIONS: Final = 429
"""The HTTP status of a server that has all connections in use."""
BLOCK_BYTES: Final = 64 * 1024
"""Received at once."""
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_HELLO_BYTES: Final = 4_096
"""Bytes of the answer to /hello, with its headers."""
SAFE_DIGITS: Final = 4_000
RULES: Final = "_signalbox.rules."
"""The prefix of the keys that are rules."""
MAX_RULE_NAME: Final = 128
MAX_BATCH: Final = 1_000
"""Commands in one batch."""
MAX_RETRY_INTERVAL: Final = 1.0
"""Seconds to which the pauses of a thread grow that looks for a server which is away."""
_NOT_GIVEN: Final = object()
NONBLOCKING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags with which opening a file never waits, even where a pipe is in its place."""


# ---- What calls return and raise -----------------------------------------------------------------


class NotRunning(Exception):
    """No server could be found or started."""


class Stranger(NotRunning):
    """Another program has the server's port. It was sent nothing but a random number."""

    def __init__(self, address: str) -> None:
        """The error of a client that found another program at `address`."""
        program = _listening_program(address)
        super().__init__(
            f"Something else listens on {address}{program}, or a server that does not know this "
            "token. It got nothing but a random number."
        )
        self.address = address


class Rejected(Exception):
    """The server refused: `code` is stable, `message` says why; the others are set where they help.

    Where it is not even known whether it was written (`is_known`), the outcome comes later, under
    `id`; sent again under the same id it is never written twice.
    """

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        """The refusal in the body of the server's answer, with the status of HTTP."""
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
        self.field: str | None = body.get("field")
        self.rule: str | None = body.get("rule")
        self.path: str | None = body.get("path")
        self.because: list[dict[str, Any]] = body.get("because", [])
        self.total: int | None = body.get("total")
        self.effects: list[dict[str, Any]] = body.get("effects", [])
        self.is_known: bool = body.get("status") != "unknown"

    def __str__(self) -> str:
        """The code and message of the refusal."""
        return f"{self.code}: {self.message}"


class Conflict(Rejected):
    """What was expected does not hold: `key` is at `revision`, or others have changed `keys`."""


class NotFound(Rejected):
    """There is no such key, attempt or route."""


class RuleBroken(Rejected):
    """The rule `rule` never takes this value of `key`; `path` points to what is wrong in it."""


class Interlocked(Rejected):
    """The rule `rule` does not allow the change of `key` now, or not to this actor: see `because`,
    the keys for which it does not, each with its `value` (or `missing`) and its `revision`.
    """


_REFUSALS: Final = {
    "conflict": Conflict,
    "not_found": NotFound,
    "rule": RuleBroken,
    "interlocked": Interlocked,
}


def _refusal(status: int, body: Mapping[str, Any]) -> Rejected:
    """The refusal in the body of an answer, of the class for its code."""
    return _REFUSALS.get(body.get("code", ""), Rejected)(status, body)


class Change(NamedTuple):
    """A key's current value (`is_current`), or its new value; then with `actor`, `at` and `id`.

    With `caught_up=True` a watch has one more after the current values: `is_caught_up`, its key "".
    """

    key: str
    value: Any
    revision: int
    deleted: bool = False
    is_current: bool = False
    actor: str | None = None
    at: str | None = None
    id: str | None = None

    @property
    def is_caught_up(self) -> bool:
        """Whether it is no change, but says that all current values have been given."""
        return not self.key


class Version(NamedTuple):
    """The value that one transaction gave a key, or its deletion."""

    key: str
    value: Any
    revision: int
    deleted: bool
    actor: str
    at: str
    id: str
    type: str


class Violation(NamedTuple):
    """A key whose value breaks the schema of a rule; `path` points to what is wrong in it."""

    key: str
    rule: str
    path: str
    message: str


class Difference(NamedTuple):
    """A key's values at two moments; `added` where it was not there before, `removed` after."""

    key: str
    before: Any
    after: Any
    added: bool
    removed: bool


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


# ---- The client ----------------------------------------------------------------------------------


def connect(
    actor: str | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    start: bool = True,
    default: Callable[[Any], Any] | None = None,
) -> Box:
    """A client of the running app; where none runs, of a server that is started for us.

    With `url` and `token` nothing is looked for or started. `default` is called with each value
    that is no JSON and gives what is written instead, as in `json.dumps`. Raises `NotRunning`.
    """
    if url is not None:
        box = Box(url, token or "", actor, default=default)
        box.query("status")
        return box
    folder = expand_data_dir(data_dir) if data_dir else default_data_dir()
    return Box("", "", actor, _ServerFinder(folder, start), default=default)


class _CommandMethods(ABC):
    """A method for each command."""

    @abstractmethod
    def _send(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send the command, or gather it for a batch."""

    def set(self, key: str, value: Any, *, expect: Any = None) -> dict[str, Any]:
        """`expect`: a revision of the key, "absent", "present", or {"store_revision": n}."""
        return self._send({"type": "set", "key": key, "value": value, **_expectation(expect)})

    def delete(self, key: str, *, expect: Any = None) -> dict[str, Any]:
        """Delete a key."""
        return self._send({"type": "delete", "key": key, **_expectation(expect)})

    def delete_prefix(self, prefix: str, *, expect: Any = None) -> dict[str, Any]:
        """Delete every key below a prefix."""
        return self._send({"type": "delete_prefix", "prefix": prefix, **_expectation(expect)})

    def add(self, key: str, by: float = 1, *, expect: Any = None) -> dict[str, Any]:
        """Add `by` to a key's number; a key that does not exist begins at 0."""
        return self._send({"type": "add", "key": key, "by": by, **_expectation(expect)})

    def toggle(self, key: str, *, expect: Any = None) -> dict[str, Any]:
        """Turn a key's true into false and false into true; an absent key becomes true."""
        return self._send({"type": "toggle", "key": key, **_expectation(expect)})

    def merge(self, key: str, value: Any, *, expect: Any = None) -> dict[str, Any]:
        """Merge `value`, a JSON merge patch (RFC 7396), into a key's value."""
        return self._send({"type": "merge", "key": key, "value": value, **_expectation(expect)})

    def rename(
        self, key: str, to: str, *, replace: bool = False, expect: Any = None
    ) -> dict[str, Any]:
        """Rename a key; a dot at the end of both names renames a prefix."""
        fields = {"type": "rename", "key": key, "to": to, "replace": replace}
        return self._send(fields | _expectation(expect))


class Batch(_CommandMethods):
    """Gathers commands; `with` sends them as one transaction unless an exception leaves it."""

    def __init__(self, box: Box) -> None:
        """A batch for `box`, without commands yet."""
        self._box = box
        self._commands: list[dict[str, Any]] = []
        self.outcome: dict[str, Any] | None = None

    def __repr__(self) -> str:
        """How many commands it has, and whether they were sent."""
        state = "gathered" if self.outcome is None else "sent"
        return f"<Batch of {len(self._commands)} commands, {state}>"

    def _send(self, command: dict[str, Any]) -> dict[str, Any]:
        """Gather a command for the batch; its outcome comes with the batch's."""
        self._commands.append(command)
        return {}

    def __enter__(self) -> Self:
        """The batch, to gather commands."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Send the gathered commands as one transaction, unless an exception leaves the batch."""
        if kind is None and self._commands:
            self.outcome = self._box.command({"type": "batch", "commands": self._commands})


class Box(_CommandMethods):
    """A client, to be shared by threads; a lost connection is opened again.

    `actor` is who sends its commands, the default of the token where it is None. `node` is that of
    the endpoint, None where it was given by its address. Where `directory` is given, the server has
    to serve that one. `silence` is after how many seconds without an answer a connection is lost.

    A command that was lost on the way is sent again with the same id, so it is done once. `default`
    is called with values that are no JSON (see `connect`).
    """

    def __init__(
        self,
        url: str,
        token: str,
        actor: str | None = None,
        finder: _ServerFinder | None = None,
        silence: float = SILENCE_TIMEOUT,
        directory: str | None = None,
        default: Callable[[Any], Any] | None = None,
    ) -> None:
        """A client of the server at `url`; requests wait `silence` seconds for any answer."""
        self.actor = actor
        self._encode = _encode_json
        if default is not None:
            self._encode = json.JSONEncoder(allow_nan=False, default=default).encode
        self.node: str | None = None
        self.connections = _ConnectionPool(silence)
        self.connections.use(url, token, directory)
        self._finder = finder
        self._lock = threading.Lock()
        self._knobs: _KnobStream | None = None
        self._log: _Log | None = None
        self._retry_seconds = 0.0  # until the server has answered once
        self._find_server()

    @property
    def url(self) -> str:
        """The server's address."""
        return self.connections.url

    @property
    def token(self) -> str:
        """The token that requests are sent with."""
        return self.connections.token

    @property
    def is_closed(self) -> bool:
        """Whether this client was closed."""
        return self.connections.closed.is_set()

    # Commands.

    def command(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send any command; its acknowledgement.

        Raises `Rejected`, `NotRunning`; `TypeError` or `ValueError` for what is no JSON.
        """
        body = {"id": os.urandom(12).hex(), **command}
        if self.actor is not None:
            body.setdefault("actor", self.actor)
        headers = {"Content-Type": "application/json"}
        answer: dict[str, Any] = self._request_json(
            "POST", "/commands", self._encode_command(body).encode(), headers
        )
        return answer

    def _send(self, command: dict[str, Any]) -> dict[str, Any]:
        """Send a command to the server; its acknowledgement."""
        return self.command(command)

    def _encode_command(self, command: Mapping[str, Any]) -> str:
        """A command as JSON. Raises `TypeError`, `ValueError`, which name the key."""
        try:
            return self._encode(command)
        except (TypeError, ValueError, RecursionError):
            for member in command.get("commands", (command,)):
                if "value" in member:
                    self.encode_value(member.get("key"), member["value"])
            raise

    def encode_value(self, key: Any, value: Any) -> str:
        """A value as JSON. Raises `TypeError`, `ValueError`, which name the key."""
        try:
            return self._encode(value)
        except TypeError as error:
            raise TypeError(
                f"The value of {key} is no JSON: it is, or holds, what JSON has no form for. "
                "`connect(default=…)` can say what to write instead."
            ) from error
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"The value of {key} is no JSON: a number in it is not finite, or it holds itself."
            ) from error

    def batch(self) -> Batch:
        """A batch: `with box.batch() as batch:` sends its commands as one transaction."""
        return Batch(self)

    def undo(
        self,
        of: str | None = None,
        *,
        keep: Iterable[str] = (),
        replace: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Undo this actor's last command, or the one (or the import) whose id is `of`.

        Keys that somebody changed since make it a conflict: `Rejected.keys`, and `effects` has
        what each of them is now and would be. Those of `keep` are left as they are, those of
        `replace` undone all the same if they are still at that revision.
        """
        return self.command(_reversal_command("undo", of, keep, replace))

    def redo(
        self,
        of: str | None = None,
        *,
        keep: Iterable[str] = (),
        replace: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Take this actor's last undo back, or that of the command `of`; conflicts as in `undo`."""
        return self.command(_reversal_command("redo", of, keep, replace))

    def restore(
        self,
        to: Moment,
        match: str = "**",
        *,
        without: Iterable[str] = (),
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Make the keys that match what they were then, but for those below `without`."""
        fields = {"to_revision": self.revision(to), "match": match, "dry_run": dry_run}
        return self.command({"type": "restore", "without": list(without)} | fields)

    def compact(self, *, dry_run: bool = False, confirm: bool = False) -> dict[str, Any]:
        """Remove now what retention lets go; how much that is, or would be.

        With `confirm` the computer's clock is right, though it has leapt (see the `clock` of the
        status). Of millions of changes that may take minutes, in which others are served. Tried
        once.
        """
        flags = {"dry_run": dry_run, "confirm": confirm}
        query = urlencode({name: 1 for name, is_set in flags.items() if is_set})
        path = "/commands/compact" + (f"?{query}" if query else "")
        with self.request("POST", path, silence=None) as answer:
            report: dict[str, Any] = decode_json(answer.read())
        return report

    def log(self, values: Mapping[str, Any], *, every: float = 0.1) -> None:
        """Set keys in the background, the latest value of each, at most once in `every` seconds.

        Together they are one transaction. They are written at the latest by `flush`, `close`, and
        the end of the program. What cannot be written is reported by `logging` with its key. Raises
        `TypeError` or `ValueError` for what is no JSON, `NotRunning` where this client is closed.
        """
        if self.is_closed:
            raise NotRunning("This client has been closed.")
        texts = {key: self.encode_value(key, value) for key, value in values.items()}
        with self._lock:
            self._log = self._log or _Log(self)
        self._log.put(texts, every)

    def flush(self, timeout: float = SERVER_TIMEOUT) -> None:
        """Wait until what was given to `log` is written. Raises `TimeoutError`."""
        if self._log is not None and not self._log.flush(timeout):
            raise TimeoutError("What was logged could not be written yet.")

    # Rules.

    def rule(
        self,
        name: str,
        match: str | Sequence[str],
        *,
        schema: Mapping[str, Any] | None = None,
        requires: Mapping[str, Any] | None = None,
        on: Mapping[str, Any] | None = None,
        holds: bool | None = None,
        actors: Sequence[str] | None = None,
        delete: bool | None = None,
        says: str | None = None,
    ) -> dict[str, Any]:
        """Set the rule `name`, which is a key below `_signalbox.rules.`; the acknowledgement."""
        fields: dict[str, Any] = {"schema": schema, "requires": requires, "on": on, "holds": holds}
        fields |= {"actors": actors, "delete": delete, "says": says}
        given = {field: value for field, value in fields.items() if value is not None}
        return self.set(RULES + name, {"match": match, **given})

    def knob(
        self,
        key: str,
        default: T,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        choices: Sequence[T] | None = None,
        step: float | None = None,
        unit: str | None = None,
        title: str | None = None,
        description: str | None = None,
        declare: Literal["keep", "replace"] = "keep",
    ) -> Knob[T]:
        """A key whose value can be read at any time without asking the server.

        A key that does not exist is set to `default`. What is declared becomes a rule, unless the
        key has one by that name already: then that is kept, with a warning where it differs, or
        replaced. Raises `RuleBroken` where the key's value breaks a rule, `ValueError` where the
        default is not what is declared, and as `command`.
        """
        bounds = {"minimum": minimum, "maximum": maximum, "multipleOf": step, "unit": unit}
        texts = {"title": title, "description": description, "enum": choices and list(choices)}
        schema = _knob_schema(key, default, bounds | texts)
        _declare_knob(self, key, default, schema, replaces=declare == "replace")
        with self._lock:
            self._knobs = self._knobs or _KnobStream(self)
        return self._knobs.knob(key, default)

    def describe(
        self, key: str, *, value: Any = _NOT_GIVEN, at: Moment | None = None
    ) -> dict[str, Any]:
        """What the rules say of a key, and whether this actor may set it to `value` now, or to each
        of its choices: what `/queries/describe` answers.
        """
        text = None if value is _NOT_GIVEN else self.encode_value(key, value)
        path = "describe/" + quote(key, safe="")
        answer: dict[str, Any] = self.query(path, at=_moment_text(at), actor=self.actor, value=text)
        return answer

    def check(
        self, match: str = "**", *, rule: str | None = None, at: Moment | None = None
    ) -> Iterator[Violation]:
        """The keys whose values break the schema of a rule, or of the one named, in key order."""
        for page in self._pages("violations", match=match, rule=rule, at=_moment_text(at)):
            for item in page["items"]:
                yield Violation(*(item[name] for name in Violation._fields))

    def mirror(self, match: str = "**") -> Mirror:
        """The keys that match with their values as a local mapping, which follows every change."""
        return Mirror(self, match)

    def login(self) -> str:
        """A one-time address that opens the window's page in a browser."""
        return str(self._request_json("POST", "/login")["url"])

    # Queries.

    def query(self, path: str, **parameters: Any) -> Any:
        """What `/queries/<path>` answers; parameters that are None are left out."""
        return self._request_json("GET", query_path(path, parameters))

    def item(self, key: str, *, at: Moment | None = None) -> dict[str, Any] | None:
        """Key, value, revision, at and actor; None where there is no such key."""
        try:
            item: dict[str, Any] = self.query("state/" + quote(key, safe=""), at=_moment_text(at))
        except Rejected as error:
            if error.code == "not_found":
                return None
            raise
        return item

    def get(self, key: str, default: Any = None, *, at: Moment | None = None) -> Any:
        """The value of a key, or `default` where there is no such key."""
        item = self.item(key, at=at)
        return default if item is None else item["value"]

    def items(self, match: str = "**", *, at: Moment | None = None) -> Iterator[tuple[str, Any]]:
        """Keys that match, with their values, in key order.

        Of a moment they are complete, or `Rejected` says what was `compacted`.
        """
        strict = None if at is None else 1  # a program would not notice what an answer lacks
        for page in self._pages("state", match=match, at=_moment_text(at), strict=strict):
            yield from ((item["key"], item["value"]) for item in page["items"])

    def keys(self, match: str = "**", *, at: Moment | None = None) -> Iterator[str]:
        """Keys that match, in order."""
        return (key for key, _ in self.items(match, at=at))

    def values(self, match: str = "**", *, at: Moment | None = None) -> Iterator[Any]:
        """The values of keys that match, in the order of the keys."""
        return (value for _, value in self.items(match, at=at))

    def pop(self, key: str, *default: Any) -> Any:
        """Delete a key and return the value that it had; `default` where there is no such key.

        Raises `KeyError` without a default.
        """
        while (item := self.item(key)) is not None:
            with contextlib.suppress(Conflict):  # it has changed since: that value is the one
                self.delete(key, expect=item["revision"])
                return item["value"]
        if not default:
            raise KeyError(key)
        return default[0]

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, which is set to `default` where it does not exist."""
        while (item := self.item(key)) is None:
            with contextlib.suppress(Conflict):
                self.set(key, default, expect="absent")
                return default
        return item["value"]

    def update(
        self, other: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **values: Any
    ) -> dict[str, Any]:
        """Set all keys of a mapping, or of pairs, 1,000 at most, in one transaction.

        Its acknowledgement, empty where there are none.
        """
        pairs = dict(other) | values
        commands = [{"type": "set", "key": key, "value": pairs[key]} for key in pairs]
        return self.command({"type": "batch", "commands": commands}) if commands else {}

    def history(self, key: str) -> Iterator[Version]:
        """The values of a key, newest first, as far back as they are kept."""
        for page in self._pages("history/" + quote(key, safe=""), "before"):
            for item in page["items"]:
                deleted = item.get("deleted", False)
                origin = (item["actor"], item["at"], item["id"], item["type"])
                yield Version(key, item.get("value"), item["revision"], deleted, *origin)

    def diff(
        self, since: Moment, until: Moment | None = None, match: str = "**"
    ) -> Iterator[Difference]:
        """The keys that differ between two moments (`until` is now unless given), in key order.

        They are complete, or `Rejected` says what was `compacted`.
        """
        moments: dict[str, Any] = {"from": _moment_text(since), "to": _moment_text(until)}
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
        return int(self.query("state", match="_", at=_moment_text(moment), limit=1)["revision"])

    def _pages(self, query: str, position: str = "after", **parameters: Any) -> Iterator[Any]:
        """Every page of a query, all as of the same moments as the first."""
        following: Any = None
        while True:
            page = self.query(query, limit=1000, **parameters, **{position: following})
            yield page
            if (following := page["next"]) is None:
                return
            parameters |= {name: page[name] for name in ("from", "to") if name in page}
            parameters |= {"at": page["revision"]} if parameters.get("at") else {}

    def watch(
        self,
        match: str = "**",
        *,
        after: int | str | None = None,
        timeout: float | None = None,
        caught_up: bool = False,
    ) -> Watch:
        """Current values, then changes; only what came after a revision with `after`.

        `timeout`: seconds after which waiting for the next change raises `TimeoutError`; the watch
        can go on then. `caught_up`: a change that `is_caught_up` tells when all before was given.
        """
        return Watch(self, match, None if after is None else str(after), timeout, caught_up)

    def __getitem__(self, key: str) -> Any:
        """The value of a key. Raises `KeyError` where the key does not exist."""
        item = self.item(key)
        if item is None:
            raise KeyError(key)
        return item["value"]

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a key, as `set`."""
        self.set(key, value)

    def __delitem__(self, key: str) -> None:
        """Delete a key. Raises `KeyError` where the key does not exist."""
        if not self.delete(key)["changed"]:
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        """Whether the key exists; False also for what can be no key at all."""
        try:
            return isinstance(key, str) and self.item(key) is not None
        except UnicodeEncodeError:  # half of a surrogate pair
            return False
        except Rejected as error:
            if error.code == "invalid":
                return False
            raise

    def __iter__(self) -> Iterator[str]:
        """The keys of the state, in order."""
        return (key for key, _ in self.items())

    def __len__(self) -> int:
        """How many keys the state has, the app's own settings left out."""
        return int(self.query("status")["keys"])

    def __repr__(self) -> str:
        """Where its server is, who writes, and whether it is open."""
        place = self.url or "no server"
        actor = "" if self.actor is None else f" as {self.actor}"
        return f"<Box at {place}{actor}{', closed' if self.is_closed else ''}>"

    def __enter__(self) -> Self:
        """The client, which `with` closes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """End every connection and watch of this client; release the server that it started.

        Before that what was given to `log` is written.
        """
        if self._log is not None:
            self._log.finish()
        self.connections.close()
        if self._finder is not None:
            self._finder.close()

    # Requests.

    def after_fork(self) -> None:
        """Have locks of its own: a thread of the parent may have held them."""
        self._lock = threading.Lock()
        self.connections.after_fork()
        if self._finder is not None:
            self._finder.after_fork()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        silence: float | None = SILENCE_TIMEOUT,
    ) -> Answer:
        """One request on a connection of its own, which ends with the body of the answer.

        Tried again where it cannot have been done: a query, and what was never sent, since a server
        that nobody uses ends between two requests. Raises `Rejected` for a refusal, `NotRunning`,
        also where nothing has been received for `silence` seconds.
        """
        deadline = time.monotonic() + self._retry_seconds
        while True:
            may_be_done = False
            try:
                connection = self.connections.open()
                connection.socket.settimeout(silence)
                may_be_done = method != "GET"
                return self.connections.send_once(connection, method, path, body, headers)
            except OSError as error:
                if may_be_done:
                    raise self._not_running(error) from error
                self.wait_for_server(error, deadline)

    def wait_for_server(self, error: Exception, deadline: float) -> None:
        """Pause and look for the server again; raise `NotRunning` once `deadline` has passed."""
        if self.is_closed or time.monotonic() >= deadline:
            raise self._not_running(error) from error
        self.connections.closed.wait(RETRY_INTERVAL)
        try:
            self._find_server()
        except NotRunning:
            if time.monotonic() >= deadline:
                raise

    def _request_json(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON that the server answers. Sent again where the connection was lost."""
        deadline = time.monotonic() + self._retry_seconds
        while True:
            try:
                content = self.connections.exchange(method, path, body, headers)
            except (OSError, Stranger) as error:
                self.connections.drop_idle()  # what ended this one has ended them
                self.wait_for_server(error, deadline)
            else:
                self._retry_seconds = SERVER_TIMEOUT
                return decode_json(content)

    def _not_running(self, error: Exception) -> NotRunning:
        """The exception for a connection that failed or a client that was closed."""
        if self.is_closed:
            return NotRunning("This client has been closed.")
        if isinstance(error, Stranger):
            return error
        return NotRunning(f"The server at {self.url} does not answer: {_connection_error(error)}.")

    def _find_server(self) -> None:
        """Find where the server is: connect to the one that runs now, or start one."""
        if self._finder is not None and not self.is_closed:
            endpoint = self._finder.find_or_start()
            self.node = endpoint.node
            self.connections.use(endpoint.url, endpoint.write_token, endpoint.directory)
            self._retry_seconds = SERVER_TIMEOUT


class Watch:
    """Iterates over changes; reconnects by itself, without gap or duplicate, until closed.

    What interrupts waiting, such as Ctrl-C or `TimeoutError`, ends nothing: `next` goes on.
    """

    def __init__(
        self,
        box: Box,
        match: str,
        after: str | None,
        timeout: float | None = None,
        caught_up: bool = False,
    ) -> None:
        """Watch the keys that match; `after` is the position that an earlier watch has reached."""
        self._box = box
        self._match = match
        self._position = after
        self._timeout = timeout
        self._tells_caught_up = caught_up
        self._connection: _Connection | None = None
        self._events: _EventReader | None = None
        self._closed = threading.Event()
        self._retry_until: float | None = None  # while the server is gone
        self._pending: deque[Change] = deque()
        self._revisions: dict[str, int] = {}
        self._snapshot_keys: set[str] | None = None
        self.is_connected = False

    def __iter__(self) -> Self:
        """The watch itself: it is its own iterator."""
        return self

    def __next__(self) -> Change:
        """Wait for the next change of a watched key. Raises `TimeoutError`, `NotRunning`."""
        until = None if self._timeout is None else time.monotonic() + self._timeout
        while not self._is_closed():
            if self._pending:
                return self._pending.popleft()
            self._take_event(until)
        raise StopIteration

    def __repr__(self) -> str:
        """What it watches, and how it stands."""
        connected = "connected" if self.is_connected else "not connected"
        state = "closed" if self._is_closed() else connected
        return f"<Watch of {self._match}, {state}>"

    def __enter__(self) -> Self:
        """The watch, which `with` closes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the watch."""
        self.close()

    def __del__(self) -> None:
        """End the connection of a watch that nobody has any more."""
        self._drop_connection()

    def close(self) -> None:
        """End the watch, also from another thread."""
        self._closed.set()
        self._drop_connection()

    def _is_closed(self) -> bool:
        """Whether the watch, or its client, was closed."""
        return self._closed.is_set() or self._box.is_closed

    def _drop_connection(self) -> None:
        self.is_connected = False
        self._events = None
        if (connection := self._connection) is not None:
            self._box.connections.drop(connection)

    def _take_event(self, until: float | None) -> None:
        """Take the next event of the stream, which is opened again where it was lost.

        Raises `TimeoutError` where none has come `until` then (`time.monotonic`).
        """
        try:
            events = self._events or self._open_stream()
            event = events.next(until)
        except (OSError, Stranger) as error:
            self._drop_connection()
            if not self._is_closed():
                self._wait_for_server(error, until)
            event = None
        except BaseException:  # what was read of an event may be lost: the stream sends it again
            self._drop_connection()
            raise
        if event is not None:
            self._pending.extend(self._changes_of(event))
            if event.name != "reset":
                self._position = event.id or self._position
        elif until is not None and time.monotonic() >= until:
            raise TimeoutError(f"No change of {self._match} came within {self._timeout} seconds.")

    def _wait_for_server(self, error: Exception, until: float | None) -> None:
        """Look for the server again, at most `until` then.

        Raises `NotRunning` once that has taken too long.
        """
        self._retry_until = self._retry_until or time.monotonic() + SERVER_TIMEOUT
        deadline = self._retry_until if until is None else min(until, self._retry_until)
        try:
            self._box.wait_for_server(error, deadline)
        except NotRunning:
            if deadline < self._retry_until:
                return  # the next change has not come in time
            self._retry_until = None  # whoever asks again waits again
            raise

    def _open_stream(self) -> _EventReader:
        """Open the stream where the last one has ended."""
        self._connection = self._box.connections.open()
        if self._is_closed():  # `close` may have come before there was a connection
            raise ConnectionError("the watch has been closed")
        self._snapshot_keys = None
        parameters = {"match": self._match, "after": self._position}
        try:
            events = _EventReader(self._box.connections, self._connection, parameters)
        except BaseException:
            self._drop_connection()
            raise
        self._events, self._retry_until, self.is_connected = events, None, True
        return events

    def _changes_of(self, event: _ServerSentEvent) -> Iterator[Change]:
        """The changes in an event of the stream."""
        if event.name == "snapshot":
            yield from self._changes_in_snapshot(event.data)
        elif event.name == "caught-up":
            yield from self._missed_deletions(event.data["revision"])
            if self._tells_caught_up:
                self._tells_caught_up = False
                yield Change("", None, event.data["revision"], is_current=True)
        elif event.name == "change":
            yield from self._changes_in_event(event.data)
        elif event.name == "reset":  # the known revisions may be of another store
            self._position, self._revisions = None, dict.fromkeys(self._revisions, -1)

    def _changes_in_snapshot(self, data: dict[str, Any]) -> Iterator[Change]:
        """The changes in a `snapshot` event: the items that this watch has not given yet."""
        if self._snapshot_keys is None:
            self._snapshot_keys = set()
        for item in data["items"]:
            key, revision = item["key"], item["revision"]
            self._snapshot_keys.add(key)
            if self._revisions.get(key) != revision:
                self._revisions[key] = revision
                yield Change(key, item["value"], revision, is_current=True)

    def _missed_deletions(self, revision: int) -> Iterator[Change]:
        """Deletions while the stream was down: keys that the snapshot which just ended lacks."""
        if self._snapshot_keys is not None:
            for key in self._revisions.keys() - self._snapshot_keys:
                del self._revisions[key]
                yield Change(key, None, revision, deleted=True)
        self._snapshot_keys = None

    def _changes_in_event(self, data: dict[str, Any]) -> Iterator[Change]:
        """The changes in a `change` event of the stream."""
        origin = {"actor": data["actor"], "at": data["at"], "id": data["id"]}
        for change in data["changes"]:
            key, deleted = change["key"], change.get("deleted", False)
            if deleted:
                self._revisions.pop(key, None)
            else:
                self._revisions[key] = data["revision"]
                if self._snapshot_keys is not None:  # created while the snapshot was being sent
                    self._snapshot_keys.add(key)
            yield Change(key, change.get("value"), data["revision"], deleted, **origin)


# ---- What threads keep current and write ---------------------------------------------------------


_running: dict[int, Any] = {}
"""Weak references, by id, to what has a thread, which a forked process has to begin again."""
_forks_are_told: list[bool] = []
"""Whether `_after_fork` is called; that is registered once, and for good."""


def _survive_fork(one: Box | _Follower | _LatestValues) -> None:
    """Have `one.after_fork` called in every child that is forked from now on."""
    import weakref  # noqa: PLC0415 - few clients have threads

    if not _forks_are_told and hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
        _forks_are_told.append(True)
    place = id(one)
    _running[place] = weakref.ref(one, lambda _: _running.pop(place))


def _after_fork() -> None:
    """Tell what had a thread in the parent that it has none here."""
    for reference in list(_running.values()):
        if (one := reference()) is not None:
            one.after_fork()


def _logger() -> Any:
    import logging  # noqa: PLC0415 - slow to import, and rarely needed

    return logging.getLogger("signalbox")


class _LatestValues:
    """Gives the latest value of each name to a function, in a thread of its own."""

    def __init__(self, handle: Callable[[dict[Any, Any]], object]) -> None:
        """`handle` gets the values that were put since it was called last."""
        self._handle = handle
        self.after_fork()
        _survive_fork(self)

    def after_fork(self) -> None:
        """Begin without values and without a thread: those of a parent are its own."""
        self._changed = threading.Condition()
        self._values: dict[Any, Any] = {}
        self._handled: dict[Any, Any] = {}
        self._every = 0.0
        self._is_hurried = False
        self._thread: threading.Thread | None = None

    def put(self, values: Mapping[Any, Any], every: float = 0.0) -> None:
        """Hand these over once `every` seconds have passed since the last time."""
        with self._changed:
            self._every = min(every, self._every) if self._values else every
            self._values.update(values)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="signalbox", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def put_back(self, values: dict[Any, Any]) -> None:
        """Hand these over again, but for names that have a newer value."""
        with self._changed:
            self._values = values | self._values

    def take(self) -> dict[Any, Any]:
        """What was not handled yet; it is not handed over any more."""
        with self._changed:
            values, self._values = self._handled | self._values, {}
        return values

    def flush(self, seconds: float) -> bool:
        """Wait until all was handed over, at once; whether it was, within these seconds."""
        with self._changed:
            self._is_hurried = True
            self._changed.notify_all()
            is_done = self._changed.wait_for(
                lambda: not self._values and not self._handled, seconds
            )
            self._is_hurried = False
        return is_done

    def _run(self) -> None:
        """The thread."""
        changed, due = self._changed, 0.0
        while True:
            with changed:
                while not self._values:
                    changed.wait()
                while not self._is_hurried and (left := due + self._every - time.monotonic()) > 0:
                    changed.wait(left)
                self._handled, self._values = self._values, {}
            due = time.monotonic()
            try:
                self._handle(self._handled)
            finally:
                with changed:
                    self._handled = {}
                    changed.notify_all()


class _Log:
    """Writes what `Box.log` is given, and reports what could not be written."""

    def __init__(self, box: Box) -> None:
        """Write to the server of `box`; at the end of the program at the latest."""
        import atexit  # noqa: PLC0415 - few clients log

        self._box = box
        _survive_fork(box)
        self._texts = _LatestValues(self._write)
        self._reported: set[str | None] = set()
        self.put, self.flush = self._texts.put, self._texts.flush
        atexit.register(self.finish)

    def finish(self) -> None:
        """Write what is left; report what cannot be written in time."""
        if self._box.is_closed or self.flush(SERVER_TIMEOUT):
            return
        if lost := ", ".join(self._texts.take()):
            _logger().error("signalbox: it ended before these logged keys were written: %s", lost)

    def _write(self, texts: dict[str, str]) -> None:
        """Set these keys, to values as JSON. A key that is refused does not keep the others."""
        if len(texts) > MAX_BATCH:
            keys = list(texts)
            for start in range(0, len(keys), MAX_BATCH):
                self._write({key: texts[key] for key in keys[start : start + MAX_BATCH]})
            return
        commands = [
            {"type": "set", "key": key, "value": _decode_json(text)} for key, text in texts.items()
        ]
        try:
            self._box.command({"type": "batch", "commands": commands})
        except NotRunning as error:
            self._keep(texts, error)
        except Rejected as error:
            if error.status in _PASSING:
                self._keep(texts, error)
            elif len(texts) > 1:
                for key, text in texts.items():
                    self._write({key: text})
            else:
                self._report(next(iter(texts)), str(error))
        else:
            self._reported -= {None, *texts}

    def _keep(self, texts: dict[str, str], error: NotRunning | Rejected) -> None:
        """Try again a little later what cannot be written now."""
        if self._box.is_closed:  # which has reported them
            return
        self._report(None, str(error))
        self._texts.put_back(texts)
        self._box.connections.closed.wait(MAX_RETRY_INTERVAL)

    def _report(self, key: str | None, reason: str) -> None:
        """Report once, until it is well again, that a key, or anything, cannot be written."""
        if key not in self._reported:
            self._reported.add(key)
            what = "Logged values wait to be written" if key is None else f"{key} was not logged"
            _logger().error("signalbox: %s: %s", what, reason)


_PASSING: Final = (429, 500, 503)
"""Statuses of HTTP after which the same may be accepted a little later."""


class _Follower(ABC):
    """A thread that follows the server for as long as the client is open.

    In a forked process it begins again when `is_stopped` is noticed.
    """

    def __init__(self, box: Box) -> None:
        """Follow the server of `box`, once it is started."""
        self._box = box
        self.after_fork()
        _survive_fork(box)
        _survive_fork(self)

    def after_fork(self) -> None:
        """Be without a thread and a connection: those of a parent are its own."""
        self.lock = threading.Lock()
        self.is_stopped = True

    def start(self) -> None:
        """Start the thread, if there is none."""
        with self.lock:
            if self.is_stopped:
                self.is_stopped = False
                threading.Thread(target=self._run, name="signalbox", daemon=True).start()

    def is_closed(self) -> bool:
        """Whether nothing has to be followed any more."""
        return self._box.is_closed

    def _run(self) -> None:
        """Follow the server again and again; it may be away for long."""
        pause = RETRY_INTERVAL
        while not self.is_closed():
            began = time.monotonic()
            try:
                self._follow()
            except (OSError, NotRunning, Rejected) as error:
                is_new = time.monotonic() > began + MAX_RETRY_INTERVAL
                pause = RETRY_INTERVAL if is_new else min(2 * pause, MAX_RETRY_INTERVAL)
                if not self._box.connections.closed.wait(pause):
                    with contextlib.suppress(NotRunning, Rejected, OSError):
                        self._box.wait_for_server(error, time.monotonic() + SERVER_TIMEOUT)

    @abstractmethod
    def _follow(self) -> None:
        """Follow it until the connection is lost, which raises `OSError` or what requests do."""


class _KnobStream(_Follower):
    """Keeps all knobs of a client current by one stream, which begins after what they were read at.

    It asks for what all their keys have in common: no snapshot of that is ever sent.
    """

    def __init__(self, box: Box) -> None:
        """Follow the server of `box`, as soon as there is a knob."""
        self._knobs: dict[str, Knob[Any]] = {}
        self.calls = _LatestValues(_call_listeners)
        super().__init__(box)

    def after_fork(self) -> None:
        """Begin anew, from what the keys are now."""
        super().after_fork()
        self.connected = False
        self._connection: _Connection | None = None
        self._position: str | None = None
        self._match = ""
        self._unread: set[str] = set()
        self._is_reopening = False

    def knob(self, key: str, default: T) -> Knob[T]:
        """The one knob of a key, with its value as it is now."""
        with self.lock:
            if key not in self._knobs:
                self._knobs[key] = Knob(self._box, self, key, default)
            knob: Knob[T] = self._knobs[key]
            knob.default = default
            if not _covers(self._match, key):
                self._unread.add(key)
                self._is_reopening = True
                if self._connection is not None:  # for a wider stream
                    self._box.connections.drop(self._connection)
        self._read(knob)
        self.start()
        return knob

    def _read(self, knob: Knob[Any]) -> None:
        """Ask for the value of a knob's key."""
        position = self._position
        if (item := self._box.item(knob.key)) is not None:
            knob.take(item["revision"], item["value"])
        elif position is not None:
            knob.take(int(position.rpartition(":")[2]), None, exists=False)

    def _follow(self) -> None:
        """Read what was not read yet, and follow the stream from there."""
        self._is_reopening = False  # by now it is; what fails is the server's
        try:
            self._follow_stream()
        except OSError:
            if not self._is_reopening:
                raise
        finally:
            self.connected = self.connected and self._is_reopening

    def _follow_stream(self) -> None:
        """Take the events of one stream, until its connection is lost."""
        if self._position is None:
            self._begin()
        connections = self._box.connections
        self._connection = connection = connections.open()
        with self.lock:
            self._match = _common_pattern(list(self._knobs))
            unread, self._unread = self._unread, set()
        try:
            for key in unread:
                self._read(self._knobs[key])
            parameters = {"match": self._match, "after": self._position}
            events = _EventReader(connections, connection, parameters)
            while self._position is not None:
                if (event := events.next(None)) is not None:
                    self._take_event(event)
        except BaseException:
            self._unread |= unread
            raise
        finally:
            connections.drop(connection)

    def _begin(self) -> None:
        """Begin at the newest revision; what is known may be of another store."""
        status = self._box.query("status")
        with self.lock:
            self._position = f"{status['store']}:{status['revision']}"
            self._unread = set(self._knobs)
            for knob in self._knobs.values():
                knob.revision = -1

    def _take_event(self, event: _ServerSentEvent) -> None:
        """Give the knobs what an event of the stream says."""
        if event.name == "reset":
            self._position = None
            return
        if event.name == "change":
            for change in event.data["changes"]:
                if (knob := self._knobs.get(change["key"])) is not None:
                    exists = not change.get("deleted", False)
                    knob.take(event.data["revision"], change.get("value"), exists=exists)
        elif event.name == "caught-up":
            self.connected = True
        self._position = event.id or self._position


def _common_pattern(keys: Sequence[str]) -> str:
    """A pattern for all these keys, of the segments that they begin with."""
    if len(keys) == 1:
        return keys[0]
    common: list[str] = []
    for segments in zip(*(key.split(".")[:-1] for key in keys), strict=False):
        if len(set(segments)) > 1:
            break
        common.append(segments[0])
    return ".".join([*common, "**"])


def _covers(pattern: str, key: str) -> bool:
    """Whether a pattern of `_common_pattern` matches a key."""
    is_prefix = pattern.endswith("**")
    return key.startswith(pattern[:-2]) if is_prefix else key == pattern


def _call_listeners(values: dict[tuple[str, Callable[[Any], object]], Any]) -> None:
    """Call each function that waits for changes of a knob with the key's value."""
    for (key, function), value in values.items():
        try:
            function(value)
        except Exception:  # noqa: BLE001 - it is the user's, and the others must be called
            _logger().exception("signalbox: on_change of %s failed", key)


class Mirror(_Follower, Mapping[str, Any]):
    """The keys that match with their values, local, read-only, and kept current in the background.

    It begins complete. What iterates over it sees one moment. While the server is away it is as it
    was (see `connected`); a forked process begins anew.
    """

    def __init__(self, box: Box, match: str) -> None:
        """Read all keys that match. Raises as `Box.query`."""
        self._match = match
        self._is_closed = False
        self._values: dict[str, Any] = {}
        self.revision = 0
        self._watch: Watch | None = None
        super().__init__(box)
        self._watch = self._read_all()
        self.start()

    @property
    def connected(self) -> bool:
        """Whether changes arrive now."""
        if self.is_stopped:
            self.start()
        return self._watch is not None and self._watch.is_connected

    def copy(self) -> dict[str, Any]:
        """All of it at one moment."""
        return self._current.copy()

    def __getitem__(self, key: str) -> Any:
        """The value of a key. Raises `KeyError`."""
        return self._current[key]

    def __iter__(self) -> Iterator[str]:
        """The keys at one moment."""
        return iter(self.copy())

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._current)

    def keys(self) -> KeysView[str]:
        """The keys at one moment."""
        return self.copy().keys()

    def values(self) -> ValuesView[Any]:
        """The values at one moment."""
        return self.copy().values()

    def items(self) -> ItemsView[str, Any]:
        """The keys and values at one moment."""
        return self.copy().items()

    def __repr__(self) -> str:
        """What it has, and how it stands."""
        state = "" if self.connected else ", not connected"
        return f"<Mirror of {self._match}: {len(self)} keys at revision {self.revision}{state}>"

    def __enter__(self) -> Self:
        """The mirror, which `with` closes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the mirror."""
        self.close()

    def close(self) -> None:
        """Follow no changes any more."""
        self._is_closed = True
        if self._watch is not None:
            self._watch.close()

    def after_fork(self) -> None:
        """Begin anew, from what the keys are now."""
        super().after_fork()
        self._watch = None

    def is_closed(self) -> bool:
        """Whether it was closed, or its client."""
        return self._is_closed or super().is_closed()

    @property
    def _current(self) -> dict[str, Any]:
        """The keys and values, which the thread changes."""
        if self.is_stopped:
            self.start()
        return self._values

    def _read_all(self) -> Watch:
        """Take the state as it is, all at once; a watch that goes on from there."""
        values: dict[str, Any] = {}
        watch = self._box.watch(self._match, caught_up=True)
        for change in watch:
            if change.is_caught_up:
                self._values, self.revision = values, change.revision
                break
            _take_change(values, change)
        return watch

    def _follow(self) -> None:
        """Take every change."""
        self._watch = watch = self._watch or self._read_all()
        for change in watch:
            _take_change(self._values, change)
            self.revision = change.revision


def _take_change(values: dict[str, Any], change: Change) -> None:
    """Make a change in a copy of the state."""
    if change.deleted:
        values.pop(change.key, None)
    else:
        values[change.key] = change.value


class Knob(Generic[T]):
    """A key with a value that is read locally and kept current in the background.

    All knobs of a client share one thread and one stream, which survive restarts of the server and
    begin again in a forked process.
    """

    def __init__(self, box: Box, stream: _KnobStream, key: str, default: T) -> None:
        """The knob of `key`, which is `default` where the key does not exist."""
        self._box, self._stream = box, stream
        self.key, self.default = key, default
        self._value = default
        self.revision = -1
        self._listeners: list[Callable[[T], object]] = []

    @property
    def value(self) -> T:
        """The key's value; the last known one where the server is away (see `connected`)."""
        if self._stream.is_stopped:
            self._stream.start()
        return self._value

    @property
    def connected(self) -> bool:
        """Whether changes arrive now."""
        if self._stream.is_stopped:
            self._stream.start()
        return self._stream.connected

    def set(self, value: T) -> dict[str, Any]:
        """Set the key; the acknowledgement. Raises as `Box.command`."""
        text = self._box.encode_value(self.key, value)
        acknowledgement = self._box.set(self.key, value)
        self.take(acknowledgement["revision"], _decode_json(text))
        return acknowledgement

    def on_change(self, function: Callable[[T], object]) -> Callable[[T], object]:
        """Call `function` with each new value, in a thread for all that; it may be a decorator.

        While one is at work, the others wait, and get the latest value then. What it raises is
        reported by `logging`.
        """
        self._listeners.append(function)
        return function

    def off_change(self, function: Callable[[T], object]) -> None:
        """Do not call `function` any more. Raises `ValueError` where it was not called."""
        self._listeners.remove(function)

    def take(self, revision: int, value: Any, *, exists: bool = True) -> None:
        """Have the value of a revision, unless a newer one is known."""
        new = _like(self.default, value) if exists else self.default
        with self._stream.lock:
            if revision <= self.revision:
                return
            self.revision = revision
            is_changed = type(new) is not type(self._value) or new != self._value
            self._value = new
        if is_changed and self._listeners:
            self._stream.calls.put({(self.key, one): new for one in self._listeners})

    def __float__(self) -> float:
        """The value as a float."""
        value: Any = self.value
        return float(value)

    def __int__(self) -> int:
        """The value as an int."""
        value: Any = self.value
        return int(value)

    def __bool__(self) -> bool:
        """Whether the value is true."""
        return bool(self.value)

    def __repr__(self) -> str:
        """Its key and value, and whether it is connected."""
        state = "" if self.connected else ", not connected"
        return f"<Knob {self.key} = {self._value!r}{state}>"


def _like(default: Any, value: Any) -> Any:
    """A number as the type that the default has, where it is the same number."""
    with contextlib.suppress(OverflowError):
        if isinstance(default, float) and type(value) is int:
            return float(value)
    if type(default) is int and type(value) is float and value.is_integer():
        return int(value)
    return value


def _knob_schema(key: str, default: Any, declared: Mapping[str, Any]) -> dict[str, Any]:
    """What a knob declares as a schema. Raises `ValueError` where the default is not in it."""
    given = {name: value for name, value in declared.items() if value is not None}
    numbers = [given[name] for name in ("minimum", "maximum", "multipleOf") if name in given]
    for number in (default, *numbers):
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"A number of the knob {key} is not finite: {number}.")
    low, high = given.get("minimum", default), given.get("maximum", default)
    if numbers and not low <= default <= high:
        raise ValueError(f"The default of the knob {key}, {default!r}, is not in its range.")
    if "enum" in given and default not in given["enum"]:
        raise ValueError(f"The default of the knob {key}, {default!r}, is none of its choices.")
    kinds: dict[type, str] = {
        bool: "boolean",
        str: "string",
        float: "number",
        list: "array",
        dict: "object",
    }
    kinds[int] = "number" if any(isinstance(number, float) for number in numbers) else "integer"
    kind = next((kinds[each] for each in type(default).__mro__ if each in kinds), None)
    typed = {} if kind is None or "enum" in given else {"type": kind}
    return typed | given | {"default": default}


def _warn_of_rule(name: str, present: Any, declared: dict[str, Any]) -> None:
    """Warn whoever declares a knob of a rule that says something else, and is kept."""
    import warnings  # noqa: PLC0415 - as above

    theirs = present.get("schema") if isinstance(present, dict) else present
    warnings.warn(
        f"The rule {name} is kept: it says {_encode_json(theirs)}, the knob declares "
        f'{_encode_json(declared["schema"])}. `declare="replace"` would replace it.',
        stacklevel=4,
    )


def _declare_knob(
    box: Box, key: str, default: Any, schema: dict[str, Any], *, replaces: bool
) -> None:
    """Make a knob's rule and its key where they are missing. Raises as `Box.knob`."""
    rule = {"match": key, "schema": schema}
    name = key
    if len(key) > MAX_RULE_NAME:
        name = "knob." + hmac.digest(b"knob", key.encode(), "sha256").hex()
    while True:
        present, item = box.item(RULES + name), box.item(key)
        batch = Batch(box)
        if present is None:
            batch.set(RULES + name, rule, expect="absent")
        elif replaces and present["value"] != rule:
            batch.set(RULES + name, rule, expect=present["revision"])
        elif present["value"] != rule:
            _warn_of_rule(name, present["value"], rule)
        if item is None:
            batch.set(key, default, expect="absent")
        with contextlib.suppress(Conflict), batch:  # somebody else was faster: look again
            break
    for one in box.check(key) if item else ():
        told = {"code": "rule", "status": "rejected", "message": one.message}
        raise RuleBroken(422, told | {"key": key, "rule": one.rule, "path": one.path})


# ---- The client for asyncio ----------------------------------------------------------------------


class AsyncBox:
    """The client for asyncio: each method of `Box` by its name, run in a thread and awaited.

    What gives an iterator there gives a list here. `batch` and `watch` are for `async with`, and a
    watch for `async for`. A command whose awaiting is cancelled may be done all the same.
    """

    def __init__(self, box: Box) -> None:
        """The same client as `box`, which `close` closes."""
        self.box = box

    @classmethod
    async def connect(cls, actor: str | None = None, **options: Any) -> Self:
        """A client of the running app, or of a server that is started: see `connect`."""
        return cls(await _in_thread(functools.partial(connect, actor, **options)))

    def __getattr__(self, name: str) -> Any:
        """An attribute of `Box`; of a method what does the same in a thread."""
        found = getattr(self.box, name)
        if not callable(found):
            return found

        @functools.wraps(found)
        async def call(*arguments: Any, **options: Any) -> Any:
            return await _in_thread(functools.partial(found, *arguments, **options))

        return call

    def batch(self) -> AsyncBatch:
        """A batch: `async with box.batch() as batch:` sends its commands as one transaction."""
        return AsyncBatch(self.box)

    def watch(self, match: str = "**", **options: Any) -> AsyncWatch:
        """`Box.watch` for `async for`."""
        return AsyncWatch(self.box.watch(match, **options))

    def __repr__(self) -> str:
        """The client that it is."""
        return f"<AsyncBox of {self.box!r}>"

    async def __aenter__(self) -> Self:
        """The client, which `async with` closes."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the client."""
        await _in_thread(self.box.close)


class AsyncBatch(Batch):
    """Gathers commands; `async with` sends them as one transaction, as `Batch` does."""

    async def __aenter__(self) -> Self:
        """The batch, to gather commands."""
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        """Send the gathered commands as one transaction, unless an exception leaves the batch."""
        await _in_thread(functools.partial(self.__exit__, kind))


class AsyncWatch:
    """A watch for `async for`, with a thread of its own until it is closed.

    Where awaiting the next change is cancelled, that change is the next one.
    """

    def __init__(self, watch: Watch) -> None:
        """Iterate over `watch`."""
        import queue  # noqa: PLC0415 - few clients use asyncio

        self._watch = watch
        self._wanted: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._next: Any = None
        threading.Thread(target=self._serve, name="signalbox", daemon=True).start()

    def __aiter__(self) -> Self:
        """The watch itself: it is its own iterator."""
        return self

    async def __anext__(self) -> Change:
        """Wait for the next change of a watched key. Raises `TimeoutError`, `NotRunning`."""
        import asyncio  # noqa: PLC0415 - as above
        from concurrent.futures import Future  # noqa: PLC0415

        if self._next is None:
            self._next = Future()
            self._wanted.put(self._next)
        try:
            change: Change | None = await asyncio.shield(asyncio.wrap_future(self._next))
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._next = None
            raise
        self._next = None
        if change is None:
            raise StopAsyncIteration
        return change

    async def __aenter__(self) -> Self:
        """The watch, which `async with` closes."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the watch."""
        self.close()

    def close(self) -> None:
        """End the watch."""
        self._watch.close()
        self._wanted.put(None)

    def _serve(self) -> None:
        """The thread: waits for one change whenever one is wanted."""
        while (wanted := self._wanted.get()) is not None:
            try:
                wanted.set_result(next(self._watch, None))
            except BaseException as error:  # noqa: BLE001 - whoever awaits it gets it
                wanted.set_exception(error)


async def _in_thread(function: Callable[[], Any]) -> Any:
    """What a function returns that may wait; all of it, where that is an iterator."""
    import asyncio  # noqa: PLC0415 - as above

    def call() -> Any:
        result = function()
        return list(result) if isinstance(result, Iterator) else result

    return await asyncio.to_thread(call)


# ---- What the client sends -----------------------------------------------------------------------


def query_path(path: str, parameters: Mapping[str, Any]) -> str:
    """The path of a query with those parameters that are not None."""
    present = {name: value for name, value in parameters.items() if value is not None}
    return f"/queries/{path}" + (f"?{urlencode(present)}" if present else "")


def _moment_text(moment: Moment | None) -> str | None:
    """A moment as a parameter of a query: a revision, or a time in ISO 8601."""
    if isinstance(moment, datetime):
        moment = moment.astimezone().isoformat()  # without a zone it is this computer's
    return None if moment is None else str(moment)


def _expectation(expect: Any) -> dict[str, Any]:
    """The field `expect` of a command, where the caller has given one."""
    if expect is None:
        return {}
    return {"expect": {"revision": expect} if isinstance(expect, int) else expect}


def _reversal_command(
    type: str, of: str | None, keep: Iterable[str], replace: Mapping[str, int] | None
) -> dict[str, Any]:
    """The command that undoes or redoes another one."""
    command = {"type": type, "keep": list(keep), "replace": dict(replace or {})}
    return command | ({} if of is None else {"of": of})


# ---- What it receives ----------------------------------------------------------------------------


class _ServerSentEvent(NamedTuple):
    name: str
    data: Any
    id: str | None


class _EventReader:
    """The server-sent events of a stream (WHATWG HTML, section 9.2), until its connection ends.

    It is no generator, so that it can go on after waiting was interrupted.
    """

    def __init__(
        self, pool: _ConnectionPool, connection: _Connection, parameters: Mapping[str, Any]
    ) -> None:
        """Open the stream on a connection. Raises `Rejected`, `OSError`."""
        self._socket, self._silence = connection.socket, pool.silence
        answer = pool.send(connection, "GET", query_path("stream", parameters))
        *lines, self._rest = answer.rest().split(b"\n")
        self._lines = deque(lines)
        self._heard = time.monotonic()
        self._name, self._data = "", ""
        self._id: str | None = None

    def next(self, until: float | None) -> _ServerSentEvent | None:
        """The next event, whose data may be missing; None where none has come `until` then.

        Raises `OSError` where the connection has ended or was silent for too long.
        """
        while True:
            while self._lines:
                if (event := self._take_line(self._lines.popleft())) is not None:
                    return event
            if (block := self._receive(until)) is None:
                return None
            *lines, self._rest = (self._rest + block).split(b"\n")
            self._lines.extend(lines)

    def _take_line(self, line: bytes) -> _ServerSentEvent | None:
        """The event that a line ends, if it does."""
        field, _, value = line.decode().rstrip("\r").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data = value
        elif field == "id":
            self._id = value
        elif not field and not value:
            data = decode_json(self._data) if self._data else None
            event = _ServerSentEvent(self._name, data, self._id)
            self._name, self._data, self._id = "", "", None
            return event
        return None

    def _receive(self, until: float | None) -> bytes | None:
        """The next bytes; None where none have come `until` then."""
        silent = self._heard + self._silence
        end = silent if until is None else min(until, silent)
        try:
            self._socket.settimeout(max(end - time.monotonic(), 0.001))
            block = self._socket.recv(BLOCK_BYTES)
        except TimeoutError:
            if time.monotonic() < silent:
                return None
            raise
        if not block:
            raise ConnectionError("the stream has ended")
        self._heard = time.monotonic()
        return block


def decode_json(text: bytes | str) -> Any:
    """The JSON of an answer. Raises `NotRunning` where it was not sent by a Signalbox."""
    try:
        return _decode_json(text if isinstance(text, str) else text.decode())
    except (ValueError, RecursionError) as error:
        raise NotRunning("What answered is no Signalbox: it did not send JSON.") from error


def _parse_integer(digits: str) -> int:
    """An integer of any size: Python would refuse one of more than 4,300 digits."""
    if len(digits) <= SAFE_DIGITS:
        return int(digits)
    sign, digits = (-1, digits[1:]) if digits[0] == "-" else (1, digits)
    half = len(digits) // 2
    high, low = _parse_integer(digits[:-half]), _parse_integer(digits[-half:])
    tens: int = 10**half
    return sign * (high * tens + low)


_decode_json: Final = json.JSONDecoder(parse_int=_parse_integer).decode
_encode_json: Final = json.JSONEncoder(allow_nan=False).encode


def _error_body(response: Answer) -> dict[str, Any]:
    """The error in the body of the server's answer."""
    body = response.read()
    try:
        return dict(decode_json(body))
    except (NotRunning, ValueError, TypeError):
        return {
            "code": "internal",
            "message": f"What answered with status {response.status} is no Signalbox.",
        }


def _connection_error(error: Exception) -> str:
    """Why a connection failed, in words of our own."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return "it was silent for too long"
    if isinstance(error, ConnectionError):
        return "it broke off"
    return f"the connection failed ({type(error).__name__})"


# ---- HTTP/1.1 (RFC 9112) -------------------------------------------------------------------------


class _BrokenAnswer(ConnectionError):
    """What was received is no answer of HTTP/1.1, or the connection ended within one."""


class Answer:
    """The answer to one request: its status, its headers, and its body as it arrives.

    Where it breaks off, or is none of HTTP/1.1, reading it raises `OSError`.
    """

    def __init__(self, receive: Callable[[], bytes]) -> None:
        """Read the head. `receive` gives the next bytes, none at the end of the connection."""
        self._receive = receive
        self._buffer, self._at = b"", 0  # what was received, and how much of it was read
        self._head = self._read_head()
        while self._head.startswith(b"HTTP/1.1 1"):  # interim, such as 100 Continue
            self._head = self._read_head()
        try:
            self.status = int(self._head[9:12])
            self._length = self._body_length()
        except ValueError:
            raise _BrokenAnswer from None
        self.on_end: Callable[[], object] | None = None
        self.leaves_connection = False

    def header(self, name: str) -> str | None:
        """The value of a header; None without it."""
        start = self._lower_head.find(b"\r\n" + name.lower().encode() + b":")
        if start < 0:
            return None
        end = self._head.find(b"\r\n", start + 2)
        value = self._head[start + len(name) + 3 : end if end > 0 else None]
        return value.decode("latin-1").strip()

    def read(self) -> bytes:
        """All of the body that has not been read."""
        if self._length != len(self._buffer) - self._at:
            return b"".join(self.blocks())
        body, self._at = self._buffer[self._at :], len(self._buffer)  # as nearly all of them
        self._end()
        return body

    def rest(self) -> bytes:
        """What has arrived of a body that ends with its connection; the socket has what follows."""
        if self._length is not None or self._is_chunked:
            raise _BrokenAnswer
        rest, self._at = self._buffer[self._at :], len(self._buffer)
        return rest

    def blocks(self) -> Iterator[bytes]:
        """The body in blocks, as they arrive."""
        if self._length is not None:
            yield from self._bytes(self._length)
        elif self._is_chunked:
            yield from self._chunks()
        else:
            yield self._buffer[self._at :]
            while block := self._receive():
                yield block
        self._end()

    def __iter__(self) -> Iterator[bytes]:
        """The lines of the body, each as soon as it is there."""
        begun: list[bytes] = []
        for block in self.blocks():
            *ends, rest = block.split(b"\n")
            for end in ends:
                yield b"".join((*begun, end, b"\n"))
                begun.clear()
            begun.append(rest)
        if last := b"".join(begun):
            yield last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the connection of an answer that has one of its own."""
        if self.on_end is not None:
            self.on_end()

    def _end(self) -> None:
        """Note that all of the body was read, and whether another request may follow."""
        has_end = self._length is not None or self._is_chunked
        is_clean = self._at == len(self._buffer)  # nothing came that was not asked for
        is_kept = b"\r\nconnection:" not in self._lower_head and self._head[7:8] == b"1"
        self.leaves_connection = has_end and is_clean and is_kept
        self._length = 0
        if self.on_end is not None:
            self.on_end()

    def _read_head(self) -> bytes:
        """The next head, without the empty line at its end."""
        while (end := self._buffer.find(b"\r\n\r\n", self._at)) < 0:
            self._fill()
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise _BrokenAnswer
        head, self._at = self._buffer[self._at : end], end + 4
        if not head.startswith(b"HTTP/1."):
            raise _BrokenAnswer
        self._lower_head = head.lower()
        return head

    def _body_length(self) -> int | None:
        """The length of the body in bytes; None where its end shows it. Raises `ValueError`."""
        self._is_chunked = False
        if b"\r\ntransfer-encoding:" in self._lower_head:
            self._is_chunked = (self.header("Transfer-Encoding") or "").lower() == "chunked"
            return None
        if (start := self._lower_head.find(b"\r\ncontent-length:")) >= 0:
            return int(self._lower_head[start + 17 :].split(b"\r", 1)[0])
        return 0 if self.status in (204, 304) else None

    def _chunks(self) -> Iterator[bytes]:
        """The chunks of the body (RFC 9112, section 7.1)."""
        try:
            while size := int(self._line().partition(b";")[0], 16):
                yield from self._bytes(size)
                self._line()
        except ValueError:
            raise _BrokenAnswer from None
        while self._line():  # trailers
            pass

    def _bytes(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes of the connection, as they arrive."""
        if size < 0:
            raise _BrokenAnswer
        while size:
            if self._at == len(self._buffer):
                self._fill()
            block = self._buffer[self._at : self._at + size]
            self._at += len(block)
            size -= len(block)
            yield block

    def _line(self) -> bytes:
        """The next line without its end."""
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            if len(self._buffer) - self._at > MAX_HEAD_BYTES:
                raise _BrokenAnswer
            self._fill()
        line, self._at = self._buffer[self._at : end], end + 2
        return line

    def _fill(self) -> None:
        """Receive more."""
        if not (block := self._receive()):
            raise _BrokenAnswer
        left = self._buffer[self._at :]
        self._buffer, self._at = left + block if left else block, 0


class _Connection:
    """A connection to the server, which has one request at a time."""

    def __init__(self, host: str, port: int, silence: float) -> None:
        """Connect. Raises `OSError`."""
        address: Any = (host.encode(), port)  # for a text Python loads the rules of domain names
        self.socket = socket.create_connection(address, silence)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"Host: {host}:{port}"
        self._pid = os.getpid()
        self._answer: Answer | None = None

    @property
    def is_reusable(self) -> bool:
        """Whether another request can be sent: the last answer was read to its end."""
        return self._answer is not None and self._answer.leaves_connection

    def send(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None,
        authorization: str,
        headers: Mapping[str, str],
    ) -> Answer:
        """Send a request, and read the head of its answer. Raises `OSError`."""
        self._answer = None
        head = f"{method} {path} HTTP/1.1\r\n{self._host}\r\n{authorization}\r\n"
        for name, value in headers.items():
            head += f"{name}: {value}\r\n"
        if not head.isascii() or head.count("\n") != 3 + len(headers):
            raise ValueError("A path, token or header has a character that none may have.")
        if body is None and method == "GET":
            self.socket.sendall(f"{head}\r\n".encode())
        elif body is None or isinstance(body, bytes):
            content = body or b""
            self.socket.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        else:
            self.socket.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            for block in body:
                if block:
                    self.socket.sendall(b"%x\r\n%b\r\n" % (len(block), block))
            self.socket.sendall(b"0\r\n\r\n")
        self._answer = Answer(self._receive)
        return self._answer

    def _receive(self) -> bytes:
        return self.socket.recv(BLOCK_BYTES)

    def end(self) -> None:
        """End the connection, even if another thread waits on it."""
        if self._pid == os.getpid():  # a forked process only has a copy of its parent's
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


# ---- Connections ---------------------------------------------------------------------------------


class _ConnectionPool:
    """Connections to one server, kept open between requests and shared by threads.

    On each of them the server first proves that it knows the token; only then the token is sent.
    """

    def __init__(self, silence: float) -> None:
        """A pool without connections; each waits `silence` seconds for any answer."""
        self.url = self.token = self._authorization = ""
        self.closed = threading.Event()
        self._directory: str | None = None
        self.silence = silence
        self._idle: deque[_Connection] = deque()
        self._connections: set[_Connection] = set()
        self._pid = os.getpid()

    def after_fork(self) -> None:
        """Have an event of its own: a thread of the parent may have held its lock."""
        was_closed, self.closed = self.closed.is_set(), threading.Event()
        if was_closed:
            self.closed.set()

    def use(self, url: str, token: str, directory: str | None) -> None:
        """Connect to this server from now on; its data directory must be `directory` if given."""
        self.url, self.token, self._directory = url, token, directory
        self._authorization = f"Authorization: Bearer {token}"

    def send(
        self,
        connection: _Connection,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request, once. Raises `Rejected`, `OSError`."""
        answer = connection.send(method, path, body, self._authorization, headers or {})
        if answer.status >= 400:
            raise _refusal(answer.status, _error_body(answer))
        return answer

    def send_once(
        self,
        connection: _Connection,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        """Send the one request of a connection, which ends with its answer. Raises as `send`."""
        try:
            answer = self.send(connection, method, path, body, headers)
        except BaseException:
            self.drop(connection)
            raise
        answer.on_end = functools.partial(self.drop, connection)
        return answer

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The body of the answer to a request, on a connection that no other request uses.

        It is kept for the next one. Raises `Rejected`, `Stranger`, `OSError`.
        """
        connection = self._idle_or_new()
        try:
            return self.send(connection, method, path, body, headers).read()
        finally:
            if connection.is_reusable and not self.closed.is_set():
                self._idle.append(connection)
            else:
                self.drop(connection)

    def open(self) -> _Connection:
        """A new connection. Raises `Stranger`, `Rejected`, `OSError`."""
        if self.closed.is_set():
            raise ConnectionError("the client has been closed")
        self._forget_inherited()
        deadline = time.monotonic() + self.silence
        parts = urlsplit(self.url)
        connection = _Connection(parts.hostname or "", parts.port or 80, self.silence)
        self._connections.add(connection)
        if self.token:
            self._verify_server(connection, deadline)
        return connection

    def drop(self, connection: _Connection) -> None:
        """End a connection, even if another thread waits on it."""
        self._connections.discard(connection)
        connection.end()

    def drop_idle(self) -> None:
        """End the connections that no request uses."""
        idle, self._idle = self._idle, deque()
        for connection in idle:
            self.drop(connection)

    def close(self) -> None:
        """End all connections of the pool; no other is opened."""
        self.closed.set()
        self._forget_inherited()
        for connection in list(self._connections):
            self.drop(connection)

    def _idle_or_new(self) -> _Connection:
        """A connection that no request uses, or a new one."""
        self._forget_inherited()
        try:
            return self._idle.pop()
        except IndexError:
            return self.open()

    def _forget_inherited(self) -> None:
        """A forked process has copies of its parent's connections, which are not its own."""
        if self._pid != os.getpid():
            copies, self._connections, self._idle = self._connections, set(), deque()
            self._pid = os.getpid()
            for connection in copies:
                connection.end()

    def _verify_server(self, connection: _Connection, deadline: float) -> None:
        """Have the server prove before the deadline that it knows the token; else drop it.

        Raises `Stranger`, `Rejected`, `OSError`.
        """
        host, port = connection.socket.getpeername()[:2]
        with contextlib.ExitStack() as unless_verified:
            unless_verified.callback(self.drop, connection)
            if not self._knows_token(connection.socket, f"{host}:{port}", deadline):
                raise Stranger(f"{host}:{port}")
            unless_verified.pop_all()
        connection.socket.settimeout(self.silence)

    def _knows_token(self, sock: socket.socket, address: str, deadline: float) -> bool:
        """Whether the server at the other end of `sock` proves that it knows the token.

        Raises `OSError` where it does not answer, `Rejected` where it has too many connections.
        """
        nonce = os.urandom(24).hex()
        sock.sendall(f"GET /hello?nonce={nonce} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        reader = _LimitedReader(sock, MAX_HELLO_BYTES, deadline)
        try:
            answer = Answer(reader.receive)
            if answer.status == TOO_MANY_CONNECTIONS:
                raise _refusal(answer.status, _error_body(answer))
            body = answer.read()
        except OSError:
            if reader.has_received_nothing:  # a server that hangs or has just ended
                raise
            return False
        return _proves_token(body, self.token, nonce, address, self._directory)


class _LimitedReader:
    """Receives at most `size` bytes of a server's answer from a socket, until a deadline, however
    slowly they come.
    """

    def __init__(self, sock: socket.socket, size: int, deadline: float) -> None:
        """Receive from `sock` until `deadline`, in seconds of `time.monotonic`."""
        self._sock, self._size, self._deadline = sock, size, deadline
        self.has_received_nothing = True

    def receive(self) -> bytes:
        """The next bytes of the answer; none at its end or its limit.

        Raises `OSError`; `TimeoutError` after the deadline.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        block = self._sock.recv(self._size) if self._size else b""
        self._size -= len(block)
        self.has_received_nothing = self.has_received_nothing and not block
        return block


def _proves_token(
    answer: bytes, token: str, nonce: str, address: str, directory: str | None
) -> bool:
    """Whether only a server that knows the token can have sent this answer to `/hello`."""
    try:
        hello = json.loads(answer)
        store, place = str(hello["store"]), str(hello["directory"])
        proofs = [str(hello["proofs"][name]).encode() for name in ("read", "write")]
    except (ValueError, TypeError, LookupError, RecursionError):
        return False
    text = f"signalbox hello\n{nonce}\n{address}\n{store}\n{place}"
    expected = hmac.digest(token.encode(), text.encode(), "sha256").hex().encode()
    is_known = any(hmac.compare_digest(expected, proof) for proof in proofs)
    return is_known and directory in (None, place)


# ---- Finding a server: data directory and `endpoint.json` ----------------------------------------


def expand_data_dir(folder: str | os.PathLike[str]) -> Path:
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
    if variable := os.environ.get("SIGNALBOX_DATA_DIR"):
        return expand_data_dir(variable)
    if variable == "":
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
        if (endpoint := read_endpoint_file(data_dir)) is not None:
            _probe(endpoint)
    except Stranger as error:
        _warn_of_stranger(error)
        return None
    except UNREACHABLE:
        return None
    return endpoint


def await_endpoint(data_dir: Path, seconds: float = SERVER_TIMEOUT) -> Endpoint:
    """The server that somebody else is starting. Raises `NotRunning` where it does not start."""
    end = time.monotonic() + seconds
    while (endpoint := find(data_dir)) is None:
        if time.monotonic() > end:
            raise NotRunning(f"No server answers for {data_dir}, but one holds its lock.")
        time.sleep(RETRY_INTERVAL)
    return endpoint


def hanging_process(data_dir: Path) -> int | None:
    """The process of the server of `data_dir` where it accepts connections but does not answer."""
    endpoint = None
    try:
        if (endpoint := read_endpoint_file(data_dir)) is not None:
            _probe(endpoint)
    except TimeoutError:
        return endpoint.pid if endpoint else None
    except UNREACHABLE:
        pass
    return None


UNREACHABLE: Final = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    NotRunning,
    Rejected,
)
"""What looking for a server may raise where none runs."""


def read_endpoint_file(data_dir: Path) -> Endpoint | None:
    """The endpoint in the data directory; None where its file is a copy from another folder."""
    endpoint = _parse_endpoint(_read_regular_file(data_dir / "endpoint.json"))
    return endpoint if endpoint.directory == _directory_id(data_dir) else None


def _read_regular_file(path: Path) -> bytes:
    """The content of a file. Raises `OSError`, also for a pipe or device, which could block."""
    number = os.open(path, os.O_RDONLY | NONBLOCKING)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path} is no file")
    with os.fdopen(number, "rb") as file:
        return file.read()


def _parse_endpoint(text: bytes) -> Endpoint:
    """The endpoint in the text of `endpoint.json`; older servers have written no node."""
    fields = decode_json(text)
    required = [fields[name] for name in Endpoint._fields if name != "node"]
    return Endpoint._make([*required, fields.get("node")])


def _directory_id(path: Path) -> str:
    """Device and inode of a data directory, as in `Endpoint.directory`."""
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}"


def _probe(endpoint: Endpoint) -> None:
    """Have a server prove that it runs. Raises `TimeoutError` where it does not answer."""
    token, directory = endpoint.read_token, endpoint.directory
    with Box(endpoint.url, token, silence=PROBE_TIMEOUT, directory=directory) as box:
        box.connections.open()


def _hanging_error(data_dir: Path) -> NotRunning | None:
    """The exception for a server that accepts connections but does not answer, if that is so."""
    if (pid := hanging_process(data_dir)) is None:
        return None
    return NotRunning(
        f"The server (process {pid}) does not answer. Wait until it does, or end that process: "
        "what it has acknowledged is kept."
    )


_reported_strangers: set[str] = set()


def _warn_of_stranger(stranger: Stranger) -> None:
    """Log once that another program has the port of a server that crashed; a new one is started."""
    if stranger.address not in _reported_strangers:
        _reported_strangers.add(stranger.address)
        import logging  # noqa: PLC0415 - slow to import, and rarely needed

        logging.getLogger("signalbox").warning("signalbox: %s", stranger)


def _listening_program(address: str) -> str:
    """Which program listens there, in brackets; empty where that cannot be found out."""
    try:
        psutil: Any = import_module("psutil")
    except ImportError:
        return ""
    port = int(address.rpartition(":")[2])
    try:
        sockets = [
            connection
            for connection in psutil.net_connections("tcp")
            if connection.laddr[1:] == (port,)
        ]
        pids = {one.pid for one in sockets if one.status == psutil.CONN_LISTEN}
        names = [f"{psutil.Process(pid).name()}, pid {pid}" for pid in pids if pid is not None]
    except (OSError, psutil.Error):
        return ""
    if not pids:
        return ""
    return f" ({'; '.join(names) or 'a program of another user'})"


# ---- Starting a server ---------------------------------------------------------------------------


class _ServerFinder:
    """Finds the server of a data directory, or starts one."""

    def __init__(self, data_dir: Path, start: bool) -> None:
        """Finds the server of `data_dir`; `start` allows to start one."""
        self.data_dir = data_dir
        self._start = start
        self.after_fork()
        self._process: subprocess.Popen[bytes] | None = None

    def after_fork(self) -> None:
        """Have a lock of its own."""
        self._lock = threading.Lock()

    def find_or_start(self) -> Endpoint:
        """The server that runs now, else one that was started. Raises `NotRunning`."""
        with self._lock:
            if (endpoint := find(self.data_dir)) is not None:
                return endpoint
            if not self._start:
                raise _hanging_error(self.data_dir) or NotRunning(
                    f"No Signalbox runs for {self.data_dir}."
                )
            self.close()
            endpoint, self._process = start_server(self.data_dir)
            return endpoint

    def close(self) -> None:
        """Release the server that was started: it ends as soon as nobody else uses it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def start_server(
    data_dir: Path,
    log: IO[bytes] | None = None,
    starting: Callable[[subprocess.Popen[bytes]], object] = lambda _: None,
    options: Sequence[str] = (),
) -> tuple[Endpoint, subprocess.Popen[bytes] | None]:
    """Start a server; where another process was faster, find that one's (then without a process).

    It runs until its stdin is closed and nobody uses it. Its stderr is appended to `log`, and is
    the message of `NotRunning` where it does not start. `starting` is called with each process
    that was created, before waiting until it is ready. `options` are further ones of `serve`.
    """
    end, command = time.monotonic() + SERVER_TIMEOUT, [*serve_command(data_dir), *options]
    while True:
        with contextlib.nullcontext(log) if log else _temporary_file() as stderr:
            process, line, output = _launch_server(command, stderr, starting)
        if line:
            return _parse_endpoint(line), process
        status = process.wait()
        is_in_use = status == CANNOT_OPEN and IN_USE_PREFIX in output
        if not is_in_use or time.monotonic() > end:
            raise (is_in_use and _hanging_error(data_dir)) or NotRunning(
                _start_error(output, status)
            )
        with contextlib.suppress(NotRunning):  # the other one may just be ending
            return await_endpoint(data_dir, PROBE_TIMEOUT), None


def _temporary_file() -> IO[bytes]:
    """A new file without a name."""
    import tempfile  # noqa: PLC0415 - slow to import, and only needed where none runs

    return tempfile.TemporaryFile()


def serve_command(data_dir: Path) -> list[str]:
    """The command that starts a server; it ends once its stdin is closed and nobody uses it."""
    if bundled := bundled_program():
        program = [str(bundled), "serve"]
    elif __name__ == "signalbox.client":  # and no copy of this file
        # -P: a script's folder may hold a `signalbox.py`.
        program = [sys.executable, "-P", "-m", "signalbox.server"]
    elif installed := _installed_program():
        program = [installed, "serve"]
    else:
        raise NotRunning("No server runs, and there is no `signalbox` on PATH to start one.")
    return [*program, "--json", "--linger", "0", "--data-dir", str(data_dir)]


def _installed_program() -> str | None:
    """The path of the command `signalbox`, if there is one."""
    import shutil  # noqa: PLC0415 - as above

    return shutil.which("signalbox")


def bundled_program() -> Path | None:
    """The bundled program that has a console, where this runs in one of our bundles; else None."""
    program = Path(sys.executable)
    if not getattr(sys, "frozen", False) or not program.stem.lower().startswith("signalbox"):
        return None
    return program.with_name("signalbox-cli.exe") if sys.platform == "win32" else program


def _launch_server(
    command: list[str], stderr: IO[bytes], on_process: Callable[[subprocess.Popen[bytes]], object]
) -> tuple[subprocess.Popen[bytes], bytes, str]:
    """A new server, with the line that it printed when it was ready, or its error message.

    Raises `NotRunning` where the system starts no process.
    """
    begin = stderr.seek(0, os.SEEK_END)
    import subprocess  # noqa: PLC0415 - slow to import, and only needed where none runs

    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,  # the terminal's Ctrl-C is for the script
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # or Windows shows a console
        )
    except OSError as error:
        raise NotRunning(f"The server cannot be started: {command[0]} does not run.") from error
    on_process(process)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
    if line:
        # It may end before us; without a wait it would stay a zombie.
        threading.Thread(target=process.wait, daemon=True).start()
        return process, line, ""
    process.stdin.close()
    process.wait()
    stderr.seek(begin)
    output = stderr.read().decode(errors="replace").strip()
    return process, line, output.removeprefix("signalbox: ")


def _start_error(output: str, status: int) -> str:
    """Why a server did not start: its own message, unless that is a traceback."""
    if output and "Traceback (most recent call last)" not in output:
        return output
    return f"The server ended with status {status}: `signalbox serve` shows what it said."


def main() -> int:
    """`signalbox` on the command line calls this where a copy of this file hides the program."""
    print(
        f"signalbox: {__file__} is a copy of the client, and is found where the program should be. "
        "Rename it, or take its folder off PYTHONPATH.",
        file=sys.stderr,
    )
    return CANNOT_OPEN
