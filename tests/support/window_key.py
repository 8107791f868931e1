"""What a page does to get in, in Python."""

import hashlib
import hmac
import json
from typing import Any, Final

from support.harness import Answer, Server

NONCE: Final = "0123456789abcdef"
JSON: Final = {"Content-Type": "application/json"}


def hello(box: Server, nonce: str = NONCE) -> dict[str, Any]:
    """What `/hello` answers."""
    answer = box.request("GET", f"/hello?nonce={nonce}", token=None)
    assert answer.status == 200
    told: dict[str, Any] = answer.json()
    return told


def home(box: Server) -> str:
    """The origin of pages that are opened in this run of the server."""
    return f"http://{hello(box)['run']}.localhost:{box.port}"


def new_code(box: Server) -> str:
    """The fragment of a one-time address."""
    address: str = box.request("POST", "/login").json()["url"]
    page, _, code = address.partition("/#code=")
    assert page == home(box)
    return code


def redeem(box: Server, code: Any) -> Answer:
    """The answer to a code."""
    return box.request("POST", "/redeem", json.dumps({"code": code}).encode(), JSON, None)


def window_secret(box: Server) -> str:
    """What a page has in its memory."""
    answer = redeem(box, new_code(box))
    assert answer.status == 200
    secret: str = answer.json()["secret"]
    return secret


def window_key(box: Server, secret: str) -> str:
    """What a page with that secret sends to a server."""
    text = f"signalbox run\n{hello(box)['run']}".encode()
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
