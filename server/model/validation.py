"""Validation errors of commands: the field, what was given and what is allowed."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from signalbox.server.model.errors import quoted

Kinds = Mapping[str, type[msgspec.Struct]]
"""From the name of each type of command to its fields."""

EXPECT: Final = (
    '"any", "absent", "present", {"revision": n} and {"store_revision": n} with an integer from 0'
)
_NOT_IN_BATCH: Final = ("batch", "restore", "undo", "redo")
"""Types that cannot be members of a batch."""
_ALLOWED: Final = {
    "key": "allowed is a text",
    "to": "allowed is a text",
    "prefix": "allowed is a text",
    "replace": "allowed are true and false",
    "to_revision": "allowed is a revision, an integer from 0",
    "match": "allowed is a text, a pattern of keys",
    "without": "allowed is a list of prefixes",
    "of": "allowed is a text, the id of a command",
    "keep": 'allowed are a list of keys and "refused"',
    "rules": "allowed are true and false",
    "expect": f"allowed are {EXPECT}",
    "commands": "allowed is a list of commands",
}


def validation_errors(command: Any, kinds: Kinds, where: str = "") -> Iterator[str]:
    """One sentence for each error; `where` is the path to the command within its batch."""
    if not isinstance(command, dict):
        yield f"The field {where[:-1]} is {quoted(command)}; allowed is a command, an object."
        return
    tag = command.get("type")
    if not isinstance(tag, str) or tag not in kinds:
        found = f"is {quoted(tag)}" if "type" in command else "is missing"
        yield f"The field {where}type {found}; allowed are {', '.join(kinds)}."
        return
    fields = msgspec.structs.fields(kinds[tag])
    names = ["type", *(field.name for field in fields)]
    for name in command:
        if name not in names:
            yield f"The field {where}{_quoted_name(name)} is unknown; {tag} has {', '.join(names)}."
    for field in fields:
        if field.name in command:
            yield from _field_errors(field, command[field.name], kinds, where)
        elif field.required:
            yield f"The field {where}{field.name} is missing; {tag} has {', '.join(names)}."


def _field_errors(
    field: msgspec.structs.FieldInfo, value: Any, kinds: Kinds, where: str
) -> Iterator[str]:
    """The errors of one field of a command."""
    if field.name == "commands" and isinstance(value, list):
        members = {tag: kind for tag, kind in kinds.items() if tag not in _NOT_IN_BATCH}
        for number, member in enumerate(value):
            yield from validation_errors(member, members, f"{where}commands[{number}].")
        return
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError:
        allowed = _ALLOWED[field.name]
        if field.name == "replace" and field.type is not bool:
            allowed = "allowed is an object from key to the revision that it is at"
        yield f"The field {where}{field.name} is {quoted(value)}; {allowed}."


def _quoted_name(name: str) -> str:
    """A field's name as JSON escapes it, without quotes."""
    return quoted(name)[1:-1] if len(name) <= 60 else quoted(name[:60])[1:-1] + "..."
