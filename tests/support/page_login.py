"""How a page logs in, in Python: one-time code, secret, and the key that it sends."""

import hashlib
import hmac
import json
from typing import Any, Final

from support.harness import Answer, Server

NONCE: Final = "0123456789abcdef"
JSON: Final = {"Content-Type": "application/json"}


def query_hello(box: Server, nonce: str = NONCE) -> dict[str, Any]:
    """What `/hello` answers."""
    answer = box.request("GET", f"/hello?nonce={nonce}", token=None)
    assert answer.status == 200
    told: dict[str, Any] = answer.json()
    return told


def page_origin(box: Server) -> str:
    """The origin of pages that are opened in this run of the server."""
    return f"http://{query_hello(box)['run']}.localhost:{box.port}"


def new_login_code(box: Server) -> str:
    """The fragment of a one-time address."""
    address: str = box.request("POST", "/login").json()["url"]
    page, _, code = address.partition("/#code=")
    assert page == page_origin(box)
    return code


def redeem_code(box: Server, code: Any) -> Answer:
    """The answer to a code."""
    return box.request("POST", "/redeem", json.dumps({"code": code}).encode(), JSON, None)


def window_secret(box: Server) -> str:
    """What a page has in its memory."""
    answer = redeem_code(box, new_login_code(box))
    assert answer.status == 200
    secret: str = answer.json()["secret"]
    return secret


def window_key(box: Server, secret: str) -> str:
    """What a page with that secret sends to a server."""
    text = f"signalbox run\n{query_hello(box)['run']}".encode()
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
