"""Every event, from `offerhub.events.payloads`: when it is written, whose it is, and what it tells."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from offerhub.events.payloads import KINDS, Kind
from reference_pages.markdown import slug, table
from reference_pages.schemas import kind, meaning

BLOCK: Final = "`offerhub.events.payloads`"

_schemas, _components = msgspec.json.schema_components([one.payload for one in KINDS], ref_template="{name}")
PAYLOADS: Final = {one.name: _components[schema["$ref"]] for one, schema in zip(KINDS, _schemas, strict=True)}
"""The schema of each event's payload."""


def render() -> str:
    """The block of the page: an index, then the events by the first part of their names."""
    groups: dict[str, list[Kind]] = {}
    for one in KINDS:
        groups.setdefault(one.name.partition(".")[0], []).append(one)
    rows = ((f"`{name}.*`", _links(kinds)) for name, kinds in groups.items())
    sections = [_section(one) for kinds in groups.values() for one in kinds]
    return "\n\n".join((table(("pattern", "events"), rows), *sections))


def _links(kinds: list[Kind]) -> str:
    return ", ".join(f"[{one.name.partition('.')[2]}](#{slug(one.name)})" for one in kinds)


def _section(one: Kind) -> str:
    facts = f"{one.when} `aggregateType` is `{one.aggregate}`; it concerns {one.concerns}."
    schema = PAYLOADS[one.name]
    required = schema.get("required", ())
    rows = (_row(name, field, name in required) for name, field in schema["properties"].items())
    return f"### `{one.name}`\n\n{facts}\n\n{table(('field', 'type', 'always', 'meaning', 'example'), rows)}"


def _row(name: str, field: Mapping[str, Any], always: bool) -> tuple[str, ...]:
    shown = example(field)
    text = shown if isinstance(shown, str) else msgspec.json.encode(shown).decode()
    # Links to states are those of the pages one folder below.
    type_ = kind(field, str).replace("](../", "](")
    return f"`{name}`", type_, "yes" if always else "no", meaning(field), f"`{text}`"


def example(field: Mapping[str, Any]) -> Any:
    """The example of a field, also where it is declared on the type beside null."""
    parts = (field, *field.get("anyOf", ()))
    return next(one["examples"][0] for one in parts if one.get("examples"))
