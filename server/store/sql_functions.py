"""SQL functions of ours that every connection to a store has."""

import json
import re
from typing import Any

import apsw

from signalbox.server.model import values
from signalbox.server.model.checksums import of_row
from signalbox.server.model.events import combine_checksums


def register_functions(connection: apsw.Connection) -> None:
    """Make the functions of this file available to the SQL of `connection`."""
    connection.create_scalar_function("row_checksum", of_row, deterministic=True)
    connection.create_scalar_function("regexp", _regexp, 2, deterministic=True)
    connection.create_scalar_function("key_contains", _key_contains, 2, deterministic=True)
    connection.create_scalar_function("value_contains", _value_contains, 2, deterministic=True)
    connection.create_scalar_function(
        "transaction_checksum", _transaction_checksum, 2, deterministic=True
    )


def _regexp(*arguments: Any) -> bool:
    """The SQL operator REGEXP: whether all of a text matches."""
    regex, text = arguments
    return re.fullmatch(regex, text) is not None


def _key_contains(*arguments: Any) -> bool:
    """SQL: whether a key contains a case-folded text."""
    folded, key = arguments
    return folded in key.casefold()


def _value_contains(*arguments: Any) -> bool:
    """SQL: whether a value (a string's content, else JSON) contains a case-folded text."""
    folded, raw = arguments
    return folded in values.shown_text(raw).casefold()


def _transaction_checksum(*arguments: Any) -> int:
    """SQL: a transaction's checksum, from that of its head and a JSON array of its changes'."""
    head, changes = arguments
    return combine_checksums(head, json.loads(changes))
