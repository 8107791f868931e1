"""Commands as one tagged union, parsed and validated strictly from decoded JSON."""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from signalbox.server.model import values
from signalbox.server.model.errors import (
    Invalid,
    Malformed,
    SignalboxError,
    TooLarge,
    quoted,
)
from signalbox.server.model.keys import (
    KEY_SCHEMA,
    check_key,
    check_new_key,
    check_new_prefix,
    check_prefix,
    compile_pattern,
)
from signalbox.server.model.validation import EXPECT, validation_errors

MAX_BATCH: Final = 1_000
DEFAULT_EFFECTS: Final = 100
"""Effects that an answer lists at most, unless the command asks for more or fewer."""
MAX_EFFECTS: Final = 100_000
"""As many as one transaction changes at most."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ACTOR: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


Revision = Annotated[int, Meta(ge=0)]
Key = Annotated[str, Meta(extra_json_schema=KEY_SCHEMA)]
"""Its pattern is for the API description; `check_key` explains why a text is no key."""
Number = Annotated[Any, Meta(extra_json_schema={"type": "number"})]
"""Checked by `values.is_number`: an integer may be too long to be decoded."""


class ExpectRevision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of the two: the key's revision (0: absent) or the store's."""

    revision: Revision | UnsetType = UNSET
    store_revision: Revision | UnsetType = UNSET


Expect = Literal["any", "absent", "present"] | ExpectRevision


class _Member(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
    kw_only=True,
):
    pass


class Set(_Member, frozen=True, tag="set"):
    key: Key
    value: Any
    expect: Expect = "any"


class Delete(_Member, frozen=True, tag="delete"):
    key: Key
    expect: Expect = "any"


class DeletePrefix(_Member, frozen=True, tag="delete_prefix"):
    prefix: str
    expect: Expect = "any"


class Add(_Member, frozen=True, tag="add"):
    key: Key
    by: Number = 1
    expect: Expect = "any"


class Toggle(_Member, frozen=True, tag="toggle"):
    key: Key
    expect: Expect = "any"


class Merge(_Member, frozen=True, tag="merge"):
    """`value` is a JSON merge patch (RFC 7396)."""

    key: Key
    value: Any
    expect: Expect = "any"


class Rename(_Member, frozen=True, tag="rename"):
    """A dot at the end of both `key` and `to` renames a prefix."""

    key: str
    to: str
    replace: bool = False
    expect: Expect = "any"


Member = Set | Delete | DeletePrefix | Add | Toggle | Merge | Rename


class Batch(_Member, frozen=True, tag="batch"):
    """All or nothing; later members see the effects of earlier ones."""

    commands: list[Member]


KEEP_REFUSED: Final = "refused"
Keep = list[str] | Literal["refused"]
"""The keys that a reversal leaves as they are: these, or all that it would be refused for."""


class Restore(_Member, frozen=True, tag="restore"):
    """Matching keys get their values of a revision; those below the prefixes `without` stay.

    `keep` is that of an undo. With `rules`, rules about a key that changes come along.
    """

    to_revision: Revision
    match: str = "**"
    without: list[str] = []
    keep: Keep = []
    rules: bool = False
    expect: Expect = "any"


class Undo(_Member, frozen=True, tag="undo"):
    """`of` is a command's id, an import's for all its batches; by default the actor's newest.

    Where somebody has changed a key since, `keep` leaves it as it is and `replace` overwrites it if
    its last change is still the one of that revision. `keep` may also be "refused": every key that
    would be refused, since it has changed or by a rule, is left as it is.
    """

    of: str | None = None
    keep: Keep = []
    replace: dict[str, Revision] = {}
    expect: Expect = "any"


class Redo(_Member, frozen=True, tag="redo"):
    """`of` is the id of an undo, or of the command that was undone; by default the last undo."""

    of: str | None = None
    keep: Keep = []
    replace: dict[str, Revision] = {}
    expect: Expect = "any"


HistoryCommand = Restore | Undo | Redo
"""Commands that are decided by the log, see `reversal`."""
Command = Member | Batch | HistoryCommand
TYPES: Final = {str(kind.__struct_config__.tag): kind for kind in get_args(Command)}


class EncodedSet(msgspec.Struct, frozen=True, gc=False):
    """A `set` whose value is checked and encoded ahead, which needs no state."""

    key: str
    raw: str
    expect: Expect = "any"


class Attempt(NamedTuple):
    """One attempt to write: the command, or the reason why it is refused."""

    id: str
    actor: str
    type: str
    fingerprint: bytes
    command: Command | EncodedSet | None
    refusal: SignalboxError | None = None
    dry_run: bool = False
    has_sender_id: bool = True
    """Whether the sender chose the id: only then can it have been used before."""
    decide: Callable[[Any], dict[str, str | None]] | None = None
    """How an import's batch is decided, without its refused lines."""
    preload_keys: Sequence[str] = ()
    """Keys to look up together before deciding."""
    key: str | None = None
    """The key or prefix that the command names."""
    effects: int = DEFAULT_EFFECTS
    """Effects that a dry run or a conflict lists at most."""

    def without_payload(self) -> "Attempt":
        """The attempt without what is not needed once it is decided."""
        return self._replace(command=None, decide=None, preload_keys=())


def read_attempt(body: dict[str, Any], default_actor: str, new_id: str) -> Attempt:
    """Parse the attempt in a decoded JSON object. Never raises: a refusal is part of the attempt.

    The fingerprint covers the payload with defaults filled in, without `id`, `dry_run` and
    `effects`: 16 bytes of BLAKE2b. So a dry run is answered as that command would be.
    """
    fields = dict(body)
    chosen = fields.pop("id", None)
    actor, dry_run = fields.pop("actor", default_actor), fields.pop("dry_run", False)
    effects = fields.pop("effects", DEFAULT_EFFECTS)
    command: Command | None = None
    refusal: SignalboxError | None = None
    try:
        _check_envelope(chosen, actor, dry_run, effects)
        command = read_command(fields)
        payload = _PAYLOAD.encode((actor, command))
    except SignalboxError as error:
        refusal, payload = error, _PAYLOAD.encode(_refused_payload(body))
    return Attempt(
        id=chosen if _is_text_of(_ID, chosen) else new_id,
        actor=actor if _is_text_of(_ACTOR, actor) else default_actor,
        type=_type_of(fields),
        fingerprint=hashlib.blake2b(payload, digest_size=16).digest(),
        command=command,
        refusal=refusal,
        dry_run=dry_run is True,
        has_sender_id=_is_text_of(_ID, chosen),
        key=getattr(command, "key", getattr(command, "prefix", None)),
        effects=effects,
    )


def _refused_payload(body: dict[str, Any]) -> dict[str, Any]:
    """The payload that the fingerprint of a refused command covers."""
    is_dry = isinstance(body.get("dry_run"), bool)
    return {name: value for name, value in body.items() if not (is_dry and name == "dry_run")} | {
        "id": None
    }


def read_command(fields: dict[str, Any]) -> Command:
    """Parse a command. Raises `Invalid` or `TooLarge`: which field, its value, what is allowed."""
    kind = TYPES.get(_type_of(fields))
    if kind is None:
        raise Invalid(next(validation_errors(fields, TYPES)))
    _check_batch_size(fields)
    try:
        # For the union of all types msgspec would build its table anew at each call.
        command: Command = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        why = next(
            validation_errors(fields, TYPES), "The command has a field that is not as it must be."
        )
        raise Invalid(why) from error
    _check(command)
    return command


def read_line(line: bytes) -> Command:
    """Parse the command in one line of an import. Raises as `values.decode` and `read_command`."""
    fields = values.decode(line, "The line")
    if not isinstance(fields, dict):
        raise Malformed("The line is JSON, but no object; a command is an object with a type.")
    return read_command(fields)


def checked_set(key: str, value: Any) -> Set:
    """A `set` of a decoded value, validated as a sent one. Raises `Invalid`."""
    command = Set(key=key, value=value)
    _check(command)
    return command


def check_actor(actor: Any) -> None:
    """Raises `Invalid` where a text is no name of an actor."""
    if not _is_text_of(_ACTOR, actor):
        raise Invalid(
            f"The field actor is {quoted(actor)}; allowed are 1 to 64 of A-Z a-z 0-9 _ . @ -.",
            field="actor",
        )


def check_id(identity: Any) -> None:
    """Raises `Invalid` where a text is no id that a command can have."""
    if not _is_text_of(_ID, identity):
        raise Invalid(
            f"The field id is {quoted(identity)}; allowed are 1 to 64 of A-Z a-z 0-9 _ -."
        )


def _check_envelope(chosen: Any, actor: Any, dry_run: Any, effects: Any) -> None:
    """Check the fields that all commands have. Raises `Invalid`."""
    if chosen is not None:
        check_id(chosen)
    check_actor(actor)
    if not isinstance(dry_run, bool):
        raise Invalid(f"The field dry_run is {quoted(dry_run)}; allowed are true and false.")
    if type(effects) is not int or not 0 <= effects <= MAX_EFFECTS:
        raise Invalid(f"The field effects is {quoted(effects)}; allowed are 0 to {MAX_EFFECTS}.")


def _check_batch_size(fields: dict[str, Any]) -> None:
    """Raises `TooLarge` for a batch of too many commands."""
    members = fields.get("commands")
    if isinstance(members, list) and len(members) > MAX_BATCH:
        raise TooLarge(
            f"The field commands has {len(members)} members; allowed are {MAX_BATCH}.",
            limit=MAX_BATCH,
        )


def _check(command: Command, where: str = "") -> None:
    """Check what types cannot express; `where` is the path to the command within its batch."""
    if isinstance(command, Batch):
        for number, member in enumerate(command.commands):
            _check(member, f"commands[{number}].")
        return
    _CHECKS[type(command)](command, where)
    if command.expect != "any":
        _check_expect(command, command.expect, where)


def _check_new_key(command: Set | Toggle | Merge, where: str) -> None:
    """Check the key of a command that may create it. Raises `Invalid`."""
    check_new_key(command.key, where)


def _check_delete(command: Delete, where: str) -> None:
    """Check the key of a `delete`. Raises `Invalid`."""
    check_key(command.key, where)


def _check_delete_prefix(command: DeletePrefix, where: str) -> None:
    """Check the prefix of a `delete_prefix`. Raises `Invalid`."""
    check_prefix(command.prefix, where)


def _check_restore(command: Restore, _: str) -> None:
    """Check the pattern and the prefixes of a restore. Raises `Invalid`."""
    compile_pattern(command.match)
    for prefix in command.without:
        check_prefix(prefix)
    for key in _kept(command):
        check_key(key)


def _check_reversal(command: Undo | Redo, _: str) -> None:
    """Check the fields of an undo or redo. Raises `Invalid`."""
    if command.of is not None and not _is_text_of(_ID, command.of):
        raise Invalid(
            f"The field of is {quoted(command.of)}; it is the id of a command.", field="of"
        )
    kept = _kept(command)
    for key in (*kept, *command.replace):
        check_key(key)
    if both := set(kept) & set(command.replace):
        raise Invalid(
            f"The key {min(both)} is named in keep and in replace; only one can be.",
            key=min(both),
            field="keep",
        )


def _kept(command: HistoryCommand) -> list[str]:
    """The keys that a reversal names as those to leave as they are."""
    return command.keep if isinstance(command.keep, list) else []


def _check_add(command: Add, where: str) -> None:
    """Check the key and the summand of an `add`. Raises `Invalid` or `TooLarge`."""
    check_new_key(command.key, where)
    if not values.is_number(command.by):
        raise Invalid(
            f"The field {where}by is {quoted(command.by)}; allowed is a number.",
            field=f"{where}by",
        )
    values.check(command.by, command.key)
    values.check_size(values.encode(command.by), command.key, where + "by")


def _check_rename(command: Rename, where: str) -> None:
    """Check both names of a rename. Raises `Invalid`."""
    key, to = command.key, command.to
    if key.endswith(".") != to.endswith("."):
        raise Invalid(
            f"The field {where}to is {quoted(to)} where {where}key is {quoted(key)}; "
            "either both end with a dot (prefixes) or neither does (keys).",
            field=f"{where}to",
        )
    if key.endswith("."):
        check_prefix(key, where)
        check_new_prefix(to, where)
    else:
        check_key(key, where)
        check_new_key(to, where)
    if to == key or (key.endswith(".") and to.startswith(key)):
        raise Invalid(
            f"The field {where}to is {quoted(to)}; allowed is what does not lie inside "
            f"{where}key, {quoted(key)}.",
            field=f"{where}to",
        )


_CHECKS: Final[dict[type, Callable[[Any, str], None]]] = {
    Set: _check_new_key,
    Delete: _check_delete,
    DeletePrefix: _check_delete_prefix,
    Add: _check_add,
    Toggle: _check_new_key,
    Merge: _check_new_key,
    Rename: _check_rename,
    Restore: _check_restore,
    Undo: _check_reversal,
    Redo: _check_reversal,
}


def _check_expect(command: Member | HistoryCommand, expect: Expect, where: str) -> None:
    """Check that the expectation is one that the command can have. Raises `Invalid`."""
    given = msgspec.to_builtins(expect)
    if isinstance(given, dict) and len(given) != 1:
        raise Invalid(f"The field {where}expect is {quoted(given)}; allowed are {EXPECT}.")
    about_many = isinstance(command, DeletePrefix | HistoryCommand) or (
        isinstance(command, Rename) and command.key[-1] == "."
    )
    if about_many and "store_revision" not in given:
        subject = "this command" if isinstance(command, HistoryCommand) else "a prefix"
        raise Invalid(
            f"The field {where}expect is {quoted(given)}; "
            f'for {subject} "any" and {{"store_revision": n}} are allowed.'
        )


def _type_of(fields: dict[str, Any]) -> str:
    """The command's type for the record of an invalid attempt; empty where it has none."""
    kind = fields.get("type")
    return kind[:64] if isinstance(kind, str) else ""


def _is_text_of(form: re.Pattern[str], text: Any) -> bool:
    """Whether the field of a command is a text of this form."""
    return isinstance(text, str) and form.fullmatch(text) is not None


_PAYLOAD: Final = msgspec.json.Encoder(order="deterministic")
