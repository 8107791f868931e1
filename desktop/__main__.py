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
    if (options := _window_options(arguments)) is not None:
        return _open_window(options)
    from desktop.cli import main as command_line  # noqa: PLC0415 - the window needs none of it

    return command_line()


def _window_options(arguments: list[str]) -> dict[str, str] | None:
    """What is given by name where nothing but the window is asked for, else None."""
    given: dict[str, str] = {}
    left = iter(arguments)
    for argument in left:
        name, equals, value = argument.partition("=")
        if argument == "--require-durable":
            given[name] = "1"
        elif name in ("--data-dir", "--engine"):
            found = value if equals else next(left, None)
            if found is None:
                return None
            given[name] = found
        else:
            return None
    return given


def _open_window(options: dict[str, str]) -> int:
    # Until there is a window Ctrl-C simply ends the process; Qt's modules would lose an exception.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from desktop import app, engine  # noqa: PLC0415 - nor the command line any of this

    engine.wish(options.get("--engine"), "--require-durable" in options)
    return app.run(options.get("--data-dir"))


if __name__ == "__main__":
    sys.exit(main())
