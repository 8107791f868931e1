"""What SQLite, the system, the network and libraries report, in words of our own: what helps."""

import errno
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from signalbox.server.model.errors import DamagedStore, SignalboxError, StoreError

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
NOTICED: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError, UnicodeDecodeError)
"""What of that is damage for certain, and no mistake of ours."""
FULL: Final = "the disk is full or a quota is used up: make room"
_NO_RIGHTS: Final = "this user has no right to do that: look at its owner and its permissions"
_READ_ONLY: Final = (
    "it is read-only, by its medium or its protection; copy its folder to where it can be written, "
    "and choose that with --data-dir"
)
_BROKEN_OFF: Final = "the other side has broken off"
_SILENT: Final = "there was no answer in time"
_GIVEN_UP: Final = "the connection was given up"
_NO_NATS: Final = "it does not answer as a NATS server does"
_NO_TLS: Final = "it does not encrypt, or something else listens there"
_UNTRUSTED: Final = (
    "its certificate is not of an authority that is trusted here; the option ca names another"
)
_OTHER_NAME: Final = "its certificate is for another name than the one in the address"
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
    errno.ENOEXEC: "it is no program that this system can run",
    errno.E2BIG: "there are more arguments, or longer ones, than this system takes",
    errno.ECONNREFUSED: "nobody listens there",
    errno.ECONNRESET: _BROKEN_OFF,
    errno.ECONNABORTED: _BROKEN_OFF,
    errno.EPIPE: _BROKEN_OFF,
    errno.ETIMEDOUT: _SILENT,
    errno.EHOSTUNREACH: "that computer cannot be reached",
    errno.ENETUNREACH: "that network cannot be reached",
    errno.EADDRINUSE: "another program listens there already",
}

_CERTIFICATE: Final = {
    9: "its certificate is not valid yet, or this computer's clock is behind",
    10: "its certificate has expired, or this computer's clock is ahead",
    18: _UNTRUSTED,
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    23: "its certificate was revoked",
    62: _OTHER_NAME,
    64: _OTHER_NAME,
}
"""By OpenSSL's number of what is wrong with it (`X509_V_ERR_…` in x509_vfy.h)."""
_TLS: Final = (
    ("CERTIFICATE_REQUIRED", "it wants a certificate: see the options cert and key"),
    ("UNKNOWN_CA", "it does not trust the certificate that it was shown"),
    ("CERTIFICATE", "it does not take the certificate that it was shown"),
    ("HANDSHAKE_FAILURE", "it refuses to encrypt with this computer, or wants a certificate"),
    ("PROTOCOL_VERSION", "it knows no version of TLS that is safe"),
    ("", _NO_TLS),
)
"""By what OpenSSL's name of a reason has in it."""
_NAMED: Final = {
    "nats.errors.AuthorizationError": "it refuses these credentials",
    "nats.errors.ConnectionClosedError": _BROKEN_OFF,
    "nats.errors.MaxPayloadError": "it does not take messages of that size",
    "nats.errors.NoRespondersError": "nobody there answers for JetStream",
    "nats.errors.NoServersError": "nobody listens there",
    "nats.errors.OutboundBufferLimitError": _SILENT,
    "nats.errors.SecureConnWantedError": "it wants to be encrypted: say tls://",
    "nats.errors.StaleConnectionError": _BROKEN_OFF,
    "nats.errors.TimeoutError": _SILENT,
    "nats.errors.Error": _NO_NATS,
    "redis.exceptions.AuthenticationError": "it refuses these credentials",
    "redis.exceptions.ConnectionError": _BROKEN_OFF,
    "redis.exceptions.TimeoutError": _SILENT,
    "redis.exceptions.InvalidResponse": (
        "it does not answer as Redis does; if it is to be encrypted, say rediss://"
    ),
    "redis.exceptions.RedisError": "it does not answer as Redis does",
    "psutil.AccessDenied": _NO_RIGHTS,
    "psutil.NoSuchProcess": "it has ended",
    "asyncio.exceptions.CancelledError": _GIVEN_UP,
}
"""By the full name of a class: libraries that are read in only where they are needed."""


class ReadableError(Exception):
    """A base of errors that a library expects and that say in our words what has happened."""


def sentence(error: BaseException) -> str:
    """What is told of an error that may be one of ours."""
    if isinstance(error, ReadableError | SignalboxError | StoreError):
        return str(error)
    words = reason(error)
    return f"{words[0].upper()}{words[1:]}."


def reason(error: BaseException) -> str:
    """Why it failed, as a part of a sentence without its full stop; "it" is the file or the other
    side.
    """
    if isinstance(error, ReadableError | SignalboxError | StoreError):
        return str(error).removesuffix(".")
    if isinstance(error, apsw.Error):
        return next(
            (words for kind, words in _SQLITE.items() if isinstance(error, kind)), "it is damaged"
        )
    if isinstance(error, OSError):
        return _of_system(error)
    if (known := next(_named(error), None)) is not None:
        wrapped = error.__cause__ or error.__context__
        return _of_system(wrapped) if isinstance(wrapped, OSError) else known
    if isinstance(error, DAMAGED):
        return "it is damaged"
    return f"something unexpected went wrong ({type(error).__name__})"


def _of_system(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(error.verify_code, "its certificate cannot be verified")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _BROKEN_OFF
    if isinstance(error, ssl.SSLError):
        name = getattr(error, "reason", None) or ""
        return next(words for part, words in _TLS if part in name)
    if isinstance(error, socket.gaierror):
        return "its name is not known, or names cannot be looked up now"
    if error.errno is None:
        return _SILENT if isinstance(error, TimeoutError) else _BROKEN_OFF
    name = errno.errorcode.get(error.errno, "an unknown reason")
    return _SYSTEM.get(error.errno, f"the system refuses it ({name})")


def _named(error: BaseException) -> Iterator[str]:
    for kind in type(error).__mro__:
        if words := _NAMED.get(f"{kind.__module__}.{kind.__qualname__}"):
            yield words


def damaged_store(path: Path, where: str = "") -> DamagedStore:
    """For a store that cannot be used as it is; `where` follows the word damaged."""
    return DamagedStore(
        f"The store {path} is damaged{where}. `signalbox verify` says what is affected. Replace it "
        f"by a backup, and remove {path.name}-wal and {path.name}-shm; without one, "
        "`sqlite3 FILE .recover` saves what SQLite still finds in it."
    )
