"""The command line as a process of its own: its output in pipes, or on a terminal."""

import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from harness import ROOT, SECONDS

PROGRAM: Final = (sys.executable, "-m", "desktop")


class Done(NamedTuple):
    """How one ended and what it said; on a terminal `out` is all of it."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        """Its output as one JSON value a line."""
        return [json.loads(line) for line in self.out.split("\n") if line]


class Shell:
    """Runs subcommands on one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.env = {**os.environ, "SIGNALBOX_DATA_DIR": str(data_dir)}

    def __call__(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Done:
        """Run one subcommand to its end."""
        done = subprocess.run(
            [*PROGRAM, *arguments],
            cwd=ROOT,
            env={**self.env, **(env or {})},
            input=stdin,
            capture_output=True,
            timeout=SECONDS * 2,
            check=False,
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str, stdin: bytes = b"") -> str:
        """The output of one that must succeed without a word on stderr."""
        done = self(*arguments, stdin=stdin)
        assert (done.status, done.err) == (0, ""), done
        return done.out

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """One that runs beside the block; killed at its end unless it has ended."""
        process = subprocess.Popen(
            [*PROGRAM, *arguments],
            cwd=ROOT,
            env=self.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def on_terminal(self, *arguments: str, typed: bytes = b"") -> Done:
        """Run one with its output, both kinds, on a terminal of 120 columns, where one types."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 120))
        env = {**self.env, "TERM": "xterm-256color"}
        process = subprocess.Popen(
            [*PROGRAM, *arguments], cwd=ROOT, env=env, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        os.write(ours, typed)
        out = bytearray()
        with process, os.fdopen(ours, "rb", buffering=0) as terminal, suppress(OSError):
            while data := terminal.read(65_536):  # the last reader of a closed one gets EIO
                out += data
        return Done(process.returncode, out.decode().replace("\r\n", "\n"), "")
