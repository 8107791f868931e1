"""A long line of a history is decoded in pieces to what it would be at once."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from signalbox.server.http.commands import long_history_line
from signalbox.server.model import values
from signalbox.server.model.errors import Malformed, TooLarge

JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@pytest.fixture(autouse=True)
def _every_line_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_history_line, "WHOLE_BYTES", 4)
    monkeypatch.setattr(long_history_line, "SLICE", 2)


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=3), JSON),
    st.lists(JSON, max_size=5),
    st.dictionaries(st.sampled_from("xyz"), JSON),
    st.sampled_from([None, 1]),
)
@example({"other": [None]}, [None], {}, None)
def test_it_is_what_it_would_be_at_once(
    before: dict[str, Any], changes: list[Any], after: dict[str, Any], indent: int | None
) -> None:
    fields = {**before, "changes": changes, **after}
    line = json.dumps(fields, ensure_ascii=False, indent=indent).encode()
    assert long_history_line.decode(line) == values.decode(line) == fields


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"a": 1, "a": 2, "changes": []}', '"a" occurs twice'),
        ('{"changes": [1], "changes": [1]}', '"changes" occurs twice'),
        ('{"changes": [{}, {"k": 1, "k": 2}]}', "change 2 of the line is not JSON"),
        ('{"changes": ["\\udc00 and more"]}', "byte 20 is not allowed there"),
        ('{"changes": [1, NaN]}', "byte 16 is not allowed there"),
        ('{"changes": [1, 2', "ends too early"),
        ('{"changes": {}}', "changes is no list"),
        ('{"revision": 1}', "no object with a list of changes"),
        ("[1, 2, 3]", "no object with a list of changes"),
    ],
)
def test_what_is_no_transaction_is_malformed(line: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        long_history_line.decode(line.encode())


def test_one_that_nests_too_deep_is_refused() -> None:
    with pytest.raises(TooLarge, match="nests deeper"):
        long_history_line.decode(b'{"changes": ' + b"[" * 100_000)
