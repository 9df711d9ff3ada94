"""From bytes to the declared body and query types, with every fault named (contract 1.10).

msgspec stops at the first fault. The whole is therefore converted at once when it is valid, the usual case; only
when it is not, its properties are converted one by one so that all faults are told together.
"""

import functools
import math
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from offerhub.errors import ValidationFailed
from offerhub.runtime.routes import Body

B = TypeVar("B", bound=Body)

JSON_DEPTH_MAX: Final = 32
INTEGER_MAX: Final = 2**53
"""Beyond it a double names no integer for sure."""
QUERY_FIELDS_MAX: Final = 64
FAULTS_MAX: Final = 50
PLACE_CHARACTERS_MAX: Final = 100

_PLACE = re.compile(r"(?P<message>.*?)(?: - at `\$(?P<place>.*)`)?", re.DOTALL)
_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", re.IGNORECASE)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`")

Fault = tuple[str, str]
"""The place of a fault, such as `milestones[1].amount`, and what is wrong there."""


def refuse(faults: list[Fault]) -> ValidationFailed:
    """One refusal for all faults, in both spellings of the contract."""
    told = [(place[:PLACE_CHARACTERS_MAX], message) for place, message in faults[:FAULTS_MAX]]
    sentences = [f"{place} {message}".strip() for place, message in told]
    return ValidationFailed(
        "The request is not valid: " + "; ".join(sentences),
        validationErrors=sentences,
        fields=[{"field": place, "message": message} for place, message in told],
    )


def parse_json(raw: bytes) -> Any:
    """Any JSON value; an empty body is `{}`. Raises ValidationFailed for what is not JSON that we can keep."""
    if not raw:
        return {}
    try:
        value = _json.decode(raw)
    except RecursionError:
        raise refuse([("", f"The body is nested deeper than {JSON_DEPTH_MAX} levels.")]) from None
    except UnicodeDecodeError:
        raise refuse([("", "The body is not valid UTF-8.")]) from None
    except msgspec.MsgspecError as error:
        raise refuse([("", f"The body is not valid JSON: {error}.")]) from None
    # Few bodies need the walk: it is skipped where the bytes prove that neither fault is possible.
    if b"\\u0000" in raw or raw.count(b"[") + raw.count(b"{") > JSON_DEPTH_MAX:
        _inspect(value)
    return value


def _number(text: str) -> int | float:
    """`60.0` is the integer 60, as JSON Schema has it, while a double holds it exactly."""
    number = float(text)
    if math.isinf(number):
        raise msgspec.DecodeError("number out of range")
    return int(number) if number.is_integer() and abs(number) <= INTEGER_MAX else number


_json: Final = msgspec.json.Decoder(float_hook=_number)


def _inspect(value: Any) -> None:
    level = [value]
    for _ in range(JSON_DEPTH_MAX + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str) and "\0" in item:
                raise refuse([("", "The body holds a NUL character.")])
            if isinstance(item, dict):
                below.extend(item.keys())
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return
        level = below
    raise refuse([("", f"The body is nested deeper than {JSON_DEPTH_MAX} levels.")])


def to_body(value: Any, wanted: type[B]) -> B:
    """A parsed JSON value as the declared type. Raises ValidationFailed with every fault."""
    return _convert(value, wanted, strict=True)


def to_query(query_string: bytes, wanted: type[B]) -> B:
    """The query string as the declared type: text becomes numbers, repeated names become lists.

    An empty value counts as absent. Raises ValidationFailed with every fault.
    """
    try:
        pairs = parse_qsl(query_string.decode("ascii"), max_num_fields=QUERY_FIELDS_MAX, errors="strict")
    except ValueError:
        raise refuse([("", "The query string is not valid.")]) from None
    if any("\0" in text for pair in pairs for text in pair):
        raise refuse([("", "The query string holds a NUL character.")])
    lists, moments = _names(wanted, msgspec.inspect.ListType), _names(wanted, msgspec.inspect.DateTimeType)
    values: dict[str, Any] = {}
    for name, text in pairs:
        if name in lists:
            values.setdefault(name, []).append(text)
        else:
            values[name] = text
    # msgspec would take a number for seconds since 1970.
    numbers = [name for name in values if name in moments and _NUMBER.fullmatch(values[name])]
    if numbers:
        raise refuse([(name, "must be a moment such as 2026-11-22T10:15:30Z") for name in numbers])
    found = _convert(values, wanted, strict=False)
    # msgspec takes the text `null` for null, where a filter would be dropped in silence.
    sent = [field for field in msgspec.structs.fields(wanted) if field.encode_name in values]
    nulls = [field.encode_name for field in sent if getattr(found, field.name) is None]
    if nulls:
        raise refuse([(name, "must not be null") for name in nulls])
    return found


@functools.cache
def _names(wanted: type[Body], kind: type[msgspec.inspect.Type]) -> frozenset[str]:
    """The fields that may be of this kind."""
    fields = msgspec.structs.fields(wanted)
    return frozenset(field.encode_name for field in fields if _may_be(msgspec.inspect.type_info(field.type), kind))


def _may_be(described: msgspec.inspect.Type, kind: type[msgspec.inspect.Type]) -> bool:
    if isinstance(described, msgspec.inspect.Metadata):
        return _may_be(described.type, kind)
    if isinstance(described, msgspec.inspect.UnionType):
        return any(_may_be(member, kind) for member in described.types)
    return isinstance(described, kind)


def _convert(value: Any, wanted: type[B], *, strict: bool) -> B:
    try:
        return msgspec.convert(value, wanted, strict=strict)
    except msgspec.ValidationError as error:
        first = _fault(str(error))
    faults = _faults(value, wanted, strict=strict) if isinstance(value, dict) else []
    raise refuse(faults or [first])


def _faults(value: Mapping[str, Any], wanted: type[Body], *, strict: bool) -> list[Fault]:
    faults: list[Fault] = []
    fields = {field.encode_name: field for field in msgspec.structs.fields(wanted)}
    for name, field in fields.items():
        if name not in value:
            if field.required:
                faults.append((name, "is required"))
            continue
        try:
            msgspec.convert(value[name], field.type, strict=strict)
        except msgspec.ValidationError as error:
            faults.append(_fault(str(error), name))
    missing = (names[0] for names in wanted.one_of if all(value.get(name) is None for name in names))
    faults.extend((name, "is required") for name in missing)
    faults.extend((str(name), "is not a known property") for name in value if name not in fields)
    return faults


def _fault(text: str, within: str = "") -> Fault:
    found = _PLACE.fullmatch(text)
    assert found is not None
    place = (within + (found["place"] or "")).removeprefix(".")
    message = found["message"]
    for pattern, instead in ((_MISSING, "is required"), (_UNKNOWN, "is not a known property")):
        named = pattern.fullmatch(message)
        if named:
            return f"{place}.{named['name']}".removeprefix("."), instead
    return place, message[:1].lower() + message[1:] if place else message
