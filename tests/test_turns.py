"""Questions that look at many keys keep nobody else waiting."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import apsw
import gevent
import pytest

from signalbox.server.http.window.page_content import PageContent
from signalbox.server.model.errors import Unavailable
from signalbox.server.read import snapshot_pages, state_query, violations
from signalbox.server.read.row_forms import RowForm
from signalbox.server.read.state_query import Filter
from signalbox.server.runtime.trusted_clock import Clock
from signalbox.ui import views
from support.local_store import Store


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few dozen keys make many steps, and a few changes are too many."""
    monkeypatch.setattr(snapshot_pages, "SCANNED_KEYS", 5)
    monkeypatch.setattr(violations, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(violations, "CHUNK", 5)
    monkeypatch.setattr(state_query, "NEAR", 4)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "signalbox.db" if request.param == "sqlite" else None) as made:
        yield made


def turns_during(work: Callable[[], object]) -> int:
    """How often the hub looks at sockets and other greenlets meanwhile.

    It is only watched: a greenlet that always wants its turn would keep native threads from theirs.
    """
    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1

    watcher = gevent.get_hub().loop.check()
    watcher.start(count)
    work()
    watcher.stop()
    watcher.close()
    return turns


@pytest.mark.parametrize(
    ("match", "least"), [("**zzz", 20), ("n.*5", 20), ("n.**", 18), ("**", 18), ("none.**", 0)]
)
def test_others_get_their_turns_while_all_keys_are_looked_at(
    store: Store, match: str, least: int
) -> None:
    """Between two pages (the first time perhaps in a turn that has begun), and in every step."""
    store.set(**{f"n__{number:03}": number for number in range(100)})
    turns = turns_during(lambda: list(store.snapshot(match, 5)))
    assert turns >= least


def delete(store: Store, prefix: str) -> None:
    assert store.run(type="delete_prefix", prefix=prefix).error is None


NEW_KEYS = {f"n__{number:03}": number for number in range(100)}
RULE = {"_signalbox__rules__all": {"match": "**", "schema": {"maximum": 200, "minimum": 50}}}


@pytest.mark.parametrize(
    ("match", "total", "least"), [("**zzz", 0, 20), ("n.**", 50, 20), ("none.**", 0, 0)]
)
def test_others_get_their_turns_while_violations_are_looked_for(
    store: Store, match: str, total: int, least: int
) -> None:
    store.set(**NEW_KEYS)
    store.set(**RULE)
    assert turns_during(lambda: store.readmodel.rules.violations(match=match)) >= least
    assert store.readmodel.rules.violations(match=match).total == total


def test_others_get_their_turns_while_keys_are_passed_over_that_were_created_later(
    store: Store,
) -> None:
    store.set(o=1)
    store.set(**RULE)
    at = store.readmodel.revision
    store.set(**dict.fromkeys(NEW_KEYS, 100))
    assert turns_during(lambda: store.readmodel.rules.violations(at)) >= 20
    assert store.readmodel.rules.violations(at).total == 1


def test_others_get_their_turns_while_keys_are_passed_over_that_were_deleted_before(
    store: Store,
) -> None:
    store.set(**NEW_KEYS, **{f"o__{number}": number for number in range(10)})
    delete(store, "n.")
    store.set(**RULE)
    at = store.readmodel.revision
    delete(store, "o.")
    form = RowForm("key", ",", "%(rows)s")
    pages = partial(store.readmodel.snapshots.pages, at, "**", form)
    assert turns_during(lambda: list(pages())) >= 20
    assert b"".join(pages()).count(b"o.") == 10
    find = partial(store.readmodel.rules.violations, at)
    assert turns_during(find) >= 20
    assert find().total == 10


def test_others_get_their_turns_while_a_long_list_is_passed_over(store: Store) -> None:
    store.set(**{f"n__{number:03}": number for number in range(100)})
    found = [
        item.key
        for item in store.readmodel.current.page(Filter(), "changed", offset=2, limit=3).items
    ]
    assert found == ["n.097", "n.096", "n.095"]
    assert turns_during(lambda: store.readmodel.current.page(Filter(), "changed", offset=90)) > 0


def test_a_connection_that_has_failed_is_not_used_again(store: Store) -> None:
    asked: list[apsw.Connection] = []

    def fail(connection: apsw.Connection) -> None:
        asked.append(connection)
        raise apsw.IOError("disk I/O error")

    with pytest.raises(Unavailable, match="the disk refuses to read or write it"):
        store.readmodel.in_thread(fail)
    store.readmodel.in_thread(asked.append)
    assert asked[0] is not asked[1]


def test_others_get_their_turns_while_the_templates_of_the_first_page_are_compiled(
    store: Store,
) -> None:
    """Once: pages that are opened later have no need to wait."""
    state = {"engine": "sqlite", "durability": "on disk", "problem": None, "log": None}
    engine = {**state, "clock": {"problem": None}}
    pages = PageContent(store.readmodel, store.feed, lambda: engine, Path(), Clock(0))
    first = turns_during(lambda: pages.content("", "1", "p"))
    assert first >= len(views.FIRST_TEMPLATES) - 1  # the first perhaps in a turn that has begun
    assert turns_during(lambda: pages.content("", "2", "q")) < first


def test_what_templates_of_the_first_page_import_is_compiled_with_them() -> None:
    folder = Path(views.__file__).parent / "templates"
    sources = [(folder / f"{name}.html").read_text() for name in views.FIRST_TEMPLATES]
    imported = {name for one in sources for name in re.findall(r'{% (?:from|import) "(\w+)', one)}
    assert imported == {"pieces"}
    assert imported < set(views.FIRST_TEMPLATES)
