"""What a search finds, by folding every text with Python."""

import unicodedata

from signalbox.server.model import values


def contains(key: str, raw: str, text: str) -> bool:
    """Whether a key or its value (JSON text) contains a text, whatever its case."""
    value = values.decode(raw.encode())
    shown = value if isinstance(value, str) else raw
    in_key = unicodedata.normalize("NFC", text).casefold() in key.casefold()
    return in_key or text.casefold() in shown.casefold()
