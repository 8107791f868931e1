"""The real server, which tells what its hub imports: `python -m support.import_watcher serve …`.

Prints `login` at each login, and from the first one on the name of each import.
"""

# Before any other import, as in the server itself.
from signalbox.server import __main__ as serving  # isort: skip

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

from gevent.monkey import get_original

from signalbox.server.http.window.window_routes import WindowRoutes
from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.responses import Response

thread_id = get_original("_thread", "get_ident")
hub_thread, login = thread_id(), WindowRoutes.login


class Watcher(MetaPathFinder):
    """Finds nothing, and prints what is looked for by the hub's thread."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> None:
        if thread_id() == hub_thread:
            print(name, flush=True)


def watched_login(routes: WindowRoutes, request: Request, role: str) -> Response:
    print("login", flush=True)
    sys.meta_path.insert(0, Watcher())
    return login(routes, request, role)


WindowRoutes.login = watched_login  # type: ignore[method-assign, assignment]
sys.exit(serving.main(sys.argv[1:]))
