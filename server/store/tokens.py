"""Access tokens: the secrets of a store, one for each role."""

import secrets
from typing import NamedTuple

from signalbox.server.store.database import Database


class Tokens(NamedTuple):
    """One secret for each role, stored in `meta`."""

    read: str
    write: str
    window: str

    @classmethod
    def of(cls, database: Database, rotate: bool = False) -> "Tokens":
        """The store's tokens, created where they are missing; with `rotate` all of them anew."""
        tokens = []
        for name in cls._fields:
            token = None if rotate else database.meta(f"token.{name}")
            if token is None:
                token = secrets.token_urlsafe(32)
                database.set_meta(f"token.{name}", token)
            tokens.append(token)
        return cls(*tokens)
