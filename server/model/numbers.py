"""Numbers as people write them: digits of ASCII alone.

Python's own readers take signs, spaces, underscores and the digits of every script as well.
"""

import re
from typing import Final

_DECIMAL: Final = re.compile(r"[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def is_whole(text: str) -> bool:
    """Whether a text is a whole number from 0, in digits of ASCII."""
    return text.isascii() and text.isdigit()


def whole(text: str, least: int = 0, most: int | None = None) -> int:
    """The whole number that a text is. Raises `ValueError`, also beyond `least` and `most`."""
    if not is_whole(text) or (number := int(text)) < least or (most is not None and number > most):
        raise ValueError
    return number


def decimal(text: str) -> float:
    """The number from 0 that a text is, such as 2, 0.5 or 1e-3. Raises `ValueError`."""
    if not _DECIMAL.fullmatch(text) or (number := float(text)) == float("inf"):
        raise ValueError
    return number
