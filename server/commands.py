"""What may be asked: commands as one tagged union, read strictly from decoded JSON."""

import hashlib
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

import msgspec

from server import values
from server.errors import Invalid, Malformed, SignalboxError, TooLarge
from server.keys import check_key, check_prefix

MAX_BATCH: Final = 1_000
SHOWN: Final = 80
"""Characters of a given value that a message repeats."""
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ACTOR: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")


class ExpectRevision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Exactly one of the two: the key's revision (0: absent) or the store's."""

    revision: int | None = None
    store_revision: int | None = None


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
    key: str
    value: Any
    expect: Expect = "any"


class Delete(_Member, frozen=True, tag="delete"):
    key: str
    expect: Expect = "any"


class DeletePrefix(_Member, frozen=True, tag="delete_prefix"):
    prefix: str
    expect: Expect = "any"


class Add(_Member, frozen=True, tag="add"):
    key: str
    by: Any = 1
    expect: Expect = "any"


class Toggle(_Member, frozen=True, tag="toggle"):
    key: str
    expect: Expect = "any"


class Merge(_Member, frozen=True, tag="merge"):
    """`value` is a JSON merge patch (RFC 7396)."""

    key: str
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


Command = Member | Batch
TYPES: Final = {str(kind.__struct_config__.tag): kind for kind in get_args(Command)}


class Attempt(NamedTuple):
    """One try to write: the command, or the reason why it is none."""

    id: str
    actor: str
    type: str
    fingerprint: bytes
    command: Command | None
    refusal: SignalboxError | None = None
    dry_run: bool = False
    chosen_id: bool = True
    """Whether the sender chose the id: only then can it have been seen before."""
    decide: Callable[[Any], dict[str, str | None]] | None = None
    """How an import's batch is decided, which leaves out the lines that are refused."""
    touches: Sequence[str] = ()
    """Keys that are worth looking up together."""
    key: str | None = None
    """The key or prefix that the command names."""

    def without_payload(self) -> "Attempt":
        """What is worth keeping once it is decided."""
        return self._replace(command=None, decide=None, touches=())


def read_attempt(body: dict[str, Any], default_actor: str, new_id: str) -> Attempt:
    """The attempt in a decoded JSON object. Never raises: a refusal is part of the attempt.

    The fingerprint covers the payload with defaults filled in, without `id` (16 bytes, BLAKE2b).
    """
    rest = dict(body)
    chosen = rest.pop("id", None)
    actor, dry_run = rest.pop("actor", default_actor), rest.pop("dry_run", False)
    command: Command | None = None
    refusal: SignalboxError | None = None
    try:
        _check_envelope(chosen, actor, dry_run)
        command = read_command(rest)
        payload = _PAYLOAD.encode((actor, command))
    except SignalboxError as error:
        refusal, payload = error, _PAYLOAD.encode(body | {"id": None})
    return Attempt(
        id=chosen if _fits(_ID, chosen) else new_id,
        actor=actor if _fits(_ACTOR, actor) else default_actor,
        type=_type_of(rest),
        fingerprint=hashlib.blake2b(payload, digest_size=16).digest(),
        command=command,
        refusal=refusal,
        dry_run=dry_run is True,
        chosen_id=_fits(_ID, chosen),
        key=getattr(command, "key", getattr(command, "prefix", None)),
    )


def read_command(fields: dict[str, Any]) -> Command:
    """Raises `Invalid` or `TooLarge`, naming the field, what was given and what is allowed."""
    kind = _type_of(fields)
    if kind not in TYPES:
        raise Invalid(
            f"The field type is {_shown(fields.get('type'))}; allowed are {', '.join(TYPES)}."
        )
    _check_batch_size(fields)
    try:
        # For the union of all types msgspec would build its table anew at each call.
        command: Command = msgspec.convert(fields, TYPES[kind])
    except msgspec.ValidationError as error:
        raise Invalid(_explained(str(error), fields)) from error
    _check(command)
    return command


def read_line(line: bytes) -> Command:
    """The command in one line of an import. Raises as `values.decode` and `read_command` do.

    Decoding straight into the type is several times faster than by way of a dict.
    """
    if not values.is_plain(line):
        return _read_line_slowly(line)
    try:
        command: Command = _LINE.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _read_line_slowly(line)
    if not values.names_once(line, command):
        return _read_line_slowly(line)
    _check(command)
    return command


def _read_line_slowly(line: bytes) -> Command:
    fields = values.decode(line)
    if not isinstance(fields, dict):
        raise Malformed("The line is JSON, but no object; a command is an object with a type.")
    return read_command(fields)


def check_actor(actor: str) -> None:
    if not _ACTOR.fullmatch(actor):
        raise Invalid(
            f"The field actor is {_shown(actor)}; allowed are 1 to 64 of A-Z a-z 0-9 _ . @ -."
        )


def check_id(identity: str) -> None:
    if not _ID.fullmatch(identity):
        raise Invalid(
            f"The field id is {_shown(identity)}; allowed are 1 to 64 of A-Z a-z 0-9 _ -."
        )


def _check_envelope(chosen: Any, actor: Any, dry_run: Any) -> None:
    if chosen is not None:
        check_id(chosen if isinstance(chosen, str) else repr(chosen) + " (no text)")
    check_actor(actor if isinstance(actor, str) else repr(actor) + " (no text)")
    if not isinstance(dry_run, bool):
        raise Invalid(f"The field dry_run is {_shown(dry_run)}; allowed are true and false.")


def _check_batch_size(fields: dict[str, Any]) -> None:
    members = fields.get("commands")
    if isinstance(members, list) and len(members) > MAX_BATCH:
        raise TooLarge(
            f"The field commands has {len(members)} members; allowed are {MAX_BATCH}.",
            limit=MAX_BATCH,
        )


def _check(command: Command) -> None:
    if isinstance(command, Batch):
        for member in command.commands:
            _check(member)
        return
    if isinstance(command, DeletePrefix):
        check_prefix(command.prefix)
    elif isinstance(command, Rename):
        _check_rename(command)
    else:
        check_key(command.key)
        if isinstance(command, Add):
            _check_by(command)
    if command.expect != "any":
        _check_expect(command, command.expect)


def _check_by(command: Add) -> None:
    if not values.is_number(command.by):
        raise Invalid(f"The field by is {_shown(command.by)}; allowed is a number.")
    values.check(command.by, command.key)
    values.check_size(values.encode(command.by), command.key, "by")


def _check_rename(command: Rename) -> None:
    if command.key.endswith(".") != command.to.endswith("."):
        raise Invalid(
            f"The fields key and to are {_shown(command.key)} and {_shown(command.to)}; "
            "either both end with a dot (prefixes) or neither does (keys)."
        )
    check = check_prefix if command.key.endswith(".") else check_key
    check(command.key, "key")
    check(command.to, "to")
    if command.to == command.key or (
        command.key.endswith(".") and command.to.startswith(command.key)
    ):
        raise Invalid(
            f"The field to is {_shown(command.to)}, which lies inside {_shown(command.key)}."
        )


def _check_expect(command: Member, expect: Expect) -> None:
    if isinstance(expect, ExpectRevision):
        given = [
            number for number in (expect.revision, expect.store_revision) if number is not None
        ]
        if len(given) != 1 or given[0] < 0:
            raise Invalid(
                'The field expect names exactly one of "revision" and "store_revision", 0 or more.'
            )
    about_prefix = isinstance(command, DeletePrefix) or (
        isinstance(command, Rename) and command.key[-1] == "."
    )
    if about_prefix and getattr(expect, "store_revision", None) is None:
        raise Invalid('The field expect of a prefix is "any" or {"store_revision": n}.')


def _explained(message: str, fields: dict[str, Any]) -> str:
    reason, _, path = message.partition(" - at `")
    where = path.rstrip("`").removeprefix("$.") or "command"
    if reason.startswith(("Object missing required", "Object contains unknown")):
        member = re.fullmatch(r"commands\[(\d+)\]", where)
        kind = _type_of(fields["commands"][int(member[1])] if member else fields)
        if kind not in TYPES:
            return f"{reason.replace('Object', 'The ' + where, 1)}; types are {', '.join(TYPES)}."
        names = ", ".join(TYPES[kind].__struct_fields__)
        return f"{reason.replace('Object', 'The ' + where, 1)}; a {kind} has: type, {names}."
    return f"The field {where}: {reason[0].lower()}{reason[1:]}."


def _type_of(fields: dict[str, Any]) -> str:
    kind = fields.get("type")
    return kind[:64] if isinstance(kind, str) else ""


def _fits(form: re.Pattern[str], text: Any) -> bool:
    return isinstance(text, str) and form.fullmatch(text) is not None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


_PAYLOAD: Final = msgspec.json.Encoder(order="deterministic")
_LINE: Final = msgspec.json.Decoder(Command)
