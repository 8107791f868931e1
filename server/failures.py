"""Failures of SQLite and of the operating system in words of our own: what is wrong, what helps."""

import errno
from pathlib import Path
from typing import Final

import apsw

from server.errors import DamagedStore

DAMAGED: Final = (
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.SQLError,
    apsw.FormatError,
    apsw.MismatchError,
    apsw.ConstraintError,
    apsw.RangeError,
    apsw.InternalError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
)
"""What reading a damaged file ends with: SQLite notices it, or our code meets what cannot be. (Text
that is not UTF-8 is a `ValueError`.)"""
FULL: Final = "the disk is full or a quota is used up: make room"
_NO_RIGHTS: Final = "this user has no right to do that: look at its owner and its permissions"
_READ_ONLY: Final = (
    "it is read-only, by its medium or its protection; copy its folder to where it can be written, "
    "and choose that with --data-dir"
)
_SQLITE: Final[dict[type[apsw.Error], str]] = {
    apsw.FullError: FULL,
    apsw.IOError: "the disk refuses to read or write it, being full, broken or gone",
    apsw.BusyError: "another program holds it locked: end that or try again",
    apsw.LockedError: "another program holds it locked: end that or try again",
    apsw.ReadOnlyError: _READ_ONLY,
    apsw.CantOpenError: "it cannot be opened: look at its folder and at the permissions",
    apsw.PermissionsError: _NO_RIGHTS,
    apsw.AuthError: _NO_RIGHTS,
    apsw.NoMemError: "the memory is used up: end other programs",
    apsw.TooBigError: "a text in it is longer than SQLite takes",
    apsw.NotADBError: "it is no SQLite database",
    apsw.InterruptError: "it was interrupted",
}
_SYSTEM: Final = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "the file would be larger than this system or a limit allows",
    errno.EACCES: _NO_RIGHTS,
    errno.EPERM: _NO_RIGHTS,
    errno.EROFS: _READ_ONLY,
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "a file of that name is there already",
    errno.ENAMETOOLONG: "the name is longer than this system takes",
    errno.ELOOP: "its links go round in a circle",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.EIO: "the disk cannot be read or written: it may be broken or gone",
    errno.ESTALE: "the network drive has lost it: connect that again",
    errno.ENOMEM: "the memory is used up: end other programs",
    errno.EBUSY: "another program uses it",
    errno.ECONNREFUSED: "nobody listens there",
    errno.ECONNRESET: "the other side has broken off",
    errno.EPIPE: "the other side has broken off",
    errno.ETIMEDOUT: "there was no answer in time",
    errno.EHOSTUNREACH: "that computer cannot be reached",
    errno.ENETUNREACH: "that network cannot be reached",
    errno.EADDRINUSE: "another program listens there already",
}


def reason(error: Exception) -> str:
    """Why it failed, as a part of a sentence without its full stop; "it" is the file or folder."""
    if isinstance(error, apsw.Error):
        return next(
            (words for kind, words in _SQLITE.items() if isinstance(error, kind)), "it is damaged"
        )
    if isinstance(error, OSError):
        name = errno.errorcode.get(error.errno or 0, "an unknown reason")
        return _SYSTEM.get(error.errno or 0, f"the system refuses it ({name})")
    return "it is damaged" if isinstance(error, DAMAGED) else f"of {type(error).__name__}"


def damaged(path: Path, where: str = "") -> DamagedStore:
    """For a store that cannot be used as it is; `where` follows the word damaged."""
    return DamagedStore(
        f"The store {path} is damaged{where}. `signalbox verify` says what is affected. Replace it "
        "by a backup; without one, `sqlite3 FILE .recover` saves what SQLite still finds in it."
    )
