"""The routes of the window: the empty page, its files, login, page content, and its stream."""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl

import bottle
import gevent
import msgspec

from signalbox import ui
from signalbox.server.feed import Feed
from signalbox.server.http.api.login_schemas import Admission, Goodbye, Hello, Redemption
from signalbox.server.http.api.queries import bottle_json_response, request_parameters
from signalbox.server.http.api.streams import Streams
from signalbox.server.http.window.window_ids import WindowIds
from signalbox.server.http.wire.guard import Guard
from signalbox.server.http.wire.request import Request, request_of
from signalbox.server.http.wire.request_body import BodyMemory, BodyReservation, read_body
from signalbox.server.http.wire.responses import (
    HEADERS,
    Response,
    StartResponse,
    json_answer,
    matches_etag,
)
from signalbox.server.model import values
from signalbox.server.model.errors import Invalid, NotFound, SignalboxError
from signalbox.server.read.read_model import ReadModel
from signalbox.server.runtime.scheduling import FairLock
from signalbox.server.runtime.threads import in_native_thread
from signalbox.server.runtime.trusted_clock import Clock

if TYPE_CHECKING:
    from signalbox.server.http.window.page_content import PageContent

STATIC: Final = Path(ui.__file__).parent / "static"
POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Datastar evaluates its attributes' expressions, hence 'unsafe-eval'; nothing inline runs."""

MAX_PUBLIC_BODY: Final = 4 * 1024
"""Bytes of a body that anybody may send, without a token."""

_BODIES: Final[dict[type, str]] = {
    Redemption: '{"code": …}, a text from a one-time address',
    Goodbye: '{"page": …}, the text that the page was given',
}

Body = TypeVar("Body", Redemption, Goodbye)


class WindowRoutes:
    """The routes; `mount` adds them to a bottle application."""

    def __init__(
        self,
        guard: Guard,
        readmodel: ReadModel,
        feed: Feed,
        streams: Streams,
        engine: Callable[[], dict[str, Any]],
        data_dir: Path,
        clock: Clock,
        window_ids: WindowIds,
    ) -> None:
        """The routes of the window's page; `engine` reports the engine's status."""
        self._guard = guard
        self._readmodel = readmodel
        self._feed = feed
        self._streams = streams
        self._engine = engine
        self._data_dir = data_dir
        self._clock = clock
        self._window_ids = window_ids
        self._loaded: PageContent | None = None
        self._loading = FairLock()
        self._preparation: gevent.Greenlet[[], None] | None = None
        self._files = {file.name for file in STATIC.iterdir()}

    def mount(self, app: bottle.Bottle) -> None:
        """Add the routes of the window to `app`, all but that of `page`."""
        app.get("/", callback=self.index)
        app.get("/static/<name>", callback=self.static)
        app.get("/hello", callback=self.hello)
        app.post("/redeem", callback=self.redeem)
        app.post("/goodbye", callback=self.goodbye)

    def login(self, _request: Request, _role: str) -> Response:
        """Answer `/login`: a one-time address. What renders the page is loaded until it is used."""
        if self._preparation is None:
            self._preparation = gevent.spawn(self._prepare)
        return json_answer(200, {"url": self._guard.login_address()})

    def index(self) -> bottle.HTTPResponse:
        """Answer `/`: the empty page, which asks for its content with a code."""
        request = bottle.request
        if request.environ["HTTP_HOST"].lower().startswith("localhost:"):
            # That name may resolve to ::1, where another program may listen.
            port = request.environ["HTTP_HOST"].partition(":")[2]
            headers = {"Location": f"http://127.0.0.1:{port}/", **dict(HEADERS)}
            return bottle.HTTPResponse(status=307, headers=headers)
        return _text_response(self._content.empty_page(), "text/html; charset=utf-8")

    def hello(self) -> bottle.HTTPResponse:
        """Prove to a page that this server knows the window's secret, before it sends that."""
        return bottle_json_response(
            msgspec.convert(
                self._guard.prove_identity(request_parameters("/hello").get("nonce", "")), Hello
            )
        )

    def redeem(self) -> bottle.HTTPResponse:
        """Exchange a code for the window's secret, and the content of the page with it."""
        redemption, page, node = _parse_body(Redemption), token_hex(16), self._node()
        secret, again = self._guard.redeem(redemption.code)
        window = self._window_ids.assign(node, page, redemption.page)
        content = self._content.content(node, window, page)
        return bottle_json_response(Admission(secret=secret, again=again, page=content))

    def goodbye(self) -> bottle.HTTPResponse:
        """A page was closed. It has no time to authenticate, so what it sends is no secret."""
        self._window_ids.on_page_closed(_parse_body(Goodbye).page)
        return bottle_json_response({})

    @property
    def _content(self) -> "PageContent":
        """What windows show, which is loaded with the first of them: scripts alone need none.

        In a native thread, since it takes a tenth of a second.
        """
        with self._loading:
            if self._loaded is None:
                self._loaded = in_native_thread(_page_content)(
                    self._readmodel, self._feed, self._engine, self._data_dir, self._clock
                )
        return self._loaded

    def _prepare(self) -> None:
        """Load what windows show before the first one asks for it."""
        self._content.prepare()

    def _node(self) -> str:
        """This node's name in the ids of its windows; empty where the store is not shared."""
        return str((self._engine()["log"] or {}).get("node", ""))

    def static(self, name: str) -> bottle.HTTPResponse:
        """Answer `/static/<name>`: a script, style sheet or image of the page."""
        environ = bottle.request.environ
        if name not in self._files:
            raise NotFound(f"There is no file {name[:80]}.")
        # Of the content: the file of a later version may have an older date.
        etag = f'"{blake2b((STATIC / name).read_bytes(), digest_size=8).hexdigest()}"'
        environ.pop("HTTP_IF_MODIFIED_SINCE", None)
        environ.pop("HTTP_RANGE", None)  # they are small: a request for a part gets the whole
        if matches_etag(environ.get("HTTP_IF_NONE_MATCH", ""), etag):
            response = bottle.HTTPResponse(status=304, ETag=etag)
        else:
            response = bottle.static_file(name, root=str(STATIC), etag=etag)
        response.headers.update({**dict(HEADERS), "Cache-Control": "no-cache"})
        return response

    def page(self, request: Request, start_response: StartResponse) -> Iterable[bytes]:
        """Answer `/queries/page`: the stream of patches of one page.

        Without bottle, which keeps the first patches, with all rows, until the stream ends.
        """
        signals = _parse_signals(request.query)
        frames = self._content.frames(request, signals)
        self._window_ids.on_stream_opened(str(signals.get("actor")), str(signals.get("page")))
        start_response("200 OK", [*HEADERS, ("Content-Type", "text/event-stream; charset=utf-8")])
        return self._streams.count_open(frames)


def _page_content() -> "type[PageContent]":
    """Import what renders pages."""
    from signalbox.server.http.window.page_content import PageContent  # noqa: PLC0415 - see there

    return PageContent


def _parse_body(wanted: type[Body]) -> Body:
    """A small JSON body that a page sends. Raises `Invalid` or `TooLarge`."""
    reservation = BodyReservation(BodyMemory(), MAX_PUBLIC_BODY)
    body = values.decode(read_body(request_of(bottle.request.environ), reservation))
    try:
        return msgspec.convert(body, wanted)
    except msgspec.ValidationError as error:
        raise Invalid(f"The body has to be {_BODIES[wanted]}.") from error


def _parse_signals(query: str) -> dict[str, Any]:
    """The page's signals in the parameter `datastar` of a URL's query. Raises `Invalid`."""
    parameters = dict(parse_qsl(query, encoding="latin-1"))  # the bytes as characters
    try:
        text = parameters.get("datastar", "{}").encode("latin-1")
        signals = values.decode(text, "The parameter datastar")
    except SignalboxError as error:
        raise Invalid(error.message) from error
    if not isinstance(signals, dict):
        raise Invalid("The parameter datastar is not a JSON object.")
    return signals


def _text_response(text: str, media_type: str) -> bottle.HTTPResponse:
    """A page or file of the window, with the policy that keeps foreign scripts out."""
    headers = {"Content-Type": media_type, "Content-Security-Policy": POLICY, **dict(HEADERS)}
    return bottle.HTTPResponse(text.encode(), headers=headers)
