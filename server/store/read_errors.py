"""Which errors of a query mean that the store is damaged or cannot be read.

All others, such as `apsw.SQLError`, are mistakes in our code.
"""

from typing import Final

from signalbox.server.runtime.error_messages import CERTAIN_DAMAGE, READ_ERRORS

READING_ROOMS: Final = (
    "signalbox.server.store.",
    "signalbox.server.read.",
    "signalbox.server.write.",
)
"""Packages that read rows of the store. None of them decodes bytes of another origin."""


def is_damage(error: BaseException) -> bool:
    """Whether an error of SQLite is damage of the store for certain."""
    return isinstance(error, CERTAIN_DAMAGE) or _is_from_invalid_text(error)


def is_read_error(error: BaseException) -> bool:
    """Whether the store is damaged, or cannot be read now."""
    return isinstance(error, READ_ERRORS) or _is_from_invalid_text(error)


def _is_from_invalid_text(error: BaseException) -> bool:
    """Whether a text in the store is not UTF-8.

    apsw raises the same `UnicodeDecodeError` as `bytes.decode` does; where it was raised tells
    them apart. (Checking each row would take a fifth of the time of reading it.)
    """
    if not isinstance(error, UnicodeDecodeError):
        return False
    raised_in, traceback = "", error.__traceback__
    while traceback:
        # apsw adds frames of its C code, which have no module.
        raised_in = traceback.tb_frame.f_globals.get("__name__", raised_in)
        traceback = traceback.tb_next
    return raised_in.startswith(READING_ROOMS)
