"""The certificate files that an encrypted engine's address names: its authority's and our own."""

import ssl
from collections.abc import Mapping

from signalbox.server.model.errors import StoreError
from signalbox.server.runtime.error_messages import reason


def load_certificates(context: ssl.SSLContext, options: Mapping[str, str]) -> None:
    """Load the files that the address's options ca, cert and key name into `context`.

    Raises `StoreError` naming those that cannot be read.
    """
    if "ca" in options:
        try:
            context.load_verify_locations(options["ca"])
        except OSError as error:
            raise _unreadable("The option ca", options["ca"], error) from error
    if "cert" in options:
        files = f"{options['cert']} and {options['key']}"
        try:
            context.load_cert_chain(options["cert"], options["key"])
        except OSError as error:
            raise _unreadable("The options cert and key", files, error) from error


def _unreadable(names: str, files: str, error: OSError) -> StoreError:
    """The error where certificate files cannot be read, or are not in PEM form."""
    is_no_pem = isinstance(error, ssl.SSLError)
    why = "needed are PEM files that belong together" if is_no_pem else reason(error)
    return StoreError(f"{names}, {files}, cannot be read: {why}.")
