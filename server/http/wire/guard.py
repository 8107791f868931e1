"""Access control before every route: checks Host, Origin, and token or window secret."""

import hmac
import re
import secrets
from collections.abc import Callable
from typing import Any, Final, Literal, NamedTuple

from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.server_proof import hmac_hex, identity_proof
from signalbox.server.model.errors import (
    Forbidden,
    Invalid,
    Malformed,
    Unauthenticated,
)
from signalbox.server.store.tokens import Tokens

CODE_SECONDS: Final = 300
MAX_CODES: Final = 100

Role = Literal["read", "write", "window"]
PUBLIC: Final = {"/", "/hello", "/redeem", "/goodbye", "*"}
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{16,128}")


class WindowAccess(NamedTuple):
    """The window's secret, and a code with which its page can be loaded again in this run."""

    secret: str
    reload_code: str


class Guard:
    """`store` is the id of the store, `directory` its `directory_identity`; `clock` in seconds."""

    def __init__(
        self, tokens: Tokens, store: str, directory: str, clock: Callable[[], float]
    ) -> None:
        self._tokens = tokens
        self._store, self._directory = store, directory
        self._clock = clock
        self._codes: dict[str, float] = {}
        self._run_id = secrets.token_hex(16)
        self._address = self._login_host = ""
        self._window_secret = self._reload_code = ""
        self._tokens_by_role: dict[Role, bytes] = {}
        self._own_host = re.compile("")

    def listen_on(self, port: int) -> None:
        """Accept only requests for this port of a local host name (against DNS rebinding). Windows
        that were opened in an earlier run go on using its host name.

        A window's secret is valid for this port alone, and is never sent. What is sent, and what a
        tab stores, is valid for this run alone: a program that gets the port later has the origin
        of the page as well.
        """
        self._address, self._login_host = f"127.0.0.1:{port}", f"{self._run_id}.localhost:{port}"
        place = f"signalbox window\n{self._address}\n{self._store}\n{self._directory}"
        self._window_secret = hmac_hex(self._tokens.window, place)
        self._reload_code = hmac_hex(self._window_secret, f"signalbox again\n{self._run_id}")
        key = hmac_hex(self._window_secret, f"signalbox run\n{self._run_id}")
        self._tokens_by_role = {
            "write": self._tokens.write.encode(),
            "window": key.encode(),
            "read": self._tokens.read.encode(),
        }
        self._own_host = re.compile(rf"(127\.0\.0\.1|localhost|[0-9a-f]{{32}}\.localhost):{port}")

    def check(self, request: Request) -> Role | None:
        """The role of the client, None for what is public (`is_public`).

        Raises `Forbidden` for a foreign Host, Origin or site, `Malformed` for two different hosts,
        `Unauthenticated` without a token.
        """
        self._check_host(request.headers.get("host"), request.authority)
        self._check_origin(request)
        return None if is_public(request.path) else self._role(request)

    def prove_identity(self, nonce: str) -> dict[str, Any]:
        """The response of `/hello`: proofs that this server knows its secrets. Raises `Invalid`."""
        if not _NONCE.fullmatch(nonce):
            raise Invalid(
                f"The parameter nonce is {_quoted(nonce)}; needed are 16 to 128 of A-Z a-z 0-9 _ -."
            )
        asked = (nonce, self._address, self._store, self._directory)
        known = {
            "read": self._tokens.read,
            "write": self._tokens.write,
            "window": self._window_secret,
        }
        proofs = {name: identity_proof(secret, *asked) for name, secret in known.items()}
        place = {"store": self._store, "directory": self._directory, "run": self._run_id}
        return {**place, "proofs": proofs}

    def require_write(self, role: Role | None) -> None:
        """Raises `Forbidden` for a token that may only read."""
        if role not in ("write", "window"):
            raise Forbidden("This token may only read; commands need the write token.")

    def login_address(self) -> str:
        """A one-time address of the page, with a code for `redeem`, good for `CODE_SECONDS`.

        Its host name is that of this run, and so is its origin: whatever had this port before, and
        may have left a page or a service worker in the browser, has another.
        """
        now = self._clock()
        self._codes = {code: end for code, end in self._codes.items() if end > now}
        while len(self._codes) >= MAX_CODES:
            del self._codes[next(iter(self._codes))]
        code = secrets.token_urlsafe(24)
        self._codes[code] = now + CODE_SECONDS
        return f"http://{self._login_host}/#code={code}"

    def redeem(self, code: str) -> WindowAccess:
        """Exchange a code for the access of a window.

        Raises `Unauthenticated` for one that is unknown, used or too old.
        """
        if _equal(code, self._reload_code):
            return WindowAccess(self._window_secret, self._reload_code)
        known = next((known for known in self._codes if _equal(code, known)), None)
        if known is None or self._codes.pop(known) <= self._clock():
            raise Unauthenticated(
                "This login address was used before or is too old; "
                "`signalbox token --login` gives a new one."
            )
        return WindowAccess(self._window_secret, self._reload_code)

    def _check_host(self, host: str | None, authority: str | None) -> None:
        """`authority` is what an absolute-form target names; it must say what Host says."""
        if host == self._address and authority is None:
            return  # as nearly always
        for one in (host, host if authority is None else authority):
            if one is None or not self._own_host.fullmatch(one.lower()):
                raise Forbidden(f"The Host {_quoted(one)} is not this server's.")
        if authority is not None and authority.lower() != (host or "").lower():
            raise Malformed(
                f"The target names {_quoted(authority)} and the header Host {_quoted(host)}; they "
                "must be the same."
            )

    def _check_origin(self, request: Request) -> None:
        origin = request.headers.get("origin")
        if origin is not None and not self._is_own(origin):
            raise Forbidden(f"The Origin {_quoted(origin)} is not this server's.")
        site = request.headers.get("sec-fetch-site")
        if site in (None, "same-origin"):
            return
        mode = request.headers.get("sec-fetch-mode")
        if (mode, request.path, request.method) != ("navigate", "/", "GET"):
            raise Forbidden(
                f"The request comes from another site (Sec-Fetch-Site: {_quoted(site)})."
            )

    def _is_own(self, origin: str) -> bool:
        scheme, _, host = origin.partition("://")
        return scheme == "http" and self._own_host.fullmatch(host) is not None

    def _role(self, request: Request) -> Role:
        authorization = request.headers.get("authorization")
        if authorization is None:
            raise Unauthenticated(
                "A token is needed: Authorization: Bearer …, see `signalbox token`; "
                "for a browser `signalbox token --login`."
            )
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer":
            given = token.strip().encode()
            for role, known in self._tokens_by_role.items():
                if hmac.compare_digest(given, known):
                    return role
        raise Unauthenticated("The token in Authorization is unknown; see `signalbox token`.")


def is_public(path: str) -> bool:
    """Whether a path shows nothing of the store: the empty page, its files and the login."""
    return path in PUBLIC or path.startswith("/static/")


def _equal(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())


def _quoted(text: str | None) -> str:
    return "(none)" if text is None else repr(text[:80])
