"""The tree of segments, counted from a set of keys one by one: the measure for the index."""


def naive_children(keys: set[str], prefix: str) -> dict[str, tuple[bool, bool, int]]:
    """For each next segment: is it a key, has it keys below, how many at and below."""
    found: dict[str, tuple[bool, bool, int]] = {}
    for key in keys:
        if not key.startswith(prefix):
            continue
        if key.startswith("_signalbox.") and not prefix.startswith("_signalbox."):
            continue
        segment, dot, _ = key[len(prefix) :].partition(".")
        itself, below, count = found.get(segment, (False, False, 0))
        found[segment] = (itself or not dot, below or bool(dot), count + 1)
    return found
