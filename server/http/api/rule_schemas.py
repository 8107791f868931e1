"""The responses of the queries of rules as types, as `schemas` has all others."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from signalbox.server.http.api.schemas import Refusal, Shape

AnyObject = Annotated[dict[str, Any], Meta(extra_json_schema={"additionalProperties": True})]


class MatchingRule(Shape):
    """`record` is the rule's value; `problem` is there where this program cannot use it."""

    name: str
    record: AnyObject
    problem: str | UnsetType = UNSET


class JudgedValue(Shape):
    """Whether the actor may set this `value` now; the `refusal` is what a command would get."""

    value: Any
    allowed: bool
    refusal: Refusal | UnsetType = UNSET


class Description(Shape, kw_only=True):
    """`description` is a JSON Schema of plain keywords: what the schemas of all `rules` that match
    say together. `value` is left out where there is no such key.

    `values` are the one that was asked for, else the first 200 choices, else both booleans where
    the key is one, else the present one.
    """

    key: str
    revision: int
    value: Any = UNSET
    description: AnyObject
    rules: list[MatchingRule]
    values: list[JudgedValue]


class Violation(Shape):
    """A key whose value a rule does not take; `path` is a JSON Pointer into the value."""

    key: str
    rule: str
    path: str
    message: str


class Violations(Shape):
    """`total` counts every such key; `next` goes into `after`, null at the end.

    `compacted` as in a page.
    """

    revision: int
    total: int
    items: list[Violation]
    next: str | None
    compacted: list[str] | UnsetType = UNSET
