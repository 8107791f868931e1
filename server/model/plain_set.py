"""The quick way of most lines of an import: a `set` that is nothing but key and value."""

from typing import Final, Literal

import msgspec

from signalbox.server.model import values
from signalbox.server.model.commands import EncodedSet
from signalbox.server.model.decide import checked_and_encoded
from signalbox.server.model.errors import SignalboxError
from signalbox.server.model.keys import check_new_key


class _PlainSet(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["set"]
    key: str
    value: msgspec.Raw


_decode: Final = msgspec.json.Decoder(_PlainSet).decode
_FAULTS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, SignalboxError)
TWICE_BYTES: Final = len('{"type":"set","key":"","value":}' + ',"key":""')
"""The bytes beside key and value of the shortest line that has one of the fields twice."""


def read_plain_set(line: bytes) -> EncodedSet | None:
    """The command in a line that has the fields type, key and value, each once, and is valid; as
    `read_line` and `prepare_command` make it, three times as fast.

    None for any other line: they know what it is, or what is wrong with it.
    """
    try:
        fields = _decode(line)
        if len(line) - len(fields.key) - len(fields.value) >= TWICE_BYTES:
            return None  # the decoder would take the last of two fields with one name
        value = values.decode(bytes(fields.value))
        check_new_key(fields.key)
        return EncodedSet(fields.key, checked_and_encoded(fields.key, value))
    except _FAULTS:
        return None
