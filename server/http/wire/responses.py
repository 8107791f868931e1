"""Responses: JSON, errors, common headers, and the HTTP status of each error code."""

import re
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Any, Final, NamedTuple

import msgspec

from signalbox.server.model.errors import (
    ContentCoding,
    MethodNotAllowed,
    SignalboxError,
    Unauthenticated,
)

StartResponse = Callable[[str, list[tuple[str, str]]], Any]

STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

STATUSES: Final = {
    "malformed": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method": 405,
    "conflict": 409,
    "interlocked": 409,
    "id_reused": 409,
    "nothing_to_undo": 409,
    "compacted": 410,
    "too_large": 413,
    "media_type": 415,
    "invalid": 422,
    "rule": 422,
    "type": 422,
    "busy": 429,
    "internal": 500,
    "unavailable": 503,
}
"""The status of each code (`server.model.errors`)."""

_ETAG: Final = re.compile(r'"[^"]*"')

HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
]
"""Headers of every response."""
_JSON: Final = (("Content-Type", "application/json"), *HEADERS)
_JSON_HEADERS: Final = {False: _JSON, True: (*_JSON, ("Retry-After", "1"))}


def status_of(code: str | None) -> int:
    """The status of a response with this error code; 200 without one."""
    return 200 if code is None else STATUSES[code]


class Response(NamedTuple):
    """A response whose body is known as a whole."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def encode_head(status_line: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """Status line and headers, with the Date (RFC 9110, 6.6.1).

    Raises `ValueError` for a line end in one of them, behind which a client would see another.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header has a line end")
    return f"HTTP/1.1 {status_line}\r\nDate: {_date(int(time()))}\r\n{lines}\r\n".encode("latin-1")


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def raw_head(status: int, headers: Sequence[tuple[str, str]]) -> bytes:
    """Status line and headers of a response that is sent directly to its socket."""
    return encode_head(STATUS_LINES[status], headers)


def respond(start_response: StartResponse, response: Response) -> Iterable[bytes]:
    """A whole response by WSGI."""
    length = ("Content-Length", str(len(response.body)))
    start_response(STATUS_LINES[response.status], [*response.headers, length])
    return [response.body]


def json_answer(status: int, body: Any, *headers: tuple[str, str]) -> Response:
    """A response with `body` as JSON."""
    return Response(
        status, _JSON_HEADERS[status in (429, 503)] + headers, msgspec.json.encode(body)
    )


def matches_etag(given: str, etag: str) -> bool:
    """Whether an If-None-Match has this `etag` (with its quotes; RFC 9110, 13.1.2)."""
    return given != "" and (given.strip() == "*" or etag in _ETAG.findall(given))


def error_response(
    start_response: StartResponse, error: SignalboxError, **extra: Any
) -> Iterable[bytes]:
    """An error response: `{"code", "message", …}` with the headers for the error."""
    return respond(start_response, error_answer(error, **extra))


def error_answer(error: SignalboxError, **extra: Any) -> Response:
    """An error response: `{"code", "message", …}` with the headers for the error."""
    headers = []
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", error.allowed))
    if isinstance(error, ContentCoding):
        headers.append(("Accept-Encoding", "identity"))  # RFC 9110, 12.5.3
    if isinstance(error, Unauthenticated):
        headers.append(("WWW-Authenticate", 'Bearer realm="signalbox"'))
    return json_answer(status_of(error.code), extra | error.fields(), *headers)
