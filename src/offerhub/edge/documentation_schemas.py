"""Tables of parameters and properties for the page /docs: what is sent and answered, and what it means."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from offerhub.edge.documentation_html import Html, Part, element, joined, markdown_line

Schema = Mapping[str, Any]
Row = Sequence[Part]


def table(head: Sequence[str], rows: Iterable[Row]) -> Html:
    """A table; the first cell of each row is its heading. It scrolls by itself on a narrow screen."""
    top = element("thead", element("tr", *(element("th", cell, scope="col") for cell in head)))
    below = element(
        "tbody",
        *(
            element("tr", element("th", first, scope="row"), *(element("td", cell) for cell in rest))
            for first, *rest in rows
        ),
    )
    return element("div", element("table", top, below), class_="wide", tabindex="0")


def component_anchor(name: str) -> str:
    """Where an object is described."""
    return f"object-{name}"


def property_rows(schema: Schema) -> list[Row]:
    """The properties of an object: name, type, meaning."""
    groups = [[choice["required"][0] for choice in group["anyOf"]] for group in schema.get("allOf", ())]
    required = {*schema.get("required", ()), *(names[0] for names in groups)}
    return [
        (element("code", name), _kind(field), _meaning(field, "" if name in required else "optional"))
        for name, field in schema.get("properties", {}).items()
    ]


def parameter_rows(parameters: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Parameters: name, type, meaning and where they are."""
    return [
        (
            element("code", one["name"]),
            _kind(one["schema"]),
            _meaning({**one["schema"], "description": one.get("description", "")}, _place(one)),
        )
        for one in parameters
    ]


def _place(parameter: Mapping[str, Any]) -> str:
    place = {"path": "in the path", "query": "in the query", "header": "a header"}[parameter["in"]]
    return place if parameter.get("required") else f"{place}, optional"


def _kind(schema: Schema) -> Html:
    """What a value is: `string or null`, `array of Milestone`, with links to objects."""
    ref = schema.get("$ref")
    if ref is not None:
        name = ref.rpartition("/")[2]
        return element("a", name, href="#" + component_anchor(name))
    choices = schema.get("anyOf")
    if choices:
        parts = [_kind(choice) for choice in choices]
        return joined(parts[0], *(part for one in parts[1:] for part in (" or ", one)))
    if schema.get("type") == "array":
        return joined("array of ", _kind(schema.get("items", {})))
    if "const" in schema:
        return element("code", literal(schema["const"]))
    if "enum" in schema:
        parts = [element("code", literal(value)) for value in schema["enum"]]
        return joined(parts[0], *(part for one in parts[1:] for part in (" | ", one)))
    kind = schema.get("type", "any")
    return joined(" or ".join(kind) if isinstance(kind, list) else kind)


def literal(value: Any) -> str:
    """A value as JSON writes it, without quotes."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meaning(schema: Schema, note: str) -> Html:
    described = [schema, *schema.get("anyOf", ())]
    text = next((one["description"] for one in described if one.get("description")), "")
    notes = [note, *(part for one in described for part in limits(one))]
    default = schema.get("default")
    if default not in (None, [], {}):
        notes.append(f"default {literal(default)}")
    if any(one.get("deprecated") for one in described):
        notes.append("deprecated")
    small = ", ".join(part for part in notes if part)
    return joined(
        markdown_line(text), " " if text and small else "", element("small", f"({small})") if small else None
    )


_LIMITS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "maxItems": "at most {} of them",
}


def limits(schema: Schema) -> list[str]:
    """The bounds of a value, each as a few words."""
    # That a text is not empty goes without saying.
    silent = {("minLength", 1)}
    return [
        text.format(schema[name])
        for name, text in _LIMITS.items()
        if name in schema and (name, schema[name]) not in silent
    ]
