"""Parses the headers of a request strictly: what programs could parse differently is refused.

pywsgi parses them as e-mail, which takes a fifth of a command and accepts what RFC 9112 forbids:
folded lines, spaces before the colon, several lengths.
"""

import re
from functools import lru_cache
from typing import Any, Final

from signalbox.server.model.errors import Malformed, TooLarge, quoted
from signalbox.server.model.numbers import is_whole

MAX_LINE: Final = 65_536
MAX_LINES: Final = 100
_ONCE: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "authorization", "origin"}
)
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Headers(dict[str, str]):
    """Values by lower-case name, with the methods that pywsgi calls.

    Raises `Malformed` for an invalid line, `TooLarge` for a line that is too long or too many.
    """

    status = ""

    def __init__(self, file: Any) -> None:
        super().__init__()
        for _ in range(MAX_LINES + 1):
            line = file.readline(MAX_LINE)
            if line in (b"\r\n", b"\n", b""):
                break
            self._add(line.decode("latin-1"))
        else:
            raise TooLarge(f"There are more than {MAX_LINES} header lines.", limit=MAX_LINES)
        self._check_length()

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)

    getheader = get

    @property
    def typeheader(self) -> str | None:
        return super().get("content-type")

    def _add(self, line: str) -> None:
        if len(line) >= MAX_LINE:
            raise TooLarge(f"A header line has more than {MAX_LINE} bytes.", limit=MAX_LINE)
        name, colon, value = line.partition(":")
        value = value.strip(" \t\r\n")
        if not colon or not line.endswith("\n") or not _is_name(name) or _CONTROL.search(value):
            raise Malformed(f"The header line {quoted(line)} is not NAME: VALUE.")
        name = name.lower()
        if name not in self:
            self[name] = value
        elif name in _ONCE:
            raise Malformed(f"The header {name} is given twice.")
        else:
            self[name] += "," + value

    def _check_length(self) -> None:
        coding = super().get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise Malformed(f"The Transfer-Encoding is {quoted(coding)}; allowed is chunked.")
        length = super().get("content-length")
        if length is None:
            return
        if not is_whole(length):
            raise Malformed(f"The Content-Length is {quoted(length)}; it must be a number.")
        if coding is not None:
            raise Malformed("Content-Length and Transfer-Encoding exclude each other.")


@lru_cache(maxsize=256)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def list_members(value: str) -> set[str]:
    """The members of a list such as that of Connection (RFC 9110, 5.6.1), in lower case."""
    return {token.strip().lower() for token in value.split(",")}


@lru_cache(maxsize=256)
def environ_name(name: str) -> str:
    """The WSGI environment's name of a header (PEP 3333)."""
    return "HTTP_" + name.upper().replace("-", "_")
