"""`signalbox serve`: starts the server, and stops it by signal or once it is unused."""

# Before any other import: sockets, threads and locks become cooperative.
from gevent import monkey

monkey.patch_all()

import faulthandler  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from time import monotonic  # noqa: E402
from typing import Any  # noqa: E402

import click  # noqa: E402
import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402

from signalbox.server import logging_setup  # noqa: E402
from signalbox.server.app import App  # noqa: E402
from signalbox.server.log_file import rotate_if_large  # noqa: E402
from signalbox.server.login_address import address_lines  # noqa: E402
from signalbox.server.model.errors import StoreError, Unavailable  # noqa: E402
from signalbox.server.runtime.error_messages import DAMAGED, damaged_store  # noqa: E402
from signalbox.server.settings import TABLE, read_settings  # noqa: E402
from signalbox.server.store.file_names import STORE_FILE  # noqa: E402
from signalbox.server.usage_errors import translate_usage_error  # noqa: E402

USAGE = 2
CANNOT_OPEN = 4
POLL_SECONDS = 0.2


def run(as_json: bool, **options: Any) -> int:
    """Serve until stopped; the exit status."""
    status = USAGE
    try:
        settings = read_settings(options)
        status = CANNOT_OPEN
        logging_setup.configure(settings.log)
        app = App(settings)
    except (StoreError, Unavailable) as error:
        click.echo(f"signalbox: {error}", err=True)
        return status
    except DAMAGED:
        click.echo(f"signalbox: {damaged_store(settings.data_dir / STORE_FILE)}", err=True)
        return status
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        gevent.signal_handler(number, ended.set)
    app.start()
    faulthandler.enable()
    if settings.log is not None:
        rotate_if_large(settings.log)
    print_address(app, as_json)
    if settings.linger is not None:
        gevent.spawn(stop_when_unused, app, settings.linger, ended)
    ended.wait()
    app.stop()
    return 0


def print_address(app: App, as_json: bool) -> None:
    """Print the endpoint as JSON for programs, or the address for people."""
    if as_json:
        text = json.dumps(app.endpoint())
    else:
        text = (
            f"Signalbox serves {app.data_dir} ({app.engine.name}, {app.engine.durability}).\n"
            f"Open {address_lines(app.guard.login_address())}"
        )
    click.echo(text)
    sys.stdout.flush()


def stop_when_unused(app: App, seconds: float, ended: Event) -> None:
    """Stop the server once stdin is closed and no request was open for so many `seconds`."""
    # Reading stdin would block the hub: a thread of the pool waits for its end.
    gevent.get_hub().threadpool.apply(wait_for_end_of_stdin)
    gone = monotonic()
    while app.is_busy() or monotonic() - max(gone, app.last_busy) < seconds:
        gevent.sleep(min(POLL_SECONDS, seconds or POLL_SECONDS))
    ended.set()


def wait_for_end_of_stdin() -> None:
    """Return once the process that has started this server has ended."""
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass  # no stdin at all: nobody waits for us


def command() -> click.Command:
    """The click command with an option for every setting."""
    options: list[click.Parameter] = [
        click.Option(
            [setting.option, setting.name],
            help=setting.help,
            envvar=None,
            is_flag=setting.is_flag,
            default=None,
        )
        for setting in TABLE
    ]
    options.append(
        click.Option(["--json", "as_json"], is_flag=True, help="Print one JSON line when ready.")
    )
    return click.Command(
        "serve", callback=run, params=options, help="Run the server without a window."
    )


def main(argv: list[str] | None = None) -> int:
    """Run the server with the arguments `argv`, without the program's name; the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    arguments = arguments[1:] if arguments[:1] == ["serve"] else arguments
    try:
        result = command().main(arguments, prog_name="signalbox serve", standalone_mode=False)
        return int(result or 0)
    except click.ClickException as error:
        translate_usage_error(error).show()
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
