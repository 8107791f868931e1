"""`signalbox`: no arguments opens the window, `serve` is the server, all else the command line."""

import os
import signal
import sys


def main() -> int:
    """Run what the arguments ask for: the server, the window or a subcommand; the exit status."""
    arguments = sys.argv[1:]
    options, following = _split_leading_options(arguments)
    if following[:1] == ["serve"] and "--help" not in following and not _is_completing():
        # Before any other import: the server makes sockets and threads cooperative first.
        from signalbox.server.__main__ import main as serve  # noqa: PLC0415

        return serve([*arguments[: len(arguments) - len(following)], *following[1:]])
    if not (following or "" in options.values() or "--json" in options or _is_completing()):
        return _open_window(options)
    try:
        if following[:1] == ["get"] and not _is_completing() and _get_quickly(options, following):
            return 0
    except OSError as error:
        from signalbox.desktop.cli import report_os_error  # noqa: PLC0415 - as below

        return report_os_error(error)
    from signalbox.desktop.cli import main as command_line  # noqa: PLC0415 - the window needs none of it

    return command_line()


def _get_quickly(options: dict[str, str], words: list[str]) -> bool:
    """Print the value of a key where that needs no command line; whether it was printed."""
    from signalbox.desktop.quick_get import print_value  # noqa: PLC0415 - nothing else needs it

    return print_value(options, words)


def _is_completing() -> bool:
    """Whether a shell asks how a word of a command line may go on."""
    return bool(os.environ.get("_SIGNALBOX_COMPLETE"))


def _split_leading_options(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options before the first other word, by name, and the words from there on."""
    options: dict[str, str] = {}
    at = 0
    while at < len(arguments):
        name, equals, value = arguments[at].partition("=")
        if arguments[at] in ("--require-durable", "--json"):
            options[name] = "1"
        elif name in ("--data-dir", "--engine") and (equals or at + 1 < len(arguments)):
            options[name] = value if equals else arguments[at + 1]
            at += 0 if equals else 1
        else:
            break
        at += 1
    return options, arguments[at:]


def _open_window(options: dict[str, str]) -> int:
    """Run the app until its last window is closed; the exit status."""
    # Until there is a window Ctrl-C simply ends the process; Qt's modules would lose an exception.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from signalbox.desktop import app, engine_options  # noqa: PLC0415 - nor the command line any of this

    engine_options.choose_engine(options.get("--engine"), "--require-durable" in options)
    return app.run(options.get("--data-dir"))


if __name__ == "__main__":
    sys.exit(main())
