"""`run`: keep the state of a program in keys while it runs."""

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import IO, Any, Final

import click

from signalbox import client
from signalbox.desktop import child_env
from signalbox.desktop.commands import complain, connect, data_dir_option
from signalbox.desktop.commands.arguments import Program

EVERY: Final = 1.0
"""Seconds between two reports of a program that says nothing."""
SOON: Final = 0.1
"""Seconds between two reports of a program that says much."""
LINE: Final = 1_000
"""Characters of the last line that are kept."""
BLOCK: Final = 64 * 1024
ACTOR: Final = "run"
"""Of its own, so that `undo` undoes what the person did last, not what is told here."""
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
SIGNALLED: Final = 128


@click.command("run", cls=Program)
@click.argument("name")
@click.argument("program", metavar="-- CMD…", nargs=-1, required=True, type=click.UNPROCESSED)
@data_dir_option
def run(name: str, program: tuple[str, ...], data_dir: Path) -> int:
    """Run CMD and keep NAME.status, .exit_code, .started, .seconds, .last_line current."""
    with connect(data_dir, name=ACTOR) as box:
        return _Report(box, name).follow(program)


class _Report:
    """What is known of the program, told at most ten times a second."""

    def __init__(self, box: client.Box, name: str) -> None:
        self._box = box
        self._name = name
        self._started = monotonic()
        self._line = self._told = ""
        self._is_over = False
        self._telling = threading.Lock()
        self._spoken = threading.Event()
        self._ended = threading.Event()
        self._trouble = ""

    def follow(self, program: tuple[str, ...]) -> int:
        """Start the program, wait for its end and that of what it prints; its exit status as a
        shell gives it.

        Raises `Rejected` where the name is none, before anything is started.
        """
        started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._set(status="running", started=started, seconds=0.0, last_line="", exit_code=None)
        teller = threading.Thread(target=self._keep_telling)
        teller.start()
        try:
            status = self._run(program)
        finally:
            self._ended.set()
            self._spoken.set()
            teller.join()
        self._tell()
        return status

    def _run(self, program: tuple[str, ...]) -> int:
        try:
            process = subprocess.Popen(
                program,
                env=child_env.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            name = os.fsencode(program[0]).decode(errors="replace")
            self._line = f"{name} cannot be started: {_why(error)}."
            complain(self._line)
            status = NOT_EXECUTABLE if isinstance(error, PermissionError) else NOT_FOUND
            self._tell(status)
            return status
        before = _pass_signals_on(process)
        pipes = [(process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)]
        copiers = [threading.Thread(target=self._copy, args=pipe, daemon=True) for pipe in pipes]
        for copier in copiers:
            copier.start()
        status = process.wait()
        status = SIGNALLED - status if status < 0 else status
        for copier in copiers:
            copier.join(SOON)
        self._tell(status)
        # A child in the background may hold the pipes: whoever ends us now means us.
        for number, handler in before.items():
            signal.signal(number, handler)
        for copier in copiers:
            copier.join()
        return status

    def _copy(self, source: IO[bytes], target: IO[bytes]) -> None:
        """As it comes, since a prompt or a progress bar ends no line."""
        rest = b""
        with source:
            while block := os.read(source.fileno(), BLOCK):
                try:
                    target.write(block)
                    target.flush()
                except BrokenPipeError:  # the program is to meet it, too
                    os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
                    return
                except OSError:  # full: the program goes on, and what it says last is kept
                    os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
                    complain("Not all that the program says can be printed here: no room is left.")
                *lines, rest = (rest + block).replace(b"\r", b"\n").split(b"\n")
                rest = rest[: 4 * LINE]
                self._hear(lines)
        self._hear([rest])

    def _hear(self, lines: list[bytes]) -> None:
        for line in reversed(lines):
            if text := line.decode(errors="replace").strip():
                self._line = text[:LINE]
                self._spoken.set()
                return

    def _keep_telling(self) -> None:
        while not self._ended.wait(SOON):
            self._spoken.wait(EVERY)
            self._spoken.clear()
            if not self._ended.is_set():
                self._tell()

    def _tell(self, status: int | None = None) -> None:
        """What has changed since it was told last; with `status` that the program has ended."""
        with self._telling:
            fields: dict[str, Any] = {} if self._is_over else {"seconds": self._seconds()}
            if status is not None:
                fields |= {"status": "ok" if status == 0 else "failed", "exit_code": status}
                self._is_over = True
            if (line := self._line) != self._told:
                fields["last_line"] = self._told = line
            if fields:
                self._try_to_set(fields)

    def _try_to_set(self, fields: dict[str, Any]) -> None:
        try:
            self._set(**fields)
        except (client.NotRunning, client.Rejected) as error:
            # The program matters more than its report.
            if self._trouble != str(error):
                self._trouble = str(error)
                complain(self._trouble)

    def _set(self, **fields: Any) -> None:
        with self._box.batch() as batch:
            for field, value in fields.items():
                batch.set(f"{self._name}.{field}", value)

    def _seconds(self) -> float:
        return round(monotonic() - self._started, 1)


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such program"
    from signalbox.server.runtime.error_messages import reason  # noqa: PLC0415 - for this alone

    return reason(error)


def _pass_signals_on(process: subprocess.Popen[bytes]) -> dict[int, Any]:
    """Whoever ends us means the program; we stay to tell how it ended. Who handled them before."""
    before: dict[int, Any] = {}
    for name in ("SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):  # Windows has but one of them
            before[number] = signal.signal(number, lambda given, _: process.send_signal(given))
    # The terminal has told the program, too.
    before[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
    return before


SUBCOMMANDS: Final = (run,)
