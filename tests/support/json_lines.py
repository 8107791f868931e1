"""Texts that are JSON, or almost, and lines that are commands, or almost."""

from hypothesis import strategies as st

SPACE = st.sampled_from(["", "", "", " ", "\t", "  "])
NAME = st.sampled_from(["a", "b", 'a\\"', "é", "", "\\u0061", ":", 'x\\":', "type", "key"])
LAWFUL = 'null true 0 -0 1.5 1e5 1e999 -0.0 "x" "\\u0041" "é" "\\":" ":"'.split()
UNLAWFUL = 'NaN 01 1. tru "\\ud800" "\\x" "\x01"'.split()
SCALAR = st.sampled_from([*LAWFUL, *LAWFUL, *UNLAWFUL, "9" * 30, ""])


@st.composite
def joined(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """An object with random white space, in which a name may stand twice."""
    parts = [
        f'{draw(SPACE)}"{draw(NAME)}"{draw(SPACE)}:{draw(SPACE)}{draw(inner)}{draw(SPACE)}'
        for _ in range(draw(st.integers(0, 3)))
    ]
    return "{" + ",".join(parts) + "}"


JSON_TEXT = st.recursive(
    SCALAR,
    lambda inner: (
        joined(inner) | st.lists(inner, max_size=3).map(lambda all_: f"[{','.join(all_)}]")
    ),
    max_leaves=6,
)
FIELD = st.tuples(
    st.sampled_from(["value", "value", "expect", "by", "extra", "key", "id", "prefix", "to"]),
    SPACE,
    JSON_TEXT | st.sampled_from(['"any"', '{"revision":3}', '"k.k"', '"p."', "1"]),
).map(lambda field: f'"{field[0]}"{field[1]}:{field[2]}')
KINDS = ["set", "delete", "add", "merge", "rename", "delete_prefix", "toggle", "batch", "none"]


@st.composite
def line(draw: st.DrawFn) -> str:
    fields = [f'"type":"{draw(st.sampled_from(KINDS))}"', '"key":"k"']
    fields += draw(st.lists(FIELD, max_size=3))
    return "{" + ",".join(draw(st.permutations(fields))) + "}"
