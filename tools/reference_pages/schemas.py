"""JSON Schemas as Markdown: what a value is, what it means, and an object's properties as a table."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from offerhub.edge.documentation_schemas import limits, literal
from offerhub.edge.openapi_states import machine_of
from reference_pages import states
from reference_pages.markdown import table

Schema = Mapping[str, Any]
Link = Callable[[str], str]
"""From the name of a component to the address of its description."""

_NULL: Final = {"type": "null"}


def references(schema: Any) -> Iterator[str]:
    """The names of the components that a schema refers to."""
    if isinstance(schema, Mapping):
        ref = schema.get("$ref")
        if isinstance(ref, str):
            yield ref.rpartition("/")[2]
        for part in schema.values():
            yield from references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from references(part)


def properties(schema: Schema, link: Link, there: str = "required") -> str:
    """The properties of an object; `there` heads the column that says whether one must be there."""
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", kind(field, link), "yes" if name in required else "no", meaning(field))
        for name, field in schema.get("properties", {}).items()
    ]
    return table(("field", "type", there, "meaning"), rows)


def kind(schema: Schema, link: Link) -> str:
    """What a value is, such as "string or null", with links to objects and states."""
    ref = schema.get("$ref")
    if ref is not None:
        name = ref.rpartition("/")[2]
        return f"[{name}]({link(name)})"
    if "anyOf" in schema:
        return " or ".join(kind(choice, link) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        return f"array of {kind(schema.get('items', {}), link)}"
    values = [schema["const"]] if "const" in schema else schema.get("enum", [])
    if values:
        machine = machine_of(values)
        plain = " or ".join(f"`{literal(value)}`" for value in values)
        return plain if machine is None else f"[state](../states.md#{states.anchor(machine)})"
    found = schema.get("type", "any")
    return " or ".join(found) if isinstance(found, list) else found


def meaning(schema: Schema, described: str = "") -> str:
    """What a value means, with its bounds."""
    parts = [schema, *schema.get("anyOf", ())]
    text = described or next((one["description"] for one in parts if one.get("description")), "")
    notes = [note for one in parts for note in limits(one)]
    default = schema.get("default")
    if default not in (None, [], {}):
        notes.append(f"default `{literal(default)}`")
    if any(one.get("deprecated") for one in parts):
        notes.append("deprecated")
    small = f"({', '.join(notes)})" if notes else ""
    return " ".join(part for part in (text, small) if part)
