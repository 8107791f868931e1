"""What a client and this server exchange before it is let in, as types."""

from signalbox.server.http.api.schemas import Shape


class LoginAddress(Shape):
    url: str


class Proofs(Shape):
    """HMACs (SHA-256, hexadecimal) under the read token, the write token, the window's secret."""

    read: str
    write: str
    window: str


class Hello(Shape):
    """`directory` is the device and inode of the data directory; `run` is of this process."""

    store: str
    directory: str
    run: str
    proofs: Proofs


class Redemption(Shape, forbid_unknown_fields=True):
    """What a one-time address has in its fragment; `page` is the one that its tab had before."""

    code: str
    page: str = ""


class Goodbye(Shape, forbid_unknown_fields=True):
    """The id of a page that was closed."""

    page: str


class Farewell(Shape):
    """Nothing."""


class Admission(Shape):
    """The window's secret, and the page's inside as HTML.

    `again` is a code for when the page is loaded again, good for as long as the server runs.
    """

    secret: str
    again: str
    page: str
