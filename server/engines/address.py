"""Where an engine is: what `--engine` says, taken apart and checked."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

PORTS: Final = {"nats": 4222, "tls": 4222, "redis": 6379, "rediss": 6379}
OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "nats": ("creds", "replicas"),
    "tls": ("creds", "replicas", "ca", "cert", "key"),
    "redis": ("stream", "wait"),
    "rediss": ("stream", "wait", "ca", "cert", "key"),
}
NAME: Final = "signalbox"
"""Of the stream, where the address has none."""
ALLOWED: Final = (
    "allowed are sqlite, memory, nats://HOST:PORT/STREAM, tls://HOST:PORT/STREAM, "
    "redis://HOST:PORT/DB?stream=NAME and rediss://HOST:PORT/DB?stream=NAME"
)

_STREAM: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AddressError(ValueError):
    """What is wrong with an address, in one sentence without secrets."""


class Address(NamedTuple):
    """A shared log's. `text` is as it was given, secrets included; `shown` is without them."""

    text: str
    scheme: str
    user: str | None
    password: str | None
    hosts: tuple[tuple[str, int], ...]
    stream: str
    database: int
    options: dict[str, str]

    @property
    def shown(self) -> str:
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        path = f"{self.database}?stream={self.stream}" if "redis" in self.scheme else self.stream
        return f"{self.scheme}://{hosts}/{path}"

    @property
    def is_encrypted(self) -> bool:
        return self.scheme in ("tls", "rediss")


def read_address(text: str) -> Address:
    """The address in `text`. Raises `AddressError` with one sentence on what is wrong with it."""
    scheme, _, rest = text.partition("://")
    if scheme not in PORTS or not rest:
        raise AddressError(f"the engine is {_without_secrets(text)!r}; {ALLOWED}")
    parts = urlsplit(text)
    userinfo, _, places = parts.netloc.rpartition("@")
    user, colon, password = userinfo.partition(":")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    _check_options(scheme, options)
    path = parts.path.strip("/")
    is_redis = scheme.startswith("redis")
    return Address(
        text=text,
        scheme=scheme,
        user=unquote(user) or None,
        password=unquote(password) if colon else None,
        hosts=tuple(_place(scheme, place) for place in places.split(",")),
        stream=_stream(options.pop("stream", "") if is_redis else path),
        database=_number("database", path or "0", 0) if is_redis else 0,
        options=options,
    )


def _check_options(scheme: str, options: dict[str, str]) -> None:
    for name, value in options.items():
        if name not in OPTIONS[scheme]:
            allowed = ", ".join(OPTIONS[scheme])
            raise AddressError(f"the engine's option is {name!r}; {scheme}:// knows {allowed}")
        if not value:
            raise AddressError(f"the engine's option {name} is empty")
    if "replicas" in options:
        _number("option replicas", options["replicas"], 1)
    if "wait" in options:
        for number in options["wait"].split(","):
            _number("option wait", number, 0)
    if ("cert" in options) != ("key" in options):
        raise AddressError("the engine's options cert and key belong together")


def _place(scheme: str, text: str) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/]+)(?::([0-9]{1,5}))?", text)
    if not found or int(found[2] or 1) not in range(1, 65536):
        raise AddressError(f"the engine's host is {text!r}; allowed is HOST or HOST:PORT")
    return found[1], int(found[2] or PORTS[scheme])


def _stream(name: str) -> str:
    if not _STREAM.fullmatch(name or NAME):
        raise AddressError(
            f"the engine's stream is {name!r}; allowed are 1 to 64 of A-Z a-z 0-9 _ -"
        )
    return name or NAME


def _number(what: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text) < 1000:
        raise AddressError(f"the engine's {what} is {text!r}; allowed are numbers from {least} on")
    return int(text)


def _without_secrets(text: str) -> str:
    return re.sub(r"//[^/@]*@", "//...@", text)[:80]
