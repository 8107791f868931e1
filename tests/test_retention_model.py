"""Retention: whatever is removed, no answer at or above a horizon changes, none below is wrong."""

import json
import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from signalbox.server import maintenance
from signalbox.server.model.errors import Compacted, NotFound
from signalbox.server.read import difference_count, log_sql
from signalbox.server.read.state_query import Filter
from signalbox.server.store import key_counts, key_index
from signalbox.server.write import removal, retention_plans
from support.history_model import KEYS, History, allowed_value, state_of, visible
from support.local_store import Store

SEEDS = range(4)


@pytest.fixture(params=["listed", "counted"], autouse=True)
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "counted":
        monkeypatch.setattr(key_counts, "MAX_LISTED", 2)
        monkeypatch.setattr(key_counts, "CHANGED_KEYS_PER_COUNT", 5)
        monkeypatch.setattr(key_index, "BUCKET", 3)
        monkeypatch.setattr(log_sql, "MAX_SCANNED_CHANGES", 0)
        monkeypatch.setattr(difference_count, "SLICE", 2)


class Past:
    """A store with a random history, and the state at each of its revisions."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.store = Store(folder / "signalbox.db")
        self.random = random.Random(seed)
        self.history = History()

    def write(self, count: int) -> None:
        for _ in range(count):
            key = self.random.choice(KEYS)
            if self.random.random() < 0.35:
                self.run(type="delete", key=key)
            elif self.random.random() < 0.1:
                self.run(type="delete_prefix", prefix="a.")
            else:
                self.run(type="set", key=key, value=allowed_value(key, self.random.randrange(4)))

    def run(self, **command: Any) -> None:
        assert self.store.run(**command).error is None
        self.history.add("tester", "any", state_of(self.store))

    def keep(self, prefix: str, max_age: str | None) -> None:
        key = "_signalbox.retention" + (f".{prefix}" if prefix else "")
        self.run(type="set", key=key, value={"max_age": max_age})

    def plans(self) -> list[retention_plans.Plan]:
        """As if it were some moments ago."""
        now = int(self.store.clock() * 1000) - self.random.randrange(80)
        return self.store.readmodel.in_thread(lambda reader: retention_plans.plans(reader, now))

    def compact(self) -> None:
        """In steps of any size, with answers checked between; exactly what was foretold goes."""
        wanted = self.plans()
        count = removal.RemovableCount(wanted)
        while self.store.readmodel.in_thread(lambda reader: count.examine(reader, self.size())):
            pass
        foretold, before = count.result(), self.counts()
        self.store.writer.run_between_commits(
            lambda writer: retention_plans.advance_horizons(writer, wanted)
        )
        self.check()
        self.sweep()
        self.store.writer.run_between_commits(removal.remove_unused_records)
        gone = [one - other for one, other in zip(before, self.counts(), strict=True)]
        assert gone == [foretold.changes.total(), foretold.transactions]
        assert self.store.readmodel.in_thread(removal.Sweep).is_done

    def sweep(self) -> None:
        """One that is interrupted begins again from where its progress was stored."""
        sweep = self.store.readmodel.in_thread(removal.Sweep)
        while not sweep.is_done:
            self.step(sweep)
            if self.random.random() < 0.1:
                self.check()
            if self.random.random() < 0.1:
                self.store.writer.run_between_commits(sweep.store_progress)
            if self.random.random() < 0.1:
                sweep = self.store.readmodel.in_thread(removal.Sweep)
        self.store.writer.run_between_commits(sweep.store_progress)

    def step(self, sweep: removal.Sweep) -> None:
        size, steps = self.size(), list[removal.Step]()
        self.store.writer.run_between_commits(
            lambda writer: steps.append(sweep.remove(writer, size))
        )
        sweep.advance(steps[0])

    def size(self) -> int:
        return self.random.randrange(1, 25)

    def counts(self) -> list[int]:
        tables = ("changes", "transactions")
        writer = self.store.database.writer
        return [int(writer.execute(f"SELECT count(*) FROM {each}").get) for each in tables]

    def horizon(self, key: str) -> int:
        return self.store.readmodel.log.horizons().of(key).revision

    def check(self) -> None:
        """Every moment holds exactly the keys whose past is kept so long, and names the others."""
        kept = self.store.readmodel.log.horizons()
        newest = visible(self.history.states[-1])
        for at, state in enumerate(self.history.states):
            expected = {
                key: value for key, value in visible(state).items() if self.horizon(key) <= at
            }
            view = self.store.readmodel.at(at)
            page = view.page(Filter(), limit=1000)
            assert {item.key: json.loads(item.raw) for item in page.items} == expected
            assert page.total == view.keys() == view.tree().total == len(expected)
            assert page.compacted == sorted(each.prefix for each in kept if each.revision > at)
            assert view.page(Filter(), offset=2, limit=3).items == page.items[2:5]
            differing = {
                key
                for key in expected.keys() | newest.keys()
                if self.horizon(key) <= at and expected.get(key) != newest.get(key)
            }
            found = self.store.readmodel.log.diff(at, len(self.history.states) - 1, limit=1000)
            assert {item.key for item in found.items} == differing
            assert found.total == len(differing)

    def check_newest(self) -> None:
        """The newest change of each key is there, and its history says where it is cut."""
        for key in KEYS:
            revisions = [
                number for number, one in enumerate(self.history.done, start=1) if key in one.before
            ]
            if revisions:
                found = self.store.readmodel.log.history(key, limit=1000)
                left = [version.revision for version in found.items]
                assert left[0] == revisions[-1]
                assert [one for one in revisions if one > self.horizon(key)] == [
                    one for one in reversed(left) if one > self.horizon(key)
                ]
                assert bool(found.compacted) or left == revisions[::-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_removal_changes_no_answer_that_is_still_given(tmp_path: Path, seed: int) -> None:
    past = Past(tmp_path, seed)
    past.write(60)
    past.check()
    past.keep("a", "0s")
    past.keep("b", None)
    for turn in range(5):
        past.write(25)
        if turn == 2:
            past.keep("", "0s")
        if turn == 3:
            past.run(type="delete", key="_signalbox.retention.a")
        past.compact()
        past.check()
        past.check_newest()
    past.store.close()
    assert maintenance.verify(tmp_path)["problems"] == []
    assert maintenance.rebuild(tmp_path)["ok"]
    past.store = Store(tmp_path / "signalbox.db", past.store.clock)
    past.check()
    past.store.close()


def test_what_needs_more_than_is_kept_is_refused(tmp_path: Path) -> None:
    past = Past(tmp_path, 1)
    past.run(type="set", key="a.x", value=1, id="first")
    past.run(type="set", key="b.x", value=1)
    past.run(type="set", key="a.x", value=2, id="second")
    past.keep("a", "0s")
    past.run(type="set", key="a.x", value=3)
    now = int(past.store.clock() * 1000)
    wanted = past.store.readmodel.in_thread(lambda reader: retention_plans.plans(reader, now))
    past.store.writer.run_between_commits(partial(retention_plans.advance_horizons, planned=wanted))
    past.sweep()
    for command in (
        {"type": "restore", "to_revision": 1},
        {"type": "undo", "of": "second"},
    ):
        refused = past.store.run(**command).error
        assert isinstance(refused, Compacted | NotFound)
    refused = past.store.run(type="restore", to_revision=1, match="a.**").error
    assert isinstance(refused, Compacted)
    assert refused.keys == ["a."]
    left = past.store.run(type="restore", to_revision=1, without=["a."])
    assert (left.error, left.changes) == (None, 1)
    assert state_of(past.store)["a.x"] == 3
    with pytest.raises(Compacted):
        past.store.readmodel.at(1).get("a.x")
    past.store.close()
