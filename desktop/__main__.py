"""`signalbox`: no arguments opens the window, `serve` is the server, all else the command line."""

import signal
import sys


def main() -> int:
    """The exit status."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["serve"]:
        # Before any other import: the server makes sockets and threads cooperative first.
        from server.__main__ import main as serve  # noqa: PLC0415

        return serve(arguments[1:])
    if _asks_for_window(arguments):
        return _open_window(arguments)
    from desktop.cli import main as command_line  # noqa: PLC0415 - the window needs none of it

    return command_line()


def _asks_for_window(arguments: list[str]) -> bool:
    return (
        not arguments
        or (len(arguments) == 2 and arguments[0] == "--data-dir")
        or (len(arguments) == 1 and arguments[0].startswith("--data-dir="))
    )


def _open_window(arguments: list[str]) -> int:
    # Until there is a window Ctrl-C simply ends the process; Qt's modules would lose an exception.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from desktop import app  # noqa: PLC0415 - nor the command line any of this

    return app.run(arguments[-1].removeprefix("--data-dir=") if arguments else None)


if __name__ == "__main__":
    sys.exit(main())
