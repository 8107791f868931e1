"""The command line: in the test's own process, as a process of its own, or on a terminal.

A process costs a third of a second before it does anything, so the first is the usual way. Whatever
it says and does beside its output is real in all three: it finds or starts real servers.
"""

import json
import os
import pty
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import BufferedRandom, TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Final, NamedTuple

from signalbox.desktop import cli
from support.harness import ROOT, SECONDS

PROGRAM: Final = (sys.executable, "-m", "desktop")
TAKES_SIGNALS: Final = "run"
"""The subcommand that takes its process's signals over, so that it needs one of its own."""


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
        """Run one subcommand to its end, in this process where that makes no difference."""
        if TAKES_SIGNALS in arguments:
            return self.apart(*arguments, stdin=stdin, env=env)
        assert threading.current_thread() is threading.main_thread(), "output has one place: apart"
        with _file("<stdin>") as given, _file("<stdout>") as out, _file("<stderr>") as err:
            given.write(stdin)
            given.seek(0)
            with _changed({**self.env, **(env or {})}, given, out, err):
                status = cli.main(arguments)
            return Done(status, _whole(out).decode(), _whole(err).decode())

    def apart(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Done:
        """The same as a process of its own: for what concerns the start or end of one."""
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


@contextmanager
def _changed(
    environ: Mapping[str, str], given: BufferedRandom, out: BufferedRandom, err: BufferedRandom
) -> Iterator[None]:
    """What a process has to itself, changed for the block; what the block changed is as before."""
    before, digits, stdin = dict(os.environ), sys.get_int_max_str_digits(), sys.stdin
    streams = [TextIOWrapper(file, "utf-8", write_through=True) for file in (given, out, err)]
    os.environ.update(environ)
    try:
        sys.stdin = streams[0]
        with redirect_stdout(streams[1]), redirect_stderr(streams[2]):
            yield
    finally:
        sys.stdin = stdin
        sys.set_int_max_str_digits(digits)
        os.environ.clear()
        os.environ.update(before)
        for stream in streams:
            stream.detach()  # else it would close the file


@contextmanager
def _file(name: str) -> Iterator[BufferedRandom]:
    """An empty one that has a descriptor, as click and the system want it, and a stream's name."""
    with TemporaryFile(buffering=0) as raw:
        raw.name = name
        yield BufferedRandom(raw)


def _whole(file: BufferedRandom) -> bytes:
    file.seek(0)
    return file.read()
