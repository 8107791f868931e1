"""Every error that a request or a start can fail with; the codes are stable."""

import json
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

MAX_QUOTED: Final = 80
"""Characters of a given value that a message quotes."""
JOINERS: Final = "\u200c\u200d"
"""Joiners that whole scripts and emoji are written with: they hide nothing."""
BLANK_CHARACTERS: Final = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Marks, letters and a symbol that show as nothing: Unicode's `Default_Ignorable_Code_Point` of
these categories but for variation selectors, with which emoji and scripts are written, and the
Braille pattern without dots."""
DETAIL_FIELDS: Final = (
    "key",
    "keys",
    "total",
    "rule",
    "path",
    "because",
    "of",
    "revision",
    "limit",
    "field",
)
"""Fields that an error may have besides its code and its message."""


def quoted(value: Any) -> str:
    """A JSON value as a message quotes it: as JSON, shortened, invisible characters escaped."""
    text = ""
    for piece in _json_pieces(value):  # it may be large
        text += piece
        if len(text) > MAX_QUOTED:
            break
    shown = "".join(
        char if _is_visible(char) or char in JOINERS else json.dumps(char)[1:-1]
        for char in text[: MAX_QUOTED + 1]
    )
    return shown if len(shown) <= MAX_QUOTED else shown[: MAX_QUOTED - 3] + "..."


def _json_pieces(value: Any) -> Iterator[str]:
    """A JSON value as JSON, piece by piece; of a long text or number only its beginning."""
    if (raw := _undecoded(value)) is not None:
        yield raw.decode(errors="replace")
    elif isinstance(value, dict):
        members = (
            (f"{_JSON.encode(name[: MAX_QUOTED + 1])}: ", member) for name, member in value.items()
        )
        yield from _joined_pieces("{", members, "}")
    elif isinstance(value, list | tuple):
        yield from _joined_pieces("[", (("", member) for member in value), "]")
    else:
        yield _JSON.encode(value[: MAX_QUOTED + 1] if isinstance(value, str) else value)


def _joined_pieces(begin: str, members: Iterable[tuple[str, Any]], end: str) -> Iterator[str]:
    """The JSON of an array or object in pieces, as `_json_pieces` gives it."""
    yield begin
    for number, (name, value) in enumerate(members):
        yield ", " * (number > 0) + name
        yield from _json_pieces(value)
    yield end


def _is_visible(char: str) -> bool:
    """Whether a quoted character can be seen; a blank of another name cannot."""
    return char.isprintable() and char not in BLANK_CHARACTERS


def _text_to_quote(value: Any) -> str:
    """The text that a message quotes of a value without a JSON form, such as a long number."""
    raw = _undecoded(value)
    return str(value) if raw is None else raw.decode()


def _undecoded(value: Any) -> bytes | None:
    """The beginning of a JSON text that was not decoded (`msgspec.Raw`); None for another value."""
    try:
        return bytes(memoryview(value)[: MAX_QUOTED + 1])
    except TypeError:
        return None


_JSON: Final = json.JSONEncoder(ensure_ascii=False, default=_text_to_quote)


class SignalboxError(Exception):
    """A refusal with a stable `code` and one sentence.

    The other fields are set where they help the sender to go on. `field` is what is to be given
    otherwise: of the command, or a parameter of the query; `path` is a JSON Pointer into the value
    of `key`, or of `rule`. `keys` are the first of `total`. `because` are the other keys for which
    an interlock refuses.
    """

    code: ClassVar[str] = "internal"
    remembered: ClassVar[bool] = False
    """Whether a command that is sent again under its id gets this outcome again."""
    attempt_status: ClassVar[str] = "rejected"
    """The `status` of an attempt that ends with it."""

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        keys: list[str] | None = None,
        of: list[str] | None = None,
        revision: int | None = None,
        limit: int | None = None,
        field: str | None = None,
        total: int | None = None,
        rule: str | None = None,
        path: str | None = None,
        because: list[dict[str, Any]] | None = None,
    ) -> None:
        """A refusal; `message` is its sentence, the others are fields of answers."""
        super().__init__(message)
        self.message = message
        self.key = key
        self.keys = keys
        self.of = of
        self.revision = revision
        self.limit = limit
        self.field = field
        self.total = total
        self.rule = rule
        self.path = path
        self.because = because

    def reworded(self, message: str) -> "SignalboxError":
        """The same refusal with another sentence."""
        return error_from_fields(self.fields() | {"message": message})

    def fields(self) -> dict[str, Any]:
        """The fields of answers: `code`, `message`, and those of `DETAIL_FIELDS` that are set."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        for name in DETAIL_FIELDS:
            value = getattr(self, name)
            if value is not None:
                body[name] = value
        return body


# While the request is read.


class Malformed(SignalboxError):
    code = "malformed"


class IncompleteBody(Malformed):
    """The end of the body is unknown, and so is where the next request begins: the connection ends
    with the answer.
    """

    def __init__(self) -> None:
        """The refusal of a body without a certain end."""
        super().__init__("The body ended early or is not framed as HTTP/1.1 says.")


class Unauthenticated(SignalboxError):
    code = "unauthenticated"


class Forbidden(SignalboxError):
    code = "forbidden"


class NotFound(SignalboxError):
    """No such route, key, command or attempt."""

    code, remembered = "not_found", True


class MethodNotAllowed(SignalboxError):
    """`allowed` are the methods that the route knows, as the header Allow names them."""

    code = "method"

    def __init__(self, message: str, allowed: str) -> None:
        """The refusal of a method; `allowed` is for the header Allow."""
        super().__init__(message)
        self.allowed = allowed


class Compacted(SignalboxError):
    """Retention has removed what the answer needs; `keys` are prefixes."""

    code, remembered = "compacted", True


class MediaType(SignalboxError):
    code = "media_type"


class ContentCoding(MediaType):
    """A body that is compressed; the answer's `Accept-Encoding` says what is allowed."""

    def __init__(self, given: str) -> None:
        """The refusal of the Content-Encoding `given`."""
        super().__init__(
            f"The Content-Encoding is {quoted(given)}; allowed is none: send the body as it is."
        )


# While the command is validated and decided.


class TooLarge(SignalboxError):
    code = "too_large"


class Invalid(SignalboxError):
    code, remembered = "invalid", True


class WrongType(SignalboxError):
    code, remembered = "type", True


class Conflict(SignalboxError):
    code, remembered = "conflict", True


class RuleBroken(SignalboxError):
    """A value that a rule takes from nobody, whenever it is set."""

    code, remembered = "rule", True


class Interlocked(SignalboxError):
    """A change that a rule does not allow now, or not to this actor."""

    code, remembered = "interlocked", True


class IdReused(SignalboxError):
    code = "id_reused"

    def __init__(self, identity: str) -> None:
        """The refusal of a command whose id another command has."""
        super().__init__(f"The id {identity} was used before, for another command.")


class NothingToUndo(SignalboxError):
    code, remembered = "nothing_to_undo", True


# While it is made durable.


class Busy(SignalboxError):
    code = "busy"


class Unavailable(SignalboxError):
    code = "unavailable"


class DiskFull(Unavailable):
    """The rest of the disk is reserved: commands that only delete may still succeed."""


class OutcomeUnknown(Unavailable):
    """Whether the command was written is unknown: the outcome follows later, under its id."""

    attempt_status = "unknown"


class Internal(SignalboxError):
    code = "internal"


# When the store is opened.


class StoreError(Exception):
    """The store cannot be opened as it is; the message says what to do."""


class UnknownVersion(StoreError):
    """The file or an event in it was written by a newer Signalbox."""


class DamagedStore(StoreError):
    """The file is not as SQLite or Signalbox has written it."""


class StoreInUse(StoreError):
    """Another server owns the data directory, which is `folder`."""

    def __init__(self, message: str, folder: str) -> None:
        """The refusal to open the store in a `folder` that another server owns."""
        super().__init__(message)
        self.folder = folder


def error_from_fields(fields: dict[str, Any]) -> SignalboxError:
    """The error whose `SignalboxError.fields` these are, from another node or a stored answer."""
    kinds = {kind.code: kind for kind in SignalboxError.__subclasses__()}
    kind = kinds.get(fields.get("code", ""), Internal)
    error = kind.__new__(kind)
    details = {name: fields[name] for name in DETAIL_FIELDS if name in fields}
    SignalboxError.__init__(error, fields.get("message", ""), **details)
    return error


def is_remembered(code: str) -> bool:
    """Whether a refusal with this code is a command's first outcome, which it gets again."""
    return any(error.remembered for error in SignalboxError.__subclasses__() if error.code == code)


def every_code() -> set[str]:
    """The stable codes of all errors."""
    return {error.code for error in SignalboxError.__subclasses__()}
