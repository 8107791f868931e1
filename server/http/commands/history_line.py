"""Parses one line of an exported history as a transaction, validated as commands are."""

import re
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import UNSET

from signalbox.server.formats.ndjson import HISTORY_LINE_START, MAX_HISTORY_LINE
from signalbox.server.formats.text_lines import Row, too_long
from signalbox.server.http.commands import long_history_line
from signalbox.server.http.commands.long_history_line import SLICE
from signalbox.server.model import values
from signalbox.server.model.app_settings import check_setting
from signalbox.server.model.commands import check_actor, check_id
from signalbox.server.model.decide import MAX_CHANGES, MAX_TRANSACTION_BYTES
from signalbox.server.model.errors import (
    Invalid,
    Malformed,
    SignalboxError,
    TooLarge,
    quoted,
)
from signalbox.server.model.events import COMPACTED, REVERSING, Change, Transaction
from signalbox.server.model.keys import check_key
from signalbox.server.model.times import milliseconds
from signalbox.server.runtime.scheduling import yield_to_hub

MAX_TYPE: Final = 64
_NOT_A_TRANSACTION: Final = "This is no transaction of a history that this Signalbox knows"
_HEXADECIMAL: Final = re.compile("([0-9A-Fa-f]{2})*")
MAX_FINGERPRINT: Final = 64


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    value: Any = UNSET
    deleted: bool = False


class _HistoryLine(msgspec.Struct, forbid_unknown_fields=True):
    """See `schemas.Recorded`; lines of earlier exports have no fingerprint or no checksum."""

    revision: int
    id: str
    actor: str
    at: str
    changes: list[Any]
    type: str
    fingerprint: str = ""
    reverses: list[int] = []
    compacted: int = 0
    checksum: str | None = None


_FIELDS: Final = {
    "revision": "an integer",
    "id": "a text",
    "actor": "a text",
    "at": "a time in ISO 8601 with its zone, such as 2026-11-23T10:00:00.000Z",
    "changes": 'a list of {"key": …, "value": …} and {"key": …, "deleted": true}',
    "type": "a text",
    "fingerprint": "a text of hexadecimal digits, two for each byte",
    "reverses": "a list of integers",
    "compacted": "an integer",
    "checksum": "null or a text of hexadecimal digits",
}
"""What each field of a line may be."""


def is_history_line(line: bytes) -> bool:
    """Whether a line of an import is a transaction, not a command."""
    if long_history_line.is_long(line) and line.startswith(HISTORY_LINE_START):
        return True
    try:
        fields = values.decode(line)
    except SignalboxError:
        return line.startswith(HISTORY_LINE_START)
    return isinstance(fields, dict) and "revision" in fields and "changes" in fields


def transaction_of(row: Row) -> Transaction:
    """As `read_history_line`, of a row. Raises its error where it has one."""
    if isinstance(row.command, SignalboxError):
        raise row.command.with_traceback(None)
    return read_history_line(row.text)


def read_history_line(line: bytes) -> Transaction:
    """The transaction in a line. Its checksum is not compared, and `created` is not set.

    Raises `Invalid`, `Malformed` or `TooLarge`.
    """
    if len(line) > MAX_HISTORY_LINE:
        raise too_long(len(line), MAX_HISTORY_LINE, "transaction")
    fields: Any = None
    try:
        fields = long_history_line.decode(line)
        record = msgspec.convert(fields, _HistoryLine)
        changes = _converted(record.changes)
        fingerprint = _hexadecimal(record.fingerprint)
        at = milliseconds(record.at)
        checksum = None if record.checksum is None else _checksum(record.checksum)
    except Malformed as error:
        raise Malformed(f"{_NOT_A_TRANSACTION}: {error.message}") from error
    except ValueError as error:  # msgspec.ValidationError among them
        raise Malformed(f"{_NOT_A_TRANSACTION}: {_invalid_field(fields)}") from error
    check_id(record.id)
    check_actor(record.actor)
    _check_not_compacted(record)
    if not 0 < len(record.type) <= MAX_TYPE or len(fingerprint) > MAX_FINGERPRINT:
        raise Invalid(
            f"The field type or fingerprint of revision {record.revision} is too long: a type has "
            f"1 to {MAX_TYPE} characters, and this one {len(record.type)}; a fingerprint has at "
            f"most {MAX_FINGERPRINT} bytes, and this one {len(fingerprint)}."
        )
    return Transaction(
        record.revision,
        record.id,
        record.actor,
        at,
        record.type,
        fingerprint,
        _changes(changes),
        of=_reversed_revisions(record),
        checksum=checksum,
    )


def _check_not_compacted(record: _HistoryLine) -> None:
    """Raises `Invalid` where retention had removed the transaction or some of its changes."""
    if record.type == COMPACTED:
        raise Invalid(
            f"The type of revision {record.revision} is {COMPACTED}, which stands for one that "
            "retention has removed: no export has it, and it has no changes."
        )
    if record.compacted:
        raise Invalid(
            f"Retention had removed {record.compacted} changes of revision {record.revision}; "
            "`signalbox migrate` copies a store that has been thinned out."
        )


def _invalid_field(record: Any) -> str:
    """The first field that is invalid, in one sentence."""
    if not isinstance(record, dict):
        return "the line is JSON, but no object."
    for name in record:
        if name not in _FIELDS:
            return f"the field {quoted(name)} is unknown; it has {', '.join(_FIELDS)}."
    for field in msgspec.structs.fields(_HistoryLine):
        if field.name in record and not _is_valid(field, record[field.name]):
            given, allowed = quoted(record[field.name]), _FIELDS[field.name]
            return f"the field {field.name} is {given}; allowed is {allowed}."
        if field.required and field.name not in record:
            return f"the field {field.name} is missing; it has {', '.join(_FIELDS)}."
    return "a field is not as it must be."


def _is_valid(field: msgspec.structs.FieldInfo, value: Any) -> bool:
    """Whether a field of the line has the form that an export writes."""
    try:
        msgspec.convert(value, field.type)
        if field.name == "changes":
            _converted(value)
        elif field.name == "at":
            milliseconds(value)
        elif field.name == "fingerprint":
            _hexadecimal(value)
        elif field.name == "checksum" and value is not None:
            _checksum(value)
    except (msgspec.ValidationError, Malformed, ValueError):
        return False
    return True


def _hexadecimal(text: str) -> bytes:
    """The bytes of a fingerprint or checksum in a line. Raises `ValueError`."""
    if not _HEXADECIMAL.fullmatch(text):
        raise ValueError
    return bytes.fromhex(text)


def _checksum(text: str) -> int:
    """A checksum as lines of a history have it, in hexadecimal digits."""
    return int.from_bytes(_hexadecimal(text.rjust(8, "0")))


def _reversed_revisions(record: _HistoryLine) -> tuple[int, ...]:
    """The revisions that an undo or redo has reversed. Raises `Invalid`."""
    of = tuple(record.reverses)
    is_sound = all(0 < revision < record.revision for revision in of) and list(of) == sorted(
        set(of)
    )
    if not is_sound or (of and record.type not in REVERSING):
        raise Invalid(
            f"The field reverses is {quoted(record.reverses)}; an undo or redo has the earlier "
            "revisions that it reverses, in order."
        )
    return of


def _converted(changes: list[Any]) -> list[_Change]:
    """The decoded changes, checked. Raises `msgspec.ValidationError`."""
    found: list[_Change] = []
    for start in range(0, len(changes), SLICE):
        if start:
            yield_to_hub()
        found += msgspec.convert(changes[start : start + SLICE], list[_Change])
    return found


def _changes(changes: list[_Change]) -> list[Change]:
    """The changes in the line, checked as those of a command are."""
    if len(changes) > MAX_CHANGES:
        raise TooLarge(
            f"The transaction has {len(changes)} changes; allowed are {MAX_CHANGES}.",
            limit=MAX_CHANGES,
        )
    parsed: list[Change] = []
    size = 0
    for count, change in enumerate(changes, start=1):
        check_key(change.key)
        raw = _raw(change)
        size += values.size(change.key) + values.size(raw or "")
        parsed.append(Change(change.key, raw))
        if count % SLICE == 0:
            yield_to_hub()
    if size > MAX_TRANSACTION_BYTES:
        raise TooLarge(
            f"The transaction has {size} bytes of keys and values; allowed are "
            f"{MAX_TRANSACTION_BYTES}.",
            limit=MAX_TRANSACTION_BYTES,
        )
    if any(one.key >= other.key for one, other in pairwise(parsed)):
        raise Invalid("The keys of a transaction are in order, each of them once.")
    return parsed


def _raw(change: _Change) -> str | None:
    """The value of a change as JSON text; None for a deletion. Raises `Invalid`."""
    if change.deleted == (change.value is not UNSET):
        raise Invalid(f"The change of {change.key} has either a value or deleted: true.")
    if change.deleted:
        return None
    values.check(change.value, change.key)
    check_setting(change.key, change.value)
    raw = values.encode(change.value)
    values.check_size(raw, change.key)
    return raw
