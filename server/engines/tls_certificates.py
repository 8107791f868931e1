"""The files that an encrypted engine's address names: its authority, and who we are."""

import ssl
from collections.abc import Mapping

from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.error_messages import reason


def load(context: ssl.SSLContext, given: Mapping[str, str]) -> None:
    """Let `context` have what the options ca, cert and key name.

    Raises `StoreError` naming those that cannot be read.
    """
    if "ca" in given:
        try:
            context.load_verify_locations(given["ca"])
        except OSError as error:
            raise _unreadable("The option ca", given["ca"], error) from error
    if "cert" in given:
        files = f"{given['cert']} and {given['key']}"
        try:
            context.load_cert_chain(given["cert"], given["key"])
        except OSError as error:
            raise _unreadable("The options cert and key", files, error) from error


def _unreadable(options: str, files: str, error: OSError) -> StoreError:
    is_none = isinstance(error, ssl.SSLError)
    why = "needed are PEM files that belong together" if is_none else reason(error)
    return StoreError(f"{options}, {files}, cannot be read: {why}.")
