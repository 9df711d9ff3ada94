"""Kinds of values that OpenTelemetry's standard variables have."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from offerhub.settings.variable import Kind, Secret

_RULE: Final = "name=value between commas, values percent-encoded"


def _pairs(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for entry in text.split(","):
        if not entry.strip():
            continue
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or re.fullmatch(r"[!-+\--~]{1,255}", name, re.ASCII) is None:
            raise ValueError(_RULE)
        found[unquote(name)] = unquote(value)
    return found


def _headers(text: str) -> Secret[Mapping[str, str]]:
    found = _pairs(text)
    for name, value in found.items():
        if re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name, re.ASCII) is None or not value.isprintable():
            raise ValueError(f"{_RULE}, names and values as headers of HTTP may have them")
    return Secret(found)


def _ratio(text: str) -> float:
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,9})?", text, re.ASCII) is None or float(text) > 1:
        raise ValueError("a number from 0 to 1")
    return float(text)


ATTRIBUTES: Final[Kind[Mapping[str, str]]] = Kind("`name=value`, between commas", _pairs)
HEADERS: Final[Kind[Secret[Mapping[str, str]]]] = Kind("`name=value`, between commas", _headers)
RATIO: Final[Kind[float]] = Kind("number, 0 to 1", _ratio)
