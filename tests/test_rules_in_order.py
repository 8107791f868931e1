"""The schemas for keys in order are those that each key alone would be found to have."""

from hypothesis import given
from hypothesis import strategies as st

from signalbox.server.model.keys import RULES
from signalbox.server.model.rules import rules_of
from signalbox.server.model.rules_in_order import RulesInOrder
from signalbox.server.model.values import encode

segments = st.sampled_from(["a", "b", "ab"])
keys = st.lists(st.lists(segments, min_size=1, max_size=4).map(".".join), max_size=12)
parts = st.sampled_from(["a", "b", "ab", "*", "**", "a*", "*b", "a**", "**b"])
patterns = st.lists(st.lists(parts, min_size=1, max_size=4).map(".".join), min_size=1, max_size=3)


@given(st.lists(patterns, max_size=8), keys)
def test_the_schemas_are_those_of_each_key_alone(matches: list[list[str]], some: list[str]) -> None:
    records = ({"match": match, "schema": {"minimum": n}} for n, match in enumerate(matches))
    rules = rules_of((f"{RULES}r{n}", encode(record)) for n, record in enumerate(records))
    in_order = RulesInOrder(rules)
    for key in sorted(some):
        expected = {id(rule.schema) for rule in rules.with_schemas_for(key)}
        assert {id(schema) for schema in in_order.schemas(key)} == expected
