"""A transaction knows quickly whether it changes a key with some beginning."""

from hypothesis import given
from hypothesis import strategies as st

from signalbox.server.model.events import Change, Transaction

TEXT = st.text("ab.", max_size=3)


@given(keys=st.sets(TEXT), start=TEXT)
def test_changes_below_are_those_of_keys_that_begin_with_it(keys: set[str], start: str) -> None:
    changes = [Change(key, None) for key in sorted(keys)]
    transaction = Transaction(1, "id", "actor", 0, "batch", b"", changes)
    assert transaction.changes_below(start) == any(key.startswith(start) for key in keys)
