"""An operator of NATS with one account and one user in it, known by signed claims alone.

Claims are JSON Web Tokens, signed with the Ed25519 key of who stands above:
https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt.
"""

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any, Final, NamedTuple

import nkeys  # type: ignore[import-untyped]

UNLIMITED: Final = {
    **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1),
    **dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1),
    "wildcards": True,
}


class Holder(NamedTuple):
    """Of a key: the pair, and its public half as NATS writes it."""

    keys: Any
    name: str

    def says(self, of: "Holder", kind: str, **claims: Any) -> str:
        """A signed claim about somebody."""
        told = {"type": kind, "version": 2, **claims}
        claim = {"jti": of.name, "iat": 1, "iss": self.name, "name": kind, "sub": of.name}
        head = _part({"typ": "JWT", "alg": "ed25519-nkey"})
        text = f"{head}.{_part({**claim, 'nats': told})}"
        return f"{text}.{_encoded(self.keys.sign(text.encode()))}"


class Claims:
    """`config` makes a server believe `operator`; `write` gives a user what lets in."""

    def __init__(self) -> None:
        self._operator, self._account = (
            _holder(kind) for kind in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT)
        )
        system = _holder(nkeys.PREFIX_BYTE_ACCOUNT)
        preloaded = {
            self._account: {"limits": UNLIMITED},
            system: {"limits": UNLIMITED | {"disk_storage": 0, "mem_storage": 0}},
        }
        accounts = "\n".join(
            f"{one.name}: {self._operator.says(one, 'account', **claims)}"
            for one, claims in preloaded.items()
        )
        self.config = (
            f"operator: {self._operator.says(self._operator, 'operator')}\n"
            f"system_account: {system.name}\n"
            f"resolver: MEMORY\nresolver_preload: {{ {accounts} }}"
        )

    def write(self, path: Path) -> Path:
        """A credentials file of a user that the account knows."""
        user = _holder(nkeys.PREFIX_BYTE_USER)
        free = {"subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}}
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{self._account.says(user, 'user', **free)}\n"
            "------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.keys.seed.decode()}\n"
            "------END USER NKEY SEED------\n"
        )
        return path


def _holder(kind: int) -> Holder:
    keys = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), kind))
    return Holder(keys, keys.public_key.decode())


def _part(value: dict[str, Any]) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")
