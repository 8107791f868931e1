"""The login address that a person opens in a browser."""

import sys
from urllib.parse import urlsplit


def address_lines(url: str) -> str:
    """A login address for people; on a Mac, whose Safari knows no names under localhost, two."""
    parts = urlsplit(url)
    by_number = parts._replace(netloc=f"127.0.0.1:{parts.port}").geturl()
    return f"{url}\nIn Safari: {by_number}" if sys.platform == "darwin" else url
