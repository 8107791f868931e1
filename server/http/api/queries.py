"""`GET /queries/…`: every query but streams and exports. Nothing here can write."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import bottle
import msgspec

from signalbox.server.http.api import schemas
from signalbox.server.http.api.parameters import Parameters, limit_of, parse_parameters
from signalbox.server.http.wire.request import Request
from signalbox.server.http.wire.responses import HEADERS, Response, json_answer, matches_etag
from signalbox.server.model import horizons
from signalbox.server.model.errors import Invalid, NotFound, quoted
from signalbox.server.model.keys import check_key, check_prefix
from signalbox.server.model.numbers import is_whole
from signalbox.server.model.times import iso
from signalbox.server.read.log_sql import Difference, Version
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.state_query import Filter, Item
from signalbox.server.read.state_view import StateView
from signalbox.server.read.tree import Child


def mount(app: bottle.Bottle, readmodel: ReadModel, status: Callable[[], dict[str, Any]]) -> None:
    """Add the routes of this module to `app`."""
    queries = _Queries(readmodel, status)
    app.get("/queries/tree", callback=queries.tree)
    app.get("/queries/history/<key:path>", callback=queries.history)
    app.get("/queries/diff", callback=queries.diff)
    app.get("/queries/attempts", callback=queries.attempts)
    app.get("/queries/attempts/<identity>", callback=queries.attempt)
    app.get("/queries/status", callback=queries.status)
    app.get("/queries/metrics", callback=queries.metrics)


def answer_key(readmodel: ReadModel, key: str, request: Request) -> Response:
    """Answer `/queries/state/{key}`: one item, with its revision as ETag."""
    params = parse_parameters(request.query, "/queries/state/{key}")
    check_key(key)
    item = readmodel.at(requested_revision(readmodel, params)).get(key)
    if item is None:
        raise NotFound(f"There is no key {quoted(key)}.", key=key)
    etag = f'"{item.revision}"'
    if matches_etag(request.headers.get("if-none-match", ""), etag):
        return Response(304, (("ETag", etag),))
    return json_answer(200, item_schema(item), ("ETag", etag))


def answer_page(readmodel: ReadModel, request: Request) -> Response:
    """Answer `/queries/state`: a page of items."""
    params = parse_parameters(request.query, "/queries/state")
    page = readmodel.at(requested_revision(readmodel, params)).json_page(
        Filter(params.get("match", "**"), params.get("type"), params.get("search")),
        params.get("sort", "key"),
        params.get("after"),
        limit_of(params),
    )
    items: Any = msgspec.Raw(f"[{page.items}]".encode())
    compacted = compacted_prefixes(params, page.compacted, page.revision)
    return json_answer(200, schemas.Page(page.revision, page.total, items, page.next, compacted))


class _Queries:
    """One method for each route."""

    def __init__(self, readmodel: ReadModel, status: Callable[[], dict[str, Any]]) -> None:
        self._readmodel = readmodel
        self._status = status

    def tree(self) -> bottle.HTTPResponse:
        """Answer `/queries/tree`: the next segments below a prefix."""
        params = request_parameters("/queries/tree")
        if prefix := params.get("prefix", ""):
            check_prefix(prefix)
        tree = self._view(params).tree(prefix, params.get("after"), limit_of(params))
        children = [_child(child) for child in tree.children]
        compacted = compacted_prefixes(params, tree.compacted, tree.revision)
        return bottle_json_response(
            schemas.Tree(tree.revision, tree.total, children, tree.next, compacted)
        )

    def history(self, key: str) -> bottle.HTTPResponse:
        """Answer `/queries/history/{key}`: the versions of a key."""
        params = request_parameters("/queries/history/{key}")
        check_key(key)
        history = self._readmodel.log.history(
            key, revision_parameter(params.get("before"), "before"), limit_of(params)
        )
        compacted = compacted_prefixes(params, history.compacted, 0)
        items = [_version(version) for version in history.items]
        return bottle_json_response(schemas.History(key, items, history.next, compacted))

    def diff(self) -> bottle.HTTPResponse:
        """Answer `/queries/diff`: what differs between two revisions."""
        params = request_parameters("/queries/diff")
        if "from" not in params:
            raise Invalid("The parameter from is missing; it is a revision or an ISO 8601 time.")
        since = self._readmodel.log.parse_revision(params["from"], "from")
        until = self._readmodel.revision
        if "to" in params:
            until = self._readmodel.log.parse_revision(params["to"], "to")
        diff = self._readmodel.log.diff(
            since, until, params.get("match", "**"), params.get("after"), limit_of(params)
        )
        compacted = compacted_prefixes(params, diff.compacted, min(since, until))
        items = [_difference(item) for item in diff.items]
        return bottle_json_response(
            schemas.Diff(since, until, diff.total, items, diff.next, compacted)
        )

    def attempts(self) -> bottle.HTTPResponse:
        """Answer `/queries/attempts`: the records of attempts, newest first."""
        params = request_parameters("/queries/attempts")
        records, position = self._readmodel.attempts(
            params.get("actor"),
            params.get("status"),
            _position(params.get("before")),
            limit_of(params),
        )
        following = "{}.{}".format(*position) if position else None
        items = [with_iso_time(record) for record in records]
        return bottle_json_response({"items": items, "next": following})

    def attempt(self, identity: str) -> bottle.HTTPResponse:
        """Answer `/queries/attempts/{id}`: the record of an attempt."""
        request_parameters("/queries/attempts/{id}")
        record = self._readmodel.attempt(identity)
        if record is None:
            raise NotFound(f"No attempt with the id {identity[:80]} is remembered.")
        return bottle_json_response(with_iso_time(record))

    def status(self) -> bottle.HTTPResponse:
        """Answer `/queries/status`."""
        request_parameters("/queries/status")
        return bottle_json_response(self._status())

    def _view(self, params: Parameters) -> StateView:
        """The state as of the moment that the parameter `at` names; without it the current one."""
        return self._readmodel.at(requested_revision(self._readmodel, params))

    def metrics(self) -> str:
        """Answer `/queries/metrics`: the status as text for Prometheus."""
        request_parameters("/queries/metrics")
        return metrics(self._status())


def request_parameters(route: str) -> Parameters:
    """The parameters of the current request of bottle."""
    return parse_parameters(bottle.request.query_string, route)


def requested_revision(readmodel: ReadModel, params: Parameters) -> int | None:
    """The revision of the parameter `at`; None where it is missing. Raises `Invalid`."""
    return readmodel.log.parse_revision(params["at"]) if "at" in params else None


def compacted_prefixes(
    params: Parameters, prefixes: Sequence[str], revision: int
) -> list[str] | msgspec.UnsetType:
    """The field `compacted` of a response. Raises `Compacted` for strict=1."""
    if prefixes and params.get("strict") == "1":
        raise horizons.compacted_error(prefixes, revision)
    return list(prefixes) or msgspec.UNSET


def item_schema(item: Item) -> schemas.Item:
    """An item as responses and streams have it."""
    value = msgspec.Raw(item.raw.encode())
    return schemas.Item(item.key, value, item.revision, iso(item.at), item.actor)


def with_iso_time(record: dict[str, Any]) -> dict[str, Any]:
    """The record of an attempt with its time in ISO 8601."""
    return record | {"at": iso(record["at"])}


def metrics(status: dict[str, Any]) -> str:
    """The numbers of `status` as Prometheus text (exposition format 0.0.4)."""
    bottle.response.headers.update(dict(HEADERS))
    bottle.response.content_type = "text/plain; version=0.0.4; charset=utf-8"
    numbers = status | status["rates"]
    lines = []
    listed = list(_METRICS)
    if log := status["log"]:
        listed += _METRICS_OF_LOG
        numbers |= {f"log_{name}": int(log[name]) for name in ("connected", "durable", "conflicts")}
    for name, kind, text in listed:
        lines += [f"# HELP signalbox_{name} {text}", f"# TYPE signalbox_{name} {kind}"]
        lines.append(f"signalbox_{name} {numbers[name]}")
    return "\n".join(lines) + "\n"


_METRICS: Final = (
    ("revision", "counter", "Transactions in the event log."),
    ("keys", "gauge", "Keys in the state, the app's own left out."),
    ("oldest_revision", "gauge", "The first revision from which on everything is kept."),
    ("bytes", "gauge", "Bytes of the store on disk."),
    ("free_bytes", "gauge", "Of these, what was removed and will be used again."),
    ("streams", "gauge", "Open streams."),
    ("connections", "gauge", "Open connections."),
    ("changes_per_second", "gauge", "Changes per second over the last seconds."),
)
_METRICS_OF_LOG: Final = (
    ("log_connected", "gauge", "1 while the shared log is followed and current, else 0."),
    ("log_durable", "gauge", "1 where accepted means that a disk or a quorum has it, else 0."),
    ("log_conflicts", "counter", "Appends to the shared log that came second."),
)


def encode_json(body: Any) -> bytes:
    """The JSON of a response to a query."""
    return msgspec.json.encode(body)


def bottle_json_response(body: Any, **headers: str) -> bottle.HTTPResponse:
    """`body` as a JSON response of bottle."""
    return bottle.HTTPResponse(
        encode_json(body),
        headers={"Content-Type": "application/json", **dict(HEADERS), **headers},
    )


_POSITION: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")


def _position(text: str | None) -> tuple[int, int] | None:
    """The parameter `before` of a list of attempts: a place in it. Raises `Invalid`."""
    if text is None:
        return None
    if (position := _POSITION.fullmatch(text)) is None:
        raise Invalid(f"The parameter before is {quoted(text)}; it is the next of an earlier page.")
    return int(position[1]), int(position[2])


def revision_parameter(text: str | None, name: str) -> int | None:
    """The revision in a parameter; None where it is missing. Raises `Invalid`."""
    if text is None:
        return None
    if not (is_whole(text) and len(text) <= 18):
        raise Invalid(
            f"The parameter {name} is {quoted(text)}; allowed is a revision, "
            "an integer from 0 with at most 18 digits."
        )
    return int(text)


def _version(one: Version) -> schemas.Version:
    """A version of a key, as `/queries/history` answers."""
    version = schemas.Version(
        revision=one.revision, at=iso(one.at), actor=one.actor, id=one.id, type=one.type
    )
    if one.raw is None:
        version.deleted = True
    else:
        version.value = msgspec.Raw(one.raw.encode())
    return version


def _difference(difference: Difference) -> schemas.Difference:
    """A key's values at two revisions, as `/queries/diff` answers."""
    return schemas.Difference(difference.key, _side(difference.before), _side(difference.after))


def _side(raw: str | None) -> Any:
    """One side of a difference; no field where the key did not exist."""
    return msgspec.UNSET if raw is None else msgspec.Raw(raw.encode())


def _child(child: Child) -> schemas.Child:
    """A next segment below a prefix, as `/queries/tree` answers."""
    key, prefix = child.key or msgspec.UNSET, child.prefix or msgspec.UNSET
    return schemas.Child(segment=child.segment, key=key, prefix=prefix, keys=child.keys)
