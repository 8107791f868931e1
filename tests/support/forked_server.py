"""A server of the tests that was forked from one which has the program loaded already."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Final, Self

PRELOADER: Final = Path(__file__).with_name("server_preloader.py")
ROOT: Final = PRELOADER.parent.parent.parent


class ForkedServer:
    """What `subprocess.Popen` is for a process that was started afresh."""

    def __init__(
        self,
        arguments: Sequence[str],
        env: Mapping[str, str],
        stderr: IO[bytes],
        limits: Mapping[str, float],
    ) -> None:
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self._told, told = os.pipe()
        given = [theirs_in, theirs_out, stderr.fileno(), told]
        wanted = {"arguments": list(arguments), "env": dict(env), "limits": dict(limits)}
        text = json.dumps(wanted).encode()
        socket.send_fds(_preloader(), [text], given)
        for one in (theirs_in, theirs_out, told):
            os.close(one)
        self.stdin: IO[bytes] | None = os.fdopen(ours_in, "wb")
        self.stdout: IO[bytes] = os.fdopen(ours_out, "rb")
        self.returncode: int | None = None
        self._lines = os.fdopen(self._told, "rb", buffering=0)
        self.pid = int(self._lines.readline())

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        if self.returncode is None and select.select([self._lines], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status. Raises `subprocess.TimeoutExpired`."""
        if self.returncode is None:
            if not select.select([self._lines], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("serve", timeout or 0.0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, None]:
        """Close its stdin and wait for its end; the rest of its output."""
        if self.stdin is not None:
            self.stdin.close()
        self.wait(timeout)
        out = b"" if self.stdout.closed else self.stdout.read()
        self.stdout.close()
        return out, None

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # gone, and its line is still on its way
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.communicate()

    def _end(self) -> None:
        self.returncode = int(self._lines.readline())
        self._lines.close()


@cache
def _preloader() -> socket.socket:
    """The end at which one asks; the other process ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, str(PRELOADER), str(theirs.fileno())],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
