"""Strategies for commands that often concern the same keys: of all types, with all expectations."""

from typing import Any

from hypothesis import strategies as st

KEY = st.sampled_from(["a", "a.x", "a.y", "a.b.x", "a-b", "b", "b.x"])
PREFIX = st.sampled_from(["a.", "a.b.", "b.", "c."])
VALUE = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        1,
        1.0,
        -2.5,
        2**80,
        "",
        "é\u2028",
        [],
        [1],
        {},
        {"x": 1},
        {"x": {"y": None}},
    ]
)
EXPECT = (
    st.just("any")
    | st.sampled_from(["absent", "present"])
    | st.integers(0, 6).map(lambda n: {"revision": n})
)
STORE = st.just("any") | st.integers(0, 6).map(lambda n: {"store_revision": n})
MEMBER = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("set"), "key": KEY, "value": VALUE, "expect": EXPECT | STORE}
    ),
    st.fixed_dictionaries({"type": st.just("delete"), "key": KEY, "expect": EXPECT}),
    st.fixed_dictionaries({"type": st.just("delete_prefix"), "prefix": PREFIX, "expect": STORE}),
    st.fixed_dictionaries(
        {"type": st.just("add"), "key": KEY, "by": st.sampled_from([1, -1, 0, 2**90])}
    ),
    st.fixed_dictionaries({"type": st.just("toggle"), "key": KEY, "expect": EXPECT}),
    st.fixed_dictionaries({"type": st.just("merge"), "key": KEY, "value": VALUE}),
    st.fixed_dictionaries(
        {"type": st.just("rename"), "key": KEY, "to": KEY, "replace": st.booleans()}
    ),
    st.fixed_dictionaries(
        {"type": st.just("rename"), "key": PREFIX, "to": PREFIX, "replace": st.booleans()}
    ),
)
COMMAND = MEMBER | st.lists(MEMBER, max_size=6).map(
    lambda members: {"type": "batch", "commands": members}
)


def placed(command: dict[str, Any], prefix: str, base: int) -> dict[str, Any]:
    """`command` with all its keys below `prefix` and its revisions counted from `base`."""
    made = dict(command)
    for name in ("key", "to", "prefix"):
        if name in made:
            made[name] = prefix + made[name]
    if isinstance(expect := made.get("expect"), dict):
        made["expect"] = {name: number and base + number for name, number in expect.items()}
    if "commands" in made:
        made["commands"] = [placed(member, prefix, base) for member in made["commands"]]
    return made
