"""Messages for errors of SQLite, the system, the network and libraries: the cause and a remedy."""

import errno
import socket
import ssl
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
"""The errors that reading a damaged file may raise: SQLite notices the damage, or our code meets
impossible values. (Text that is not UTF-8 is a `ValueError`.)"""
CERTAIN_DAMAGE: Final = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
"""Those of them that are damage for certain, and no mistake in our code."""
FULL: Final = "the disk is full or a quota is used up: make room"
_NO_RIGHTS: Final = "this user has no right to do that: look at its owner and its permissions"
_READ_ONLY: Final = (
    "it is read-only, by its medium or its protection; copy its folder to where it can be written, "
    "and choose that with --data-dir"
)
_DISCONNECTED: Final = "the other side has broken off"
_TIMED_OUT: Final = "there was no answer in time"
_CANCELLED: Final = "the connection was given up"
_NOT_NATS: Final = "it does not answer as a NATS server does"
_NOT_TLS: Final = "it does not encrypt, or something else listens there"
_UNTRUSTED: Final = (
    "its certificate is not of an authority that is trusted here; the option ca names another"
)
_WRONG_NAME: Final = "its certificate is for another name than the one in the address"
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
    apsw.CorruptError: "it is damaged",
    apsw.FormatError: "it is damaged",
    apsw.InterruptError: "it was interrupted",
    apsw.ProtocolError: "another program holds it locked: end that or try again",
}
READ_ERRORS: Final = tuple(_SQLITE)
"""SQLite's errors where a file is damaged or cannot be read now. Others, as `apsw.SQLError` or
`apsw.BindingsError`, are mistakes in our code, unless the store is just being opened."""
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
    errno.ECONNRESET: _DISCONNECTED,
    errno.ECONNABORTED: _DISCONNECTED,
    errno.EPIPE: _DISCONNECTED,
    errno.ETIMEDOUT: _TIMED_OUT,
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
    62: _WRONG_NAME,
    64: _WRONG_NAME,
}
"""By OpenSSL's number of what is wrong with it (`X509_V_ERR_…` in x509_vfy.h)."""
_TLS: Final = (
    ("CERTIFICATE_REQUIRED", "it wants a certificate: see the options cert and key"),
    ("UNKNOWN_CA", "it does not trust the certificate that it was shown"),
    ("CERTIFICATE", "it does not take the certificate that it was shown"),
    ("HANDSHAKE_FAILURE", "it refuses to encrypt with this computer, or wants a certificate"),
    ("PROTOCOL_VERSION", "it knows no version of TLS that is safe"),
    ("", _NOT_TLS),
)
"""By a part of OpenSSL's name of the reason; the first that fits."""
_LIBRARIES: Final = {
    "nats.errors.AuthorizationError": "it refuses these credentials",
    "nats.errors.ConnectionClosedError": _DISCONNECTED,
    "nats.errors.MaxPayloadError": "it does not take messages of that size",
    "nats.errors.NoRespondersError": "nobody there answers for JetStream",
    "nats.errors.NoServersError": "nobody listens there",
    "nats.errors.OutboundBufferLimitError": _TIMED_OUT,
    "nats.errors.SecureConnWantedError": "it wants to be encrypted: say tls://",
    "nats.errors.StaleConnectionError": _DISCONNECTED,
    "nats.errors.TimeoutError": _TIMED_OUT,
    "nats.errors.Error": _NOT_NATS,
    "redis.exceptions.AuthenticationError": "it refuses these credentials",
    "redis.exceptions.ConnectionError": _DISCONNECTED,
    "redis.exceptions.TimeoutError": _TIMED_OUT,
    "redis.exceptions.InvalidResponse": (
        "it does not answer as Redis does; if it is to be encrypted, say rediss://"
    ),
    "redis.exceptions.RedisError": "it does not answer as Redis does",
    "psutil.AccessDenied": _NO_RIGHTS,
    "psutil.NoSuchProcess": "it has ended",
    "asyncio.exceptions.CancelledError": _CANCELLED,
}
"""By the full name of a class: these libraries are imported only where they are needed."""


class ReadableError(Exception):
    """A base of errors whose own text is a message for people."""


def sentence(error: BaseException) -> str:
    """The message for an error, as a sentence; `reason` of one that is not ours."""
    if isinstance(error, ReadableError | SignalboxError | StoreError):
        return str(error)
    words = reason(error)
    return f"{words[0].upper()}{words[1:]}."


def reason(error: BaseException) -> str:
    """Why something failed, as a part of a sentence; "it" is the file, or the other side."""
    if isinstance(error, ReadableError | SignalboxError | StoreError):
        return str(error).removesuffix(".")
    if isinstance(error, apsw.Error):
        phrases = (words for kind, words in _SQLITE.items() if isinstance(error, kind))
        return next(phrases, _unexpected(error))
    if isinstance(error, OSError):
        return _system_reason(error)
    if (known := _library_reason(error)) is not None:
        wrapped = error.__cause__ or error.__context__
        return _system_reason(wrapped) if isinstance(wrapped, OSError) else known
    return _unexpected(error)


def _unexpected(error: BaseException) -> str:
    """The reason for an error that no message is known for: only its type is told."""
    return f"something unexpected went wrong ({type(error).__name__})"


def _system_reason(error: OSError) -> str:
    """The reason of an error of the system, the network or TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE.get(error.verify_code, "its certificate cannot be verified")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _DISCONNECTED
    if isinstance(error, ssl.SSLError):
        name = getattr(error, "reason", None) or ""
        return next(words for part, words in _TLS if part in name)
    if isinstance(error, socket.gaierror):
        return "its name is not known, or names cannot be looked up now"
    if error.errno is None:
        return _TIMED_OUT if isinstance(error, TimeoutError) else _DISCONNECTED
    name = errno.errorcode.get(error.errno, "an unknown reason")
    return _SYSTEM.get(error.errno, f"the system refuses it ({name})")


def _library_reason(error: BaseException) -> str | None:
    """The reason of a library's error, by its class or the nearest base that is known."""
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__)
    return next((_LIBRARIES[name] for name in names if name in _LIBRARIES), None)


def damaged_store(path: Path, where: str = "") -> DamagedStore:
    """The error for a store that cannot be used as it is; `where` follows the word damaged."""
    return DamagedStore(
        f"The store {path} is damaged{where}. `signalbox verify` says what is affected. Replace it "
        f"by a backup, and remove {path.name}-wal and {path.name}-shm; without one, "
        "`sqlite3 FILE .recover` saves what SQLite still finds in it."
    )
