"""`signalbox run`: run a program and keep its status, output and duration in keys."""

import logging
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
from signalbox.desktop.arguments import ProgramCommand
from signalbox.desktop.cli_client import connect
from signalbox.desktop.options import complete_file, data_dir_option
from signalbox.desktop.terminal_output import print_error

log: Final = logging.getLogger(__name__)

QUIET_INTERVAL: Final = 1.0
"""Seconds between two reports of a program that prints nothing."""
BUSY_INTERVAL: Final = 0.1
"""Seconds between two reports of a program that prints much."""
MAX_LINE: Final = 1_000
"""Characters of the last line that are kept."""
BLOCK: Final = 64 * 1024
ACTOR: Final = "run"
"""Its own, so that `undo` undoes what the person did last, not what is reported here."""
NOT_EXECUTABLE: Final = 126
NOT_FOUND: Final = 127
SIGNALLED: Final = 128


@click.command("run", cls=ProgramCommand)
@click.argument("name")
@click.argument(
    "program",
    metavar="-- CMD…",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    shell_complete=complete_file,
)
@data_dir_option
def run(name: str, program: tuple[str, ...], data_dir: Path) -> int:
    """Run CMD and keep NAME.status, .exit_code, .started, .seconds, .last_line current."""
    with connect(data_dir, name=ACTOR) as box:
        return _ReportedProgram(box, name).run(program)


class _ReportedProgram:
    """A program whose status is written to keys, at most ten times a second."""

    def __init__(self, box: client.Box, name: str) -> None:
        self._box = box
        self._name = name
        self._started = monotonic()
        self._last_line = self._reported_line = ""
        self._has_final_report = False
        self._report_lock = threading.Lock()
        self._has_output = threading.Event()
        self._ended = threading.Event()
        self._last_error = ""

    def run(self, program: tuple[str, ...]) -> int:
        """Start the program, wait for its end and that of its output; its exit status as a shell
        gives it.

        Raises `Rejected` where the name is none, before anything is started.
        """
        started = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            self._set(status="running", started=started, seconds=0.0, last_line="", exit_code=None)
        except client.Rejected as error:
            error.message = _name_error(self._name) or error.message
            raise
        reporter = threading.Thread(target=self._report_regularly)
        reporter.start()
        try:
            status = self._run_program(program)
        finally:
            self._ended.set()
            self._has_output.set()
            reporter.join()
        self._report()
        return status

    def _run_program(self, program: tuple[str, ...]) -> int:
        """Run the program, pass on its output and signals; its exit status."""
        try:
            process = subprocess.Popen(
                program,
                env=child_env.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            return self._report_not_started(program[0], error)
        handlers = _forward_signals(process)
        pipes = [(process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer)]
        copiers = [
            threading.Thread(target=self._copy_output, args=pipe, daemon=True) for pipe in pipes
        ]
        for copier in copiers:
            copier.start()
        status = process.wait()
        status = SIGNALLED - status if status < 0 else status
        for copier in copiers:
            copier.join(BUSY_INTERVAL)
        self._report(status)
        # A child in the background may hold the pipes: a signal now is for us, not for the program.
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for copier in copiers:
            copier.join()
        return status

    def _report_not_started(self, word: str, error: OSError) -> int:
        """Report a program that cannot be started; the exit status."""
        name = os.fsencode(word).decode(errors="replace")
        self._last_line = f"{name} cannot be started: {_start_error(error)}."
        print_error(self._last_line)
        status = NOT_EXECUTABLE if isinstance(error, PermissionError) else NOT_FOUND
        self._report(status)
        return status

    def _copy_output(self, source: IO[bytes], target: IO[bytes]) -> None:
        """Copy blocks as they come, since a prompt or a progress bar ends no line."""
        unfinished = b""
        with source:
            while block := os.read(source.fileno(), BLOCK):
                try:
                    target.write(block)
                    target.flush()
                except BrokenPipeError:  # the program is to get one as well
                    os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
                    return
                except OSError:  # full: the program goes on, and its last line is kept
                    os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())
                    log.warning(
                        "Not all that the program says can be printed here: no room is left."
                    )
                *lines, unfinished = (unfinished + block).replace(b"\r", b"\n").split(b"\n")
                unfinished = unfinished[: 4 * MAX_LINE]
                self._keep_last_line(lines)
        self._keep_last_line([unfinished])

    def _keep_last_line(self, lines: list[bytes]) -> None:
        """Remember the last of these lines that is not blank."""
        for line in reversed(lines):
            if text := line.decode(errors="replace").strip():
                self._last_line = text[:MAX_LINE]
                self._has_output.set()
                return

    def _report_regularly(self) -> None:
        """Write the program's state to its keys while it runs: its output, and how long it runs."""
        while not self._ended.wait(BUSY_INTERVAL):
            self._has_output.wait(QUIET_INTERVAL)
            self._has_output.clear()
            if not self._ended.is_set():
                self._report()

    def _report(self, status: int | None = None) -> None:
        """Write what has changed since the last report; with `status` the program has ended."""
        with self._report_lock:
            fields: dict[str, Any] = {} if self._has_final_report else {"seconds": self._seconds()}
            if status is not None:
                fields |= {"status": "ok" if status == 0 else "failed", "exit_code": status}
                self._has_final_report = True
            if (line := self._last_line) != self._reported_line:
                fields["last_line"] = self._reported_line = line
            if fields:
                self._try_to_set(fields)

    def _try_to_set(self, fields: dict[str, Any]) -> None:
        """Write the program's keys; an error is printed, and the program goes on."""
        try:
            self._set(**fields)
        except (client.NotRunning, client.Rejected) as error:
            # The program matters more than its report.
            if self._last_error != str(error):
                self._last_error = str(error)
                log.warning("%s", error)

    def _set(self, **fields: Any) -> None:
        """Set several of the program's keys at once."""
        with self._box.batch() as batch:
            for field, value in fields.items():
                batch.set(f"{self._name}.{field}", value)

    def _seconds(self) -> float:
        """For how long the program has run."""
        return round(monotonic() - self._started, 1)


def _start_error(error: OSError) -> str:
    """Why the program could not be started."""
    if isinstance(error, FileNotFoundError):
        return "there is no such program"
    from signalbox.server.runtime.error_messages import reason  # noqa: PLC0415 - for this alone

    return reason(error)


def _name_error(name: str) -> str | None:
    """Why `name` makes no keys, None where it does."""
    from signalbox.server.model.errors import Invalid  # noqa: PLC0415 - only for what was refused
    from signalbox.server.model.keys import check_new_key  # noqa: PLC0415 - as above

    try:
        check_new_key(f"{name}.status")
    except Invalid as error:
        return f"NAME is {name[:80]!r}. {error.message}"
    return None


def _forward_signals(process: subprocess.Popen[bytes]) -> dict[int, Any]:
    """Send SIGTERM and SIGHUP on to the program, and outlive it to report its end.

    Returns the signal handlers that were there before.
    """
    handlers: dict[int, Any] = {}
    for name in ("SIGTERM", "SIGHUP"):
        if number := getattr(signal, name, None):  # Windows has but one of them
            handlers[number] = signal.signal(
                number, lambda received, _: process.send_signal(received)
            )
    # The terminal has sent it to the program as well.
    handlers[signal.SIGINT] = signal.signal(signal.SIGINT, lambda *_: None)
    return handlers
