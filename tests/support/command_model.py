"""A model of the commands on a plain dict, as the contract has them, to compare with the server."""

from typing import Any, NamedTuple

Command = dict[str, Any]


class RefusedError(Exception):
    """The model refuses with `code`; a conflict names the `revision` that was found."""

    def __init__(self, code: str, revision: int | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.revision = revision


class Held(NamedTuple):
    value: Any
    revision: int


def same(one: Any, other: Any) -> bool:
    """Same JSON type and value, recursively; 1 equals 1.0 and not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return isinstance(one, bool) and isinstance(other, bool) and one == other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            same(left, right) for left, right in zip(one, other, strict=True)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, as its pseudo-code has it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def _check_fields(command: Command) -> None:
    """What makes a command invalid before any state is looked at."""
    if command["type"] == "rename":
        key, to = command["key"], command["to"]
        if to == key or (key.endswith(".") and to.startswith(key)):
            raise RefusedError("invalid")


class Model:
    """A store: `run` does one command wholly or raises `RefusedError` and does nothing."""

    def __init__(self) -> None:
        self.held: dict[str, Held] = {}
        self.revision = 0

    def values(self) -> dict[str, Any]:
        return {key: held.value for key, held in self.held.items()}

    def run(self, command: Command, *, dry_run: bool = False) -> int:
        """The number of net changes."""
        members = command["commands"] if command["type"] == "batch" else [command]
        for member in members:
            _check_fields(member)
        after = dict(self.held)
        for member in members:
            self._expect(after, member)
            getattr(self, f"_{member['type']}")(after, member)
        changed = [
            key
            for key in self.held.keys() | after.keys()
            if key not in self.held
            or key not in after
            or not same(self.held[key].value, after[key].value)
        ]
        if changed and not dry_run:
            self._commit(after, changed)
        return len(changed)

    def answer(self, command: Command, *, dry_run: bool = False) -> int | RefusedError:
        """As `run`, with the refusal as a result."""
        try:
            return self.run(command, dry_run=dry_run)
        except RefusedError as refusal:
            return refusal

    def _commit(self, after: dict[str, Held], changed: list[str]) -> None:
        self.revision += 1
        for key in changed:
            self.held.pop(key, None)
            if key in after:
                self.held[key] = Held(after[key].value, self.revision)

    def _put(self, after: dict[str, Held], key: str, value: Any) -> None:
        if key not in after or not same(after[key].value, value):
            after[key] = Held(value, self.revision + 1)

    def _expect(self, after: dict[str, Held], command: Command) -> None:
        expect = command.get("expect", "any")
        if expect == "any":
            return
        if isinstance(expect, dict) and "store_revision" in expect:
            if expect["store_revision"] != self.revision:
                raise RefusedError("conflict", self.revision)
            return
        held = after.get(command["key"])
        actual = held.revision if held else 0
        wanted = {"absent": actual == 0, "present": actual > 0}
        met = actual == expect["revision"] if isinstance(expect, dict) else wanted[expect]
        if not met:
            raise RefusedError("conflict", self._told(actual))

    def _told(self, revision: int) -> int | None:
        """What the command itself has set before is at no revision yet."""
        return revision if revision <= self.revision else None

    def _set(self, after: dict[str, Held], command: Command) -> None:
        self._put(after, command["key"], command["value"])

    def _delete(self, after: dict[str, Held], command: Command) -> None:
        after.pop(command["key"], None)

    def _delete_prefix(self, after: dict[str, Held], command: Command) -> None:
        for key in [key for key in after if key.startswith(command["prefix"])]:
            del after[key]

    def _add(self, after: dict[str, Held], command: Command) -> None:
        before = after[command["key"]].value if command["key"] in after else 0
        if isinstance(before, bool) or not isinstance(before, int | float):
            raise RefusedError("type")
        self._put(after, command["key"], before + command.get("by", 1))

    def _toggle(self, after: dict[str, Held], command: Command) -> None:
        before = after[command["key"]].value if command["key"] in after else False
        if not isinstance(before, bool):
            raise RefusedError("type")
        self._put(after, command["key"], not before)

    def _merge(self, after: dict[str, Held], command: Command) -> None:
        held = after.get(command["key"])
        self._put(after, command["key"], merged(held.value if held else None, command["value"]))

    def _rename(self, after: dict[str, Held], command: Command) -> None:
        key, to = command["key"], command["to"]
        moved = [
            name for name in after if name == key or (key.endswith(".") and name.startswith(key))
        ]
        if not moved:
            raise RefusedError("not_found")
        targets = {to + name[len(key) :]: after[name].value for name in moved}
        taken = sorted(target for target in targets if target in after)
        if taken and not command.get("replace"):
            raise RefusedError("conflict", self._told(after[taken[0]].revision))
        for name in moved:
            if name not in targets:
                del after[name]
        for target, value in targets.items():
            self._put(after, target, value)
