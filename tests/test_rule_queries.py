"""Rules of earlier revisions are those of now where they are equal, and few others are kept."""

import gc
from collections.abc import Iterator
from weakref import ref

import pytest

from signalbox.server.model.keys import RULES
from signalbox.server.model.rules import RuleSet
from signalbox.server.read.rule_queries import CACHED_RULES
from support.local_store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as made:
        yield made


def set_rule(store: Store, name: str, maximum: int) -> int:
    """A rule, and the revision from which on it is there."""
    rule = {"match": "n.**", "schema": {"maximum": maximum}}
    assert store.run(type="set", key=RULES + name, value=rule).error is None
    return store.readmodel.revision


def rules_at(store: Store, revision: int) -> RuleSet:
    return store.readmodel.rules.about("n.a", revision).rules


def test_rules_that_are_those_of_now_are_not_compiled_again(store: Store) -> None:
    set_rule(store, "kept", 9)
    first = set_rule(store, "changed", 1)
    second = set_rule(store, "changed", 2)
    now = store.projection.rules
    assert rules_at(store, second) is now
    assert rules_at(store, first).rules["kept"] is now.rules["kept"]
    assert rules_at(store, first).rules["changed"] is not now.rules["changed"]


def test_the_rules_of_a_few_revisions_stay_in_memory(store: Store) -> None:
    revisions = [set_rule(store, "changed", number) for number in range(10)]
    asked = [ref(rules_at(store, revision)) for revision in revisions[:-1]]
    gc.collect()
    assert sum(one() is not None for one in asked) <= CACHED_RULES <= 2
