"""What proves that a server knows a secret, so that nobody sends it to a stranger on its port."""

import hmac
from pathlib import Path


def proof(secret: str, nonce: str, address: str, store: str, directory: str) -> str:
    """HMAC (SHA-256, hexadecimal) of a nonce under `secret`.

    It names where the server listens, so that a stranger on another port cannot have it made by
    the true one, and what it serves, so that the server of a copy is not taken for the original's.
    """
    return hmac_hex(secret, f"signalbox hello\n{nonce}\n{address}\n{store}\n{directory}")


def hmac_hex(secret: str, text: str) -> str:
    """HMAC (RFC 2104) with SHA-256, hexadecimal."""
    return hmac.digest(secret.encode(), text.encode(), "sha256").hex()


def directory_identity(path: Path) -> str:
    """Device and inode of a folder, which a copy of it does not share."""
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"
