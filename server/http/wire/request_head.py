"""Parses the head of a request strictly: what programs could parse differently is refused.

llhttp parses the header lines. It does not see the first line, since it knows methods and versions
that we do not (CONNECT, RTSP), nor the body, since it keeps to itself where that ends.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from signalbox.server.model.errors import Malformed, TooLarge, quoted
from signalbox.server.model.numbers import is_whole

MAX_LINE: Final = 65_536
"""Bytes of the first line, and of all header lines together. The page sends its query, such as the
open branches of its tree, within the first line."""
MAX_LINES: Final = 100
MAX_DIGITS: Final = 18
"""Of a length: more bytes than anybody has."""
MAX_CACHED: Final = 2_048
"""Bytes of header lines of which the meaning is remembered."""
_ONCE: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "authorization", "origin"}
)
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TARGET: Final = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_ABSOLUTE: Final = re.compile(r"http://([^/?]+)(.*)", re.IGNORECASE)
"""An absolute-form target (RFC 9112, 3.2.2): its authority, and path with query."""
_VERSION: Final = re.compile(rb"HTTP/[0-9]+(\.[0-9]+)?")
_VERSION_1: Final = re.compile(rb"HTTP/1\.[0-9]")
_HEADER_LINE: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_BARE_LF: Final = re.compile(rb"(?<!\r)\n")
_EMPTY_LINES: Final = re.compile(rb"(\r?\n)*")


class UnsupportedVersion(Malformed):
    """A major version of HTTP that is not supported (RFC 9110, 15.6.6)."""

    def __init__(self, given: str) -> None:
        super().__init__(f"The version is {quoted(given)}; allowed are HTTP/1.1 and HTTP/1.0.")


class FirstLineTooLong(TooLarge):
    """The first line has more than `MAX_LINE` bytes (RFC 9110, 15.5.15)."""

    def __init__(self) -> None:
        super().__init__(f"The first line has more than {MAX_LINE} bytes.", limit=MAX_LINE)


class HeaderTooLarge(TooLarge):
    """The header lines are too long or too many (RFC 6585, 5)."""


class Head(NamedTuple):
    """A request without its body."""

    method: str
    authority: str | None
    """Of a target in absolute form, else None."""
    path: str
    """Decoded: its bytes as Latin-1 (PEP 3333)."""
    query: str
    is_http_1_0: bool
    headers: Mapping[str, str]
    """Values by lower-case name; others may share them."""
    length: int | None
    """Of the body, in bytes; None for one that is chunked."""

    @property
    def keeps_connection(self) -> bool:
        """Whether the client wants to send another request (RFC 9112, 9.3)."""
        if (given := self.headers.get("connection")) is None:
            return not self.is_http_1_0
        options = {option.strip().lower() for option in given.split(",")}
        return "keep-alive" in options if self.is_http_1_0 else "close" not in options

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be told to send the body (RFC 9110, 10.1.1)."""
        expected = self.headers.get("expect")
        return expected is not None and not self.is_http_1_0 and expected.lower() == "100-continue"


def without_empty_lines(data: bytes) -> bytes:
    """What follows the empty lines that may precede a request (RFC 9112, 2.2)."""
    if data[:1] not in (b"\r", b"\n"):
        return data
    found = _EMPTY_LINES.match(data)
    return data[found.end() :] if found else data


def head_length(data: bytes, known: int) -> int | None:
    """The length of the head that `data` begins with; None while it is incomplete.

    The first `known` bytes were seen before. Raises `Malformed` or `TooLarge` as soon as they are a
    request that cannot be.
    """
    end = data.find(b"\r\n\r\n", max(known - 3, 0))
    first = data.find(b"\n", 0, MAX_LINE)
    if first < 0:
        if len(data) >= MAX_LINE:
            raise FirstLineTooLong
        return None
    if (len(data) if end < 0 else end) - first > MAX_LINE:
        message = f"The header lines have more than {MAX_LINE} bytes together."
        raise HeaderTooLarge(message, limit=MAX_LINE)
    if end >= 0:
        return end + 4
    if first >= known:
        _parse_first_line(data[: first + 1].removesuffix(b"\r\n"))
    if _BARE_LF.search(data, max(known - 1, 0)):
        raise Malformed("A header line does not end with CR and LF.")
    return None


def parse_head(data: bytes) -> Head:
    """`data` ends with the empty line. Raises `Malformed` or `TooLarge` (RFC 9112)."""
    end = data.index(b"\r\n")
    method, authority, path, query, is_http_1_0 = _parse_first_line(data[:end])
    lines = data[end:]
    headers, length = (_parse_once if len(lines) <= MAX_CACHED else _parse_headers)(lines)
    if "host" not in headers and not is_http_1_0:
        raise Malformed("The header Host is missing.")
    if length is None and is_http_1_0:
        raise Malformed("HTTP/1.0 knows no Transfer-Encoding.")
    return Head(method, authority, path, query, is_http_1_0, headers, length)


@lru_cache(maxsize=64)
def _parse_first_line(line: bytes) -> tuple[str, str | None, str, str, bool]:
    """Method, authority, path, query, and whether it is HTTP/1.0: as in `Head`."""
    words = line.split(b" ")
    if len(words) != 3 or not _METHOD.fullmatch(words[0]) or not _TARGET.fullmatch(words[1]):
        raise Malformed("The first line is not METHOD TARGET HTTP/1.1.")
    method, target, version = words
    is_http_1_0 = version == b"HTTP/1.0"
    if version != b"HTTP/1.1" and not _VERSION_1.fullmatch(version):
        if _VERSION.fullmatch(version) and not version.startswith(b"HTTP/1."):
            raise UnsupportedVersion(version.decode())
        raise Malformed("The first line is not METHOD TARGET HTTP/1.1.")
    if words[:2] == [b"OPTIONS", b"*"]:  # about the server as a whole (RFC 9110, 9.3.7)
        return "OPTIONS", None, "*", "", is_http_1_0
    authority, path, query = _parse_target(target.decode("latin-1"))
    return method.decode(), authority, path, query, is_http_1_0


def _parse_target(target: str) -> tuple[str | None, str, str]:
    """The authority of an absolute-form target, else None; decoded path, and query."""
    authority = None
    if not target.startswith("/") and (found := _ABSOLUTE.fullmatch(target)):
        authority, target = found[1], found[2] if found[2].startswith("/") else f"/{found[2]}"
    if not target.startswith("/") or "#" in target:
        raise Malformed(
            f"The target is {quoted(target)}; allowed are a path such as /queries/status and "
            "http://HOST/PATH."
        )
    path, _, query = target.partition("?")
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    return authority, path, query


class _Lines(list[tuple[bytes, bytes]]):
    """The header lines that the parser finds: name and value."""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.append((name, value))


def _parse_headers(data: bytes) -> tuple[Mapping[str, str], int | None]:
    """The headers and the body's length, as in `Head`.

    `data` is the header lines between the end of the first line and that of the empty one.
    """
    if data.count(b"\n") > MAX_LINES + 2:
        raise HeaderTooLarge(f"There are more than {MAX_LINES} header lines.", limit=MAX_LINES)
    lines = _Lines()
    try:
        HttpRequestParser(lines).feed_data(b"POST / HTTP/1.1" + data)
    except HttpParserUpgrade:
        pass  # a server may go on without one (RFC 9110, 7.8)
    except HttpParserError as error:
        raise _what_is_wrong(data) from error
    headers = _merged(lines)
    return headers, _body_length(headers)


_parse_once: Final = lru_cache(maxsize=128)(_parse_headers)
"""A client sends the same lines with most of its requests."""


def _merged(lines: list[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in lines:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip(" \t")
        if name not in headers:
            headers[name] = value
        elif name in _ONCE:
            raise Malformed(f"The header {name} is given twice.")
        else:
            headers[name] += "," + value
    return headers


def _body_length(headers: dict[str, str]) -> int | None:
    """In bytes; None for a body that is chunked (RFC 9112, 6.3)."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None and coding.lower() != "chunked":
        raise Malformed(f"The Transfer-Encoding is {quoted(coding)}; allowed is chunked.")
    if length is None:
        return 0 if coding is None else None
    if not is_whole(length) or len(length) > MAX_DIGITS:
        raise Malformed(f"The Content-Length is {quoted(length)}; it must be a number.")
    if coding is not None:
        raise Malformed("Content-Length and Transfer-Encoding exclude each other.")
    return int(length)


def _what_is_wrong(data: bytes) -> Malformed:
    """Why the parser has refused header lines, in our words."""
    lines = data.removeprefix(b"\r\n").removesuffix(b"\r\n\r\n").split(b"\r\n")
    for line in lines:
        if not _HEADER_LINE.fullmatch(line):
            text = quoted(line.decode("latin-1"))
            return Malformed(f"The header line {text} is not NAME: VALUE.")
    pairs = [line.split(b":", 1) for line in lines]
    try:
        _body_length(_merged([(name, value) for name, value in pairs]))
    except Malformed as error:
        return error
    return Malformed("This is no HTTP/1.1 request.")
