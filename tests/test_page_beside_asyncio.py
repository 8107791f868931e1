"""A window of the tests beside an asyncio loop that another test has left in the same thread."""

import asyncio
from collections.abc import Iterator

import pytest

from signalbox.server.engines.jetstream.asyncio_greenlet import AsyncioGreenlet
from support.harness import Server
from support.page_window import OpenWindow


@pytest.fixture(scope="module", autouse=True)  # before the browser, which is the file's as well
def left() -> Iterator[AsyncioGreenlet]:
    """A loop that runs already when the browser is wanted, and still afterwards."""
    loop = AsyncioGreenlet.of_hub()
    loop.run(asyncio.sleep(0))
    yield loop
    loop.run(asyncio.sleep(0))
    loop.close()


def test_a_window_opens(box: Server, open_window: OpenWindow) -> None:
    window = open_window(box)
    box.set("k", 1)
    window.value("k").wait_for()
