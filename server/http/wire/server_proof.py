"""Proofs that a server knows a secret, so that no client sends it to another program."""

import hmac
from pathlib import Path


def identity_proof(secret: str, nonce: str, address: str, store: str, directory: str) -> str:
    """HMAC (SHA-256, hexadecimal) of a nonce under `secret`.

    It includes the address, so that a program on another port cannot relay it to the real
    server, and the store, so that the server of a copy is not mistaken for that of the original.
    """
    return hmac_hex(secret, f"signalbox hello\n{nonce}\n{address}\n{store}\n{directory}")


def hmac_hex(secret: str, text: str) -> str:
    """HMAC (RFC 2104) with SHA-256, hexadecimal."""
    return hmac.digest(secret.encode(), text.encode(), "sha256").hex()


def directory_identity(path: Path) -> str:
    """Device and inode of a folder; a copy of it has others."""
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"
