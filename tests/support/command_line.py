"""The command line: in the test's own process, as a process of its own, or on a terminal.

A process takes a third of a second to start, so the first is the usual way. Everything but its
standard streams is real in all three: it finds or starts real servers.
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

PROGRAM: Final = (sys.executable, "-m", "signalbox")
SIGNAL_HANDLING_SUBCOMMAND: Final = "run"
"""The subcommand that sets signal handlers, and so needs a process of its own."""


class CommandResult(NamedTuple):
    """Exit status and output of a subcommand; on a terminal `out` is all output."""

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
    ) -> CommandResult:
        """Run one subcommand to its end, in this process where that makes no difference."""
        if SIGNAL_HANDLING_SUBCOMMAND in arguments:
            return self.as_process(*arguments, stdin=stdin, env=env)
        assert threading.current_thread() is threading.main_thread(), (
            "stdout can be replaced once: as_process"
        )
        with (
            _stream_file("<stdin>") as given,
            _stream_file("<stdout>") as out,
            _stream_file("<stderr>") as err,
        ):
            given.write(stdin)
            given.seek(0)
            with _process_state({**self.env, **(env or {})}, given, out, err):
                status = cli.main(arguments)
            return CommandResult(status, _content(out).decode(), _content(err).decode())

    def as_process(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> CommandResult:
        """The same as a process of its own, for what concerns the start or end of a process."""
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
        return CommandResult(done.returncode, done.stdout.decode(), done.stderr.decode())

    def ok(self, *arguments: str, stdin: bytes = b"") -> str:
        """The output of one that must succeed with an empty stderr."""
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

    def on_terminal(self, *arguments: str, typed: bytes = b"") -> CommandResult:
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
        return CommandResult(process.returncode, out.decode().replace("\r\n", "\n"), "")


@contextmanager
def _process_state(
    environ: Mapping[str, str], given: BufferedRandom, out: BufferedRandom, err: BufferedRandom
) -> Iterator[None]:
    """Set environment and standard streams for the block, and restore them and what it changed."""
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
def _stream_file(name: str) -> Iterator[BufferedRandom]:
    """An empty file with a descriptor and the name of a standard stream, as click needs it."""
    with TemporaryFile(buffering=0) as raw:
        raw.name = name
        yield BufferedRandom(raw)


def _content(file: BufferedRandom) -> bytes:
    file.seek(0)
    return file.read()
