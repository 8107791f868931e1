"""A process that has the server loaded and starts servers by forking, each as if it were fresh.

`python server_preloader.py FD`: the socket FD receives arguments, environment and four
descriptors: the new server's stdin, stdout and stderr, and a pipe to which its pid and in the end
its exit status are written. Most of a start is loading the program; nothing else is shared. Limits
of the program can be given as well, by the full names of its constants.
"""

# As in `signalbox.server.__main__`, of which this is the beginning.
from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import gevent.os  # noqa: E402

from signalbox.server.__main__ import main  # noqa: E402
from signalbox.server.http.window import page_content  # noqa: E402, F401 - loaded once for all

LARGEST = 1 << 20
# Those of gevent would begin a hub, which is to begin in the server.
fork, waitpid, close = (monkey.get_original("os", name) for name in ("fork", "waitpid", "close"))


def serve_forks(control: socket.socket) -> list[str]:
    """Fork for whatever comes; in the new server return its arguments."""
    while True:
        text, given, _, _ = socket.recv_fds(control, LARGEST, 4)
        if not text:
            sys.exit()  # whoever started servers has ended
        if fork() == 0:
            control.close()
            return begin(json.loads(text), given)
        for one in given:
            close(one)


def begin(wanted: dict[str, Any], given: list[int]) -> list[str]:
    """The new server's arguments; the process between, its parent, reports its state."""
    *streams, told = given
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if pid := gevent.os.fork():
        for one in streams:
            close(one)
        os.write(told, b"%d\n" % pid)
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(waitpid(pid, 0)[1]))
        os._exit(0)
    close(told)
    for number, one in enumerate(streams):
        os.dup2(one, number)
        close(one)
    os.environ.clear()
    os.environ.update(wanted["env"])
    for name, value in wanted["limits"].items():
        module, _, limit = name.rpartition(".")
        assert isinstance(getattr(sys.modules[module], limit), float), name
        setattr(sys.modules[module], limit, value)
    arguments: list[str] = wanted["arguments"]
    return arguments


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes between
    gc.freeze()
    control = monkey.get_original("socket", "socket")(fileno=int(sys.argv[1]))
    status = main(serve_forks(control))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # taking the interpreter apart would copy most of the memory that is shared
