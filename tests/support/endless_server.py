"""The real server, whose queries of the API never end in their threads: `python -m
support.endless_server serve …`.

Prints `began` for each, and `ended` once it was ended from outside.
"""

# Before any other import, as in the server itself.
from signalbox.server import __main__ as serving  # isort: skip

import sys
from collections.abc import Callable
from typing import Any

import apsw
import gevent

from signalbox.server.http.window.background_job import BackgroundJob
from signalbox.server.http.wire.request import Request
from signalbox.server.store.reader_pool import ReaderPool

ENDLESS = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"

end_with_client, in_thread = Request.end_with_client, ReaderPool.in_thread
run_in_background = BackgroundJob.run


def mark_greenlet() -> None:
    """Remember the greenlet as one that answers a query, or a part of it."""
    vars(gevent.getcurrent())["answers_query"] = True


def mark_query(request: Request, *seconds: float) -> None:
    mark_greenlet()
    end_with_client(request, *seconds)


def mark_job(job: BackgroundJob, work: Callable[[], None]) -> bool:
    def run() -> None:
        mark_greenlet()
        work()

    return run_in_background(job, run)


def never_end(connection: apsw.Connection) -> None:
    print("began", flush=True)
    try:
        connection.execute(ENDLESS).fetchall()
    finally:
        print("ended", flush=True)


def in_endless_thread(pool: ReaderPool, query: Callable[[apsw.Connection], Any]) -> Any:
    is_query = "answers_query" in vars(gevent.getcurrent())
    return in_thread(pool, never_end if is_query else query)


Request.end_with_client = mark_query  # type: ignore[method-assign, assignment]
BackgroundJob.run = mark_job  # type: ignore[method-assign, assignment]
ReaderPool.in_thread = in_endless_thread  # type: ignore[method-assign, assignment]
sys.exit(serving.main(sys.argv[1:]))
