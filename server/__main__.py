"""`signalbox serve`: starts the server, and stops it by signal or once it is unused."""

import gc

gc.disable()  # until all is loaded, of which nothing is garbage

# Before any other import: sockets, threads and locks become cooperative.
from gevent import events, monkey  # noqa: E402

# No plugin of another package takes part: to look for some, gevent would read what is said of every
# installed package, for each of two dozen steps.
vars(events)["notify_and_call_entry_points"] = lambda _event: None
monkey.patch_all()

import faulthandler  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from time import monotonic  # noqa: E402
from typing import Any  # noqa: E402

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
        print(f"signalbox: {error}", file=sys.stderr)
        return status
    except DAMAGED:
        print(f"signalbox: {damaged_store(settings.data_dir / STORE_FILE)}", file=sys.stderr)
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
    print(text, flush=True)


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


def plain_options(arguments: list[str]) -> dict[str, Any] | None:
    """What known options and their values say; None for anything else, as help and errors are."""
    settings = {setting.option: setting for setting in TABLE}
    given: dict[str, Any] = {"as_json": False}
    words = iter(arguments)
    for word in words:
        option, equals, value = word.partition("=")
        if word == "--json":
            given["as_json"] = True
        elif (setting := settings.get(option)) is None or (setting.is_flag and equals):
            return None
        elif setting.is_flag:
            given[setting.name] = True
        else:
            given[setting.name] = value = value if equals else next(words, "-")
            if value.startswith("-"):
                return None
    return given


def main(argv: list[str] | None = None) -> int:
    """Run the server with the arguments `argv`, without the program's name; the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    arguments = arguments[1:] if arguments[:1] == ["serve"] else arguments
    if (given := plain_options(arguments)) is not None:
        return run(**given)
    from signalbox.server.serve_command import run_command  # noqa: PLC0415 - loads click

    return run_command(arguments, run)


if __name__ == "__main__":
    sys.exit(main())
