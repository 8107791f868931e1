"""The secrets that open a store, one for each role."""

import secrets
from typing import NamedTuple

from signalbox.server.store.database import Database


class Tokens(NamedTuple):
    """One secret for each role, kept in the store."""

    read: str
    write: str
    window: str

    @classmethod
    def of(cls, database: Database, rotate: bool = False) -> "Tokens":
        """The store's tokens, made at its first start, or anew."""
        found = []
        for name in cls._fields:
            token = None if rotate else database.meta(f"token.{name}")
            if token is None:
                token = secrets.token_urlsafe(32)
                database.set_meta(f"token.{name}", token)
            found.append(token)
        return cls(*found)
