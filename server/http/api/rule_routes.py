"""`GET /queries/describe/{key}` and `GET /queries/violations`: what the rules say."""

from typing import Any, Final

import bottle
import msgspec
from msgspec import UNSET

from signalbox.server.http.api import rule_schemas, schemas
from signalbox.server.http.api.parameters import limit_of
from signalbox.server.http.api.queries import (
    bottle_json_response,
    request_parameters,
    requested_revision,
)
from signalbox.server.model import descriptions, values
from signalbox.server.model.commands import check_actor, checked_set
from signalbox.server.model.decide import checked_and_encoded
from signalbox.server.model.errors import Invalid, Malformed, SignalboxError
from signalbox.server.model.events import Entry
from signalbox.server.model.keys import check_key
from signalbox.server.model.rule_check import check_rules
from signalbox.server.model.rule_records import Rule
from signalbox.server.read.read_model import ReadModel
from signalbox.server.read.rule_queries import RulesAround
from signalbox.server.runtime.scheduling import Pauses

DEFAULT_ACTOR: Final = "script"
MAX_CHOICES: Final = 200
"""Choices of a key that are judged; one that has more has no use for all."""

VIOLATING_KEYS: Final = 100
"""Keys that would break a rule, in the answer to a dry run."""


def mount(app: bottle.Bottle, readmodel: ReadModel) -> None:
    """Add the routes of this module to `app`."""
    app.get("/queries/describe/<key:path>", callback=lambda key: _describe(readmodel, key))
    app.get("/queries/violations", callback=lambda: _violations(readmodel))


def _describe(readmodel: ReadModel, key: str) -> bottle.HTTPResponse:
    """Answer `/queries/describe/{key}`: what the rules say of a key, and of values for it."""
    params = request_parameters("/queries/describe/{key}")
    check_key(key)
    check_actor(actor := params.get("actor", DEFAULT_ACTOR))
    around = readmodel.rules.about(key, requested_revision(readmodel, params))
    matching, pauses = around.of_key.matching, Pauses()
    description = descriptions.describe(key, matching, pauses.pause)
    entry, judged = around.get(key), list[rule_schemas.JudgedValue]()
    for value in _values_to_judge(params.get("value"), description, entry):
        judged.append(_judged(around, key, value, actor))
        pauses.pause()
    return bottle_json_response(
        rule_schemas.Description(
            key=key,
            revision=around.revision,
            value=msgspec.Raw(entry.raw.encode()) if entry else UNSET,
            description=description,
            rules=[_rule(rule) for rule in matching],
            values=judged,
        )
    )


def _violations(readmodel: ReadModel) -> bottle.HTTPResponse:
    """Answer `/queries/violations`: the keys whose values break the schema of a rule."""
    params = request_parameters("/queries/violations")
    found = readmodel.rules.violations(
        requested_revision(readmodel, params),
        params.get("match", "**"),
        params.get("rule"),
        params.get("after", ""),
        limit_of(params),
    )
    items = [rule_schemas.Violation(*item) for item in found.items]
    compacted = list(found.compacted) or UNSET
    return bottle_json_response(
        rule_schemas.Violations(found.revision, found.total, items, found.next, compacted)
    )


def violations_of(readmodel: ReadModel, name: str, raw: str) -> schemas.BrokenBy:
    """The keys that would break a rule with this name and JSON text, if it were set now."""
    found = readmodel.rules.violations_of(name, raw, VIOLATING_KEYS)
    return schemas.BrokenBy(found.revision, found.total, [item.key for item in found.items])


def _values_to_judge(given: str | None, description: Any, entry: Entry | None) -> list[Any]:
    """The given value, else every choice of the key, else its present value. Raises `Invalid`."""
    if given is not None:
        return [_parameter_value(given)]
    if (choices := descriptions.choices(description)) is not None:
        return choices[:MAX_CHOICES]
    return [values.decode(entry.raw.encode())] if entry else []


def _parameter_value(text: str) -> Any:
    """The JSON value in the parameter `value`. Raises `Invalid`."""
    try:
        return values.decode(text.encode(), "The parameter value")
    except Malformed as error:
        raise Invalid(error.message, field="value") from error


def _judged(around: RulesAround, key: str, value: Any, actor: str) -> rule_schemas.JudgedValue:
    """Whether an actor may give a key this value, as if that were not its value yet."""
    try:
        command = checked_set(key, value)
        check_rules(around, {key: checked_and_encoded(command.key, command.value)}, actor)
    except SignalboxError as error:
        return rule_schemas.JudgedValue(
            value, False, msgspec.convert(error.fields(), schemas.Refusal)
        )
    return rule_schemas.JudgedValue(value, True)


def _rule(rule: Rule) -> rule_schemas.MatchingRule:
    """A rule about a key, as answers have it."""
    return rule_schemas.MatchingRule(rule.name, dict(rule.record), rule.fault or UNSET)
