"""Examples for the API's document, put together from the examples of fields.

A field is shown with its own example, its only value, its default or its first choice. In a body, optional fields are
shown only when they have an example and are not deprecated: aliases would say the same thing twice.
"""

from collections.abc import Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_PLAIN: Final = {"string": "text", "boolean": True, "null": None}
_NULL: Final = {"type": "null"}


def example(schema: Schema, components: Mapping[str, Schema], *, sparse: bool = False) -> Any:
    """A value of this schema. `sparse` leaves out optional fields that have no example of their own."""
    return _Showing(components, sparse).value(schema, frozenset())


class _Showing:
    """`within` are the components that the value is a part of: an order shows its dispute, a dispute its order."""

    def __init__(self, components: Mapping[str, Schema], sparse: bool) -> None:
        self._components = components
        self._sparse = sparse

    def value(self, schema: Schema, within: frozenset[str]) -> Any:
        ref = schema.get("$ref")
        if ref is not None:
            schema, within = self._components[ref.rpartition("/")[2]], within | {ref}
        if schema.get("examples"):
            return schema["examples"][0]
        for fixed in ("const", "default"):
            if schema.get(fixed) not in (None, [], {}):
                return schema[fixed]
        if "enum" in schema:
            return schema["enum"][0]
        if "allOf" in schema and "properties" not in schema:
            parts = [self.value(part, within) for part in schema["allOf"]]
            return {name: value for part in parts for name, value in part.items()}
        if "anyOf" in schema:
            open_choices = [one for one in schema["anyOf"] if one != _NULL and one.get("$ref") not in within]
            return self.value(open_choices[0], within) if open_choices else None
        return self._of_type(schema, within)

    def _of_type(self, schema: Schema, within: frozenset[str]) -> Any:
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            kind = kind[0]
        if kind == "array":
            items = schema.get("items", {})
            return [] if items.get("$ref") in within else [self.value(items, within)]
        if kind == "object":
            return self._of_object(schema, within)
        if kind in ("integer", "number"):
            return schema.get("minimum", 1)
        if kind == "string" and schema.get("format") == "date-time":
            return "2026-11-22T10:15:30.123Z"
        return _PLAIN[kind]

    def _of_object(self, schema: Schema, within: frozenset[str]) -> dict[str, Any]:
        required = schema.get("required", ())
        shown: dict[str, Any] = {}
        for name, field in schema.get("properties", {}).items():
            silent = field.get("$ref") in within or (self._sparse and not _is_worth_showing(field))
            if name in required or not silent:
                shown[name] = self.value(field, within)
        return shown


def _is_worth_showing(field: Schema) -> bool:
    choices = [field, *field.get("anyOf", ())]
    deprecated = any(one.get("deprecated") for one in choices)
    return not deprecated and any(one.get("examples") for one in choices)
