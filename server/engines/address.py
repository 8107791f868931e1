"""The address of a shared engine, as `--engine` gives it: parsing and checking."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

PORTS: Final = {"nats": 4222, "tls": 4222, "redis": 6379, "rediss": 6379}
OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "nats": ("creds", "replicas"),
    "tls": ("creds", "replicas", "ca", "cert", "key"),
    "redis": ("stream", "wait"),
    "rediss": ("stream", "wait", "ca", "cert", "key"),
}
DEFAULT_STREAM: Final = "signalbox"
_ALLOWED: Final = (
    "allowed are sqlite, memory, nats://HOST:PORT/STREAM, tls://HOST:PORT/STREAM, "
    "redis://HOST:PORT/DB?stream=NAME and rediss://HOST:PORT/DB?stream=NAME"
)

_PERCENT_ENCODE: Final = (
    "the engine's address cannot be read: give user and password once, before the first host, "
    "and / ? # @ in them must be percent-encoded: %2F %3F %23 %40"
)

_STREAM: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARTS: Final = re.compile(r"([^/?#]*)([^?#]*)\??([^#]*)(#?)", re.DOTALL)
"""The parts after `://`: user and hosts, path, query, the beginning of a fragment."""


class AddressError(ValueError):
    """An address that is not valid; its message repeats nothing that may be part of a password."""


class Address(NamedTuple):
    """The address of a shared log. `text` is as it was given, with its secrets."""

    text: str
    scheme: str
    user: str | None
    password: str | None
    hosts: tuple[tuple[str, int], ...]
    stream: str
    database: int
    options: dict[str, str]

    @property
    def redacted(self) -> str:
        """The address without user, password and options."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        path = f"{self.database}?stream={self.stream}" if "redis" in self.scheme else self.stream
        return f"{self.scheme}://{hosts}/{path}"

    def at(self, number: int) -> "Address":
        """The address with only one of its hosts."""
        return self._replace(hosts=self.hosts[number : number + 1])

    @property
    def is_encrypted(self) -> bool:
        """Whether the connection to this address uses TLS."""
        return self.scheme in ("tls", "rediss")


def read_address(text: str) -> Address:
    """Parse an address. Raises `AddressError` with one sentence on what is wrong with it."""
    text = text.strip()
    scheme, _, rest = text.partition("://")
    if scheme not in PORTS or not rest:
        raise AddressError(f"the engine is {_first_word(text)}; {_ALLOWED}")
    parts = _PARTS.match(rest)
    assert parts is not None  # it matches anything
    authority, path, query, fragment = parts.groups()
    if fragment or authority.count("@") > 1:
        raise AddressError(_PERCENT_ENCODE)
    try:
        return _address(text, scheme, authority, path.strip("/"), query)
    except AddressError:
        if "@" in path + query:
            raise AddressError(_PERCENT_ENCODE) from None
        raise


def _address(text: str, scheme: str, authority: str, path: str, query: str) -> Address:
    """The address that its parts make. Raises `AddressError` for an invalid one."""
    userinfo, _, hosts = authority.rpartition("@")
    user, colon, password = userinfo.partition(":")
    parsed_hosts = tuple(_host(scheme, host) for host in hosts.split(","))
    options = dict(parse_qsl(query, keep_blank_values=True))
    _check_options(scheme, options)
    is_redis = scheme.startswith("redis")
    return Address(
        text=text,
        scheme=scheme,
        user=unquote(user) or None,
        password=unquote(password) if colon else None,
        hosts=parsed_hosts,
        stream=_stream(options.pop("stream", "") if is_redis else path),
        database=_number("database", path or "0", 0) if is_redis else 0,
        options=options,
    )


def _check_options(scheme: str, options: dict[str, str]) -> None:
    """Raises `AddressError` for an option that addresses of this scheme do not have."""
    for name, value in options.items():
        if name not in OPTIONS[scheme]:
            allowed = ", ".join(OPTIONS[scheme])
            raise AddressError(f"the engine's option is {name!r}; {scheme}:// knows {allowed}")
        if not value:
            raise AddressError(f"the engine's option {name} is empty")
    if "replicas" in options:
        _number("option replicas", options["replicas"], 1)
    if not re.fullmatch(r"[0-9]{1,3}(,[0-9]{1,3})?", wait := options.get("wait", "0")):
        raise AddressError(
            f"the engine's option wait is {wait!r}; allowed are LOCAL and LOCAL,REPLICAS: one "
            "number or two, such as 1 or 1,2"
        )
    if ("cert" in options) != ("key" in options):
        raise AddressError("the engine's options cert and key belong together")


def _host(scheme: str, text: str) -> tuple[str, int]:
    """A host of an address with its port. Raises `AddressError` where it is invalid."""
    parts = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/]+)(?::([0-9]{1,5}))?", text)
    if not parts or int(parts[2] or 1) not in range(1, 65536):
        raise AddressError("a host of the engine's address is neither HOST nor HOST:PORT")
    try:
        parts[1].encode("idna")
    except UnicodeError:
        raise AddressError(
            "a host of the engine's address is no name: allowed are 1 to 63 characters between dots"
        ) from None
    return parts[1], int(parts[2] or PORTS[scheme])


def _stream(name: str) -> str:
    """The name of the stream in an address. Raises `AddressError` where it is invalid."""
    if not _STREAM.fullmatch(name or DEFAULT_STREAM):
        raise AddressError(
            f"the engine's stream is {name!r}; allowed are 1 to 64 of A-Z a-z 0-9 _ -"
        )
    return name or DEFAULT_STREAM


def _number(name: str, text: str, lowest: int) -> int:
    """A number in an address, such as `replicas=`. Raises `AddressError` where it is invalid."""
    if not re.fullmatch("[0-9]{1,3}", text) or int(text) < lowest:
        raise AddressError(f"the engine's {name} is {text!r}; allowed are {lowest} to 999")
    return int(text)


def _first_word(text: str) -> str:
    """The scheme or name of an engine that `text` begins with, for a message."""
    word = re.match(r"[A-Za-z0-9+.-]{1,20}(?=:|$)", text)
    return repr(word[0]) if word else "none that is known"
