"""Schemas that values must satisfy, compiled; what of a value does not, in our own words."""

import re
from decimal import Decimal
from functools import cache, cached_property
from types import ModuleType
from typing import Any, Final, NamedTuple

from msgspec import UNSET

from signalbox.server.model import values
from signalbox.server.model.errors import Invalid, TooLarge, quoted
from signalbox.server.model.schema_dialect import FORMATS, Cost, Path, check_dialect, json_pointer

MAX_PATTERN_BYTES: Final = 32 * 1024
"""What the engine may need for one compiled regular expression: larger ones are slow to match."""
MAX_WORK: Final = 10_000_000
"""What one check of a value may take, in nanoseconds of a fast machine, estimated from above."""
_PART: Final = 8
_BYTE: Final = 3
_DIGIT: Final = 30
_LONG_PAIR: Final = 500
"""Nanoseconds for each part, byte, digit of a long integer, and pair of such integers."""
MAX_EXPLAINED: Final = 5_000
MAX_COPIED: Final = 4_096
"""Where there are alternatives: schemas times parts, and bytes, of which the library is asked what
is wrong. It says so of each alternative and part, with a copy."""
DIGITS: Final = 18
"""An integer of so many digits has at most 64 bits."""
_LONG: Final = re.compile(rf"[0-9]{{{DIGITS + 1},}}")
_INT64: Final = 2**63
_COLOR: Final = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{8})")
_NOT_ASSERTED: Final = (
    "idn-email idn-hostname iri iri-reference uri-template relative-json-pointer"
).split()
_TYPE_NAMES: Final = {
    "null": "null",
    "boolean": "true or false",
    "number": "a number",
    "integer": "an integer",
    "string": "a text",
    "array": "a list",
    "object": "an object",
}
_LIMITS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "pattern": "a text that matches {}",
}
_SIZES: Final = {
    "minLength": ("at least", "character"),
    "maxLength": ("at most", "character"),
    "minItems": ("at least", "item"),
    "maxItems": ("at most", "item"),
    "minProperties": ("at least", "member"),
    "maxProperties": ("at most", "member"),
}
_OTHERS: Final = {
    "uniqueItems": "have no two equal items",
    "contains": "have other items",
    "propertyNames": "have other names",
    "not": "be something else",
    "anyOf": "satisfy one of several schemas",
    "oneOf": "satisfy exactly one of several schemas",
    "falseSchema": "not be there",
    "dependentRequired": "have more members",
}


@cache
def _library() -> ModuleType:
    """The library that validates; it takes a while to load, and most stores have no rule."""
    import jsonschema_rs  # noqa: PLC0415

    return jsonschema_rs


class Problem(NamedTuple):
    """The `path` (a JSON Pointer) into a value, what is `given` there, and what it must do instead:
    the end of a sentence, such as `be at most 1`.
    """

    path: str
    given: str
    demand: str


class ValueSchema:
    """One compiled schema. `source` is its JSON value, as the rule has it."""

    def __init__(self, source: Any, where: Path = ()) -> None:
        """Compile a schema, which is at the path `where` of a rule.

        Raises `Invalid`, which names the path, where it is none of the dialect.
        """
        self.source = source
        self._cost = check_dialect(source, where)
        library = _library()
        # As text: the library takes numbers of a text as they are written.
        text = values.encode(source)
        try:
            self._validator = library.Draft202012Validator(
                text,
                formats=_OWN_FORMATS,
                validate_formats=True,
                pattern_options=library.RegexOptions(
                    size_limit=MAX_PATTERN_BYTES, dfa_size_limit=MAX_PATTERN_BYTES
                ),
                offline=True,
            )
        except library.ValidationError as error:
            raise _refused(source, (*error.instance_path,), where) from error
        except (ValueError, library.ReferencingError) as error:
            raise Invalid(
                f"{json_pointer(where)} is no schema that can be used.", path=json_pointer(where)
            ) from error

    def is_satisfied(self, value: "CheckedValue | str") -> bool:
        """Whether a value, given as JSON text as well, satisfies the schema. Raises `TooLarge`."""
        value = CheckedValue(value) if isinstance(value, str) else value
        value.charge(self._cost)
        return bool(self._validator.is_valid(value.decoded))

    def problem(self, value: "CheckedValue | str") -> Problem | None:
        """What of a value does not satisfy the schema, None where it does. Raises `TooLarge`."""
        value = CheckedValue(value) if isinstance(value, str) else value
        if self.is_satisfied(value):  # twenty times as fast as to ask what is wrong
            return None
        whole = Problem("", quoted(value.given), self.demand("be as the rule says"))
        if self._cost.alternatives and (
            len(value.raw) > MAX_COPIED or self._cost.schemas * value.parts > MAX_EXPLAINED
        ):
            return whole  # the library would say of each alternative what is wrong with each part
        try:
            self._validator.validate(value.decoded)
        except _library().ValidationError as error:
            path: Path = (*error.instance_path,)
            return Problem(json_pointer(path), quoted(_at(value.given, path)), _demand(error.kind))
        except ValueError:  # the library has no sentence for a number of thousands of digits
            return whole
        return whole

    def demand(self, otherwise: str = "exist") -> str:
        """What the schema asks, as the end of a sentence: `be true`; else `otherwise`."""
        keywords = self.source if isinstance(self.source, dict) else {}
        said = [
            phrase
            for name, value in keywords.items()
            if (phrase := _phrase(name, value) or _OTHERS.get(name)) is not None
        ]
        return " and ".join(said[:3]) or otherwise


class CheckedValue:
    """A value that is held by several schemas: decoded once, and its work added up.

    `given` is the value as decoded JSON, `decoded` as the library takes it.
    """

    def __init__(self, raw: str) -> None:
        """`raw` is the value as JSON text."""
        self.raw = raw
        self._work = 0
        self._given: Any = UNSET
        self._decoded: Any = UNSET

    @cached_property
    def parts(self) -> int:
        """How many values it has in it, at most."""
        return 1 + self.raw.count(",") + self.raw.count("[") + self.raw.count("{")

    @cached_property
    def _long(self) -> list[str]:
        """Its runs of more digits than an integer of 64 bits may have."""
        return _LONG.findall(self.raw) if len(self.raw) > DIGITS else []

    @property
    def given(self) -> Any:
        if self._given is UNSET:
            self._given = values.decode(self.raw.encode())
        return self._given

    @property
    def decoded(self) -> Any:
        if self._decoded is UNSET:
            self._decoded = _exact(self.given) if self._long else self.given
        return self._decoded

    def charge(self, cost: Cost) -> None:
        """Add what a schema costs. Raises `TooLarge` where it is too much to check at once."""
        raw = self.raw
        most = len(raw) * (_PART * cost.schemas + _BYTE * cost.patterns)
        if self._work + most <= MAX_WORK and not self._long:
            self._work += most
            return
        size = values.size(raw)
        self._work += _PART * self.parts * cost.schemas + _BYTE * size * cost.patterns
        if self._long:
            digits, numbers = sum(map(len, self._long)), len(self._long)
            self._work += _DIGIT * digits * cost.schemas + _LONG_PAIR * numbers**2 * cost.unique
        if self._work > MAX_WORK:
            raise TooLarge(
                f"A value of {size} bytes and {self.parts} parts is too much to check by all "
                "schemas and patterns that it must satisfy: make either smaller."
            )


def _refused(source: Any, path: Path, where: Path) -> Invalid:
    """The refusal of a keyword whose value the draft does not allow."""
    given = _at(source, path)
    pointer = json_pointer((*where, *path))
    if path and path[-1] in ("pattern", "patternProperties"):
        why = "no regular expression in linear time (no look-around, no back-references, not large)"
    elif path:
        why = "not what JSON Schema draft 2020-12 allows there"
    else:
        why = "no schema of JSON Schema draft 2020-12"
    return Invalid(f"{pointer} is {quoted(given)}, which is {why}.", path=pointer)


def _at(value: Any, path: Path) -> Any:
    """What a JSON value has at a path."""
    for part in path:
        value = value[part]
    return value


def _exact(value: Any) -> Any:
    """A decoded value with decimals for the integers that the library would not compare exactly."""
    if isinstance(value, dict):
        return {name: _exact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_exact(inner) for inner in value]
    is_long = isinstance(value, int) and not -_INT64 <= value < _INT64
    return values.as_decimal(value) if is_long or not isinstance(value, _PLAIN) else value


_PLAIN: Final = (str, int, float, type(None))


def _demand(kind: Any) -> str:
    """What the failed keyword asks, as the end of a sentence."""
    name, value = kind.name, kind.value
    if name in ("additionalProperties", "unevaluatedProperties"):
        return f"not have {quoted(value[0] if isinstance(value, list) else value)}"
    if name == "required":
        return f"have {quoted(value)}"
    if name == "unevaluatedItems":
        return "have fewer items"
    if (phrase := _phrase(name, value)) is not None:
        return phrase
    return _OTHERS.get(name, "be as the rule says")


def _phrase(name: str, value: Any) -> str | None:
    """What a keyword with a simple value asks, as the end of a sentence; None for any other."""
    phrase = None
    if name == "type":
        types = value if isinstance(value, list) else [value]
        phrase = "be " + " or ".join(_TYPE_NAMES.get(one, str(one)) for one in types)
    elif name == "const":
        phrase = f"be {quoted(value)}"
    elif name == "enum":
        phrase = f"be one of {quoted(value)[1:-1]}" if value[1:] else "be " + _only(value)
    elif name in _LIMITS:
        phrase = "be " + _LIMITS[name].format(quoted(_plain_number(value)))
    elif name in _SIZES:
        bound, unit = _SIZES[name]
        phrase = f"have {bound} {value} {unit}{'' if value == 1 else 's'}"
    elif name == "format" and value in FORMATS:
        phrase = f"have the form of a {value}"
    return phrase


def _only(values: list[Any]) -> str:
    """The one value of a list, or that there is none."""
    return quoted(values[0]) if values else "nothing: no value is allowed"


def _plain_number(value: Any) -> Any:
    """A number as JSON writes it, whatever the library has made of it."""
    if isinstance(value, Decimal):
        is_whole = value == value.to_integral_value()
        return values.integer(format(value, "f")) if is_whole else float(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_color(text: str) -> bool:
    """Whether a text is a colour as HTML writes it: #rgb, #rrggbb or #rrggbbaa."""
    return _COLOR.fullmatch(text) is not None


_OWN_FORMATS: Final = {"color": _is_color} | dict.fromkeys(_NOT_ASSERTED, lambda _: True)
