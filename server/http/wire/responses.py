"""Responses: JSON, errors, common headers, and the HTTP status of each error code."""

import re
from collections.abc import Callable, Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final

import msgspec

from signalbox.server.model.errors import (
    ContentCoding,
    IncompleteBody,
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
    "id_reused": 409,
    "nothing_to_undo": 409,
    "compacted": 410,
    "too_large": 413,
    "media_type": 415,
    "invalid": 422,
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


def status_of(code: str | None) -> int:
    """The status of a response with this error code; 200 without one."""
    return 200 if code is None else STATUSES[code]


def raw_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Status line and headers of a response that is sent directly to its socket."""
    lines = [("Date", formatdate(usegmt=True)), *headers]  # Date: RFC 9110, 6.6.1
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"HTTP/1.1 {STATUS_LINES[status]}\r\n{text}\r\n".encode()


def json_response(
    start_response: StartResponse, status: int, body: Any, *headers: tuple[str, str]
) -> Iterable[bytes]:
    """A response with `body` as JSON."""
    encoded = msgspec.json.encode(body)
    lines = [("Content-Type", "application/json"), ("Content-Length", str(len(encoded)))]
    if status in (429, 503):
        lines.append(("Retry-After", "1"))
    start_response(STATUS_LINES[status], [*lines, *HEADERS, *headers])
    return [encoded]


def matches_etag(environ: dict[str, Any], etag: str) -> bool:
    """Whether If-None-Match has this `etag` (with its quotes; RFC 9110, 13.1.2)."""
    given = environ.get("HTTP_IF_NONE_MATCH", "")
    return given.strip() == "*" or etag in _ETAG.findall(given)


def error_response(
    start_response: StartResponse, error: SignalboxError, **extra: Any
) -> Iterable[bytes]:
    """An error response: `{"code", "message", …}` with the headers for the error."""
    headers = []
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", error.allowed))
    if isinstance(error, ContentCoding):
        headers.append(("Accept-Encoding", "identity"))  # RFC 9110, 12.5.3
    if isinstance(error, Unauthenticated):
        headers.append(("WWW-Authenticate", 'Bearer realm="signalbox"'))
    if isinstance(error, IncompleteBody):
        headers.append(("Connection", "close"))
    return json_response(start_response, status_of(error.code), extra | error.fields(), *headers)
