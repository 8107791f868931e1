"""The client for asyncio: the same calls, awaited; a wait that is cancelled loses no change."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import signalbox
from signalbox.client import AsyncBox, Change
from support.harness import SECONDS, Server
from support.raw_http import serving

pytestmark = pytest.mark.usefixtures("no_loop")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "store") as one:
        yield one


def box_of(server: Server) -> AsyncBox:
    box = signalbox.connect("async", url=server.url, token=server.write_token)
    return AsyncBox(box)


def test_calls_are_awaited(server: Server) -> None:
    async def main() -> None:
        options = {"url": server.url, "token": server.write_token}
        async with await AsyncBox.connect("async", **options) as box:
            assert (await box.set("a", 1))["changed"]
            assert await asyncio.gather(*(box.add("n") for _ in range(20)))
            assert (await box.get("n"), await box.get("none", 7)) == (20, 7)
            async with box.batch() as batch:
                batch.set("b", 2)
                batch.delete("n")
            assert batch.outcome is not None
            assert await box.items() == [("a", 1), ("b", 2)]
            assert [version.value for version in await box.history("a")] == [1]
            with pytest.raises(signalbox.Conflict):
                await box.set("a", 2, expect="absent")
            assert (box.actor, box.url) == ("async", server.url)
            lr = await box.knob("train.lr", 0.01)
            assert lr.value == 0.01
            with pytest.raises(AttributeError):
                await box.nothing()
        assert box.is_closed

    asyncio.run(main())


def test_a_batch_whose_block_raises_sends_nothing(server: Server) -> None:
    async def main() -> None:
        async with box_of(server) as box:
            with pytest.raises(ZeroDivisionError):
                async with box.batch() as batch:
                    batch.set("a", 1 // 0)
            assert await box.revision() == 0

    asyncio.run(main())


def test_several_watches_go_on_beside_each_other(server: Server) -> None:
    async def main() -> None:
        async with box_of(server) as box:
            await box.update({f"k{number}": 0 for number in range(20)})
            watches = [box.watch(f"k{number}") for number in range(20)]
            assert [(await anext(watch)).value for watch in watches] == [0] * 20
            waiting = [asyncio.ensure_future(anext(watch)) for watch in watches]
            await box.update({f"k{number}": 1 for number in range(20)})
            async with asyncio.timeout(SECONDS):
                assert [one.value for one in await asyncio.gather(*waiting)] == [1] * 20
            for watch in watches:
                watch.close()

    asyncio.run(main())


def test_a_cancelled_wait_loses_no_change(server: Server) -> None:
    async def main() -> None:
        async with box_of(server) as box, box.watch("n", caught_up=True) as changes:
            assert (await anext(changes)).is_caught_up
            found: list[Change] = []
            for number in range(30):
                waiting = asyncio.ensure_future(anext(changes))
                await asyncio.sleep(0)
                waiting.cancel()
                await box.set("n", number)
                found.append(await anext(changes))
            assert [change.value for change in found] == list(range(30))

    asyncio.run(main())


def test_a_watch_ends_with_its_box_and_has_a_timeout(server: Server) -> None:
    async def main() -> None:
        async with box_of(server) as box:
            late = box.watch("none", timeout=0.01)
            with pytest.raises(TimeoutError, match="none"):
                await anext(late)
            changes = box.watch("a")
            waiting = asyncio.ensure_future(anext(changes))
            await box.set("a", 1)
            assert (await waiting).value == 1
            rest = asyncio.ensure_future(anext(changes, None))
            await asyncio.sleep(0)
        assert await rest is None
        assert [change async for change in changes] == []

    asyncio.run(main())
