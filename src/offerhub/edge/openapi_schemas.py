"""JSON Schemas for the API's document: the types of bodies, queries and answers, and the envelopes around answers.

msgspec derives them from the types that decode and encode, in JSON Schema 2020-12, which is OpenAPI 3.1's own.
"""

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, inspect

from offerhub.findings.model import FindingId
from offerhub.runtime import vocabulary
from offerhub.runtime.routes import Body, Envelope, Route

REF: Final = "#/components/schemas/"

PATH_PARAMETERS: Final[Mapping[str, Any]] = {
    "user_id": vocabulary.UserId,
    "order_id": vocabulary.OrderId,
    "dispute_id": vocabulary.DisputeId,
    "topup_id": vocabulary.TopUpId,
    "withdrawal_id": vocabulary.WithdrawalId,
    "key_id": vocabulary.ApiKeyId,
    "letter_id": Annotated[
        str,
        Meta(
            min_length=1,
            description="A failed job: its queue and its own id in the queue.",
            examples=["sagas.outbox-17"],
        ),
    ],
    "finding_id": FindingId,
    "endpoint_id": vocabulary.WebhookEndpointId,
    "delivery_id": vocabulary.WebhookDeliveryId,
    "job": Annotated[
        str,
        Meta(
            min_length=1,
            description="A reconciliation job: `sync-topups`, `sync-withdrawals` and `sync-refunds` (on the rail "
            "of Airtm), `sync-escrows`, `check-missed-deposits`, `apply-policies`, `check-books`, "
            "`reconcile-totals`.",
            examples=["sync-escrows"],
        ),
    ],
    "ref": Annotated[
        str,
        Meta(min_length=1, description="The milestone's `ref`, as it was sent with the order.", examples=["design"]),
    ],
    "key": Annotated[
        str,
        Meta(
            min_length=1,
            max_length=255,
            description="An idempotency key that this credential used.",
            examples=["order-4711-reserve"],
        ),
    ],
}
"""What the parameters of paths are. One name means one type on every route."""

_PARAMETER = re.compile(r"\{([^}]*)\}")
_PLACED = re.compile(r"offerhub\.(?P<slice>\w+)\.(?:.*\.)?(?P<name>\w+)")

Schema = dict[str, Any]


def path_parameters(route: Route) -> list[str]:
    """The names of the path's parameters, in order. Raises ValueError when one has no type."""
    names = _PARAMETER.findall(route.path)
    for name in names:
        if name not in PATH_PARAMETERS:
            raise ValueError(f"the path parameter {name} of {route.name} has no type in PATH_PARAMETERS")
    return names


class Schemas:
    """The schemas of these types: `of(type)` for one, `components` for what they refer to."""

    def __init__(self, types: Iterable[Any]) -> None:
        self._types: list[Any] = []
        for one in types:
            for found in (one, *_bodies(one)):
                if found is not None and found not in self._types:
                    self._types.append(found)
        schemas, components = msgspec.json.schema_components(self._types, ref_template=REF + "{name}")
        names = {name: _short(name) for name in components}
        assert len(set(names.values())) == len(names), "two types of one slice have one name"
        self.components: dict[str, Schema] = {
            names[name]: _portable(schema, names) for name, schema in sorted(components.items())
        }
        self._found = [_portable(schema, names) for schema in schemas]
        for body in (one for one in self._types if isinstance(one, type) and issubclass(one, Body) and one.one_of):
            _require_one_of(self.resolved(self.of(body)), body.one_of)

    def of(self, one: Any) -> Schema:
        """The schema of a type that was given at the beginning; `{}` (anything) for None."""
        return {} if one is None else copy.deepcopy(self._found[self._types.index(one)])

    def resolved(self, schema: Schema) -> Schema:
        """The schema itself, where it is only a reference."""
        ref = schema.get("$ref")
        return schema if ref is None else self.components[ref.removeprefix(REF)]


def _bodies(one: Any) -> list[type[Body]]:
    """The body types that a body holds in lists."""
    if not (isinstance(one, type) and issubclass(one, Body)):
        return []
    types = [inspect.type_info(field.type) for field in msgspec.structs.fields(one)]
    bare = [found.type if isinstance(found, inspect.Metadata) else found for found in types]
    items = [found.item_type for found in bare if isinstance(found, inspect.ListType)]
    return [item.cls for item in items if isinstance(item, inspect.StructType) and issubclass(item.cls, Body)]


def _require_one_of(schema: Schema, groups: Iterable[Sequence[str]]) -> None:
    """Say that of each group of names one must be there, and not null."""

    def there(name: str) -> Schema:
        choices = schema["properties"][name]["anyOf"]
        return {"required": [name], "properties": {name: {"type": choices[0]["type"]}}}

    schema["allOf"] = [{"anyOf": [there(name) for name in names]} for names in groups]


def _short(name: str) -> str:
    """msgspec spells out the module where two slices use one name; the slice is enough."""
    placed = _PLACED.fullmatch(name)
    return name if placed is None else placed["slice"].capitalize() + placed["name"]


def _portable(schema: Any, names: Mapping[str, str]) -> Any:
    """The same schema with short names, and with patterns that ECMAScript reads as Python does."""
    if isinstance(schema, list):
        return [_portable(item, names) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _portable(value, names) for key, value in schema.items()}
    ref, pattern = made.get("$ref"), made.get("pattern")
    if isinstance(ref, str):
        made["$ref"] = REF + names[ref.removeprefix(REF)]
    if isinstance(pattern, str):
        made["pattern"] = pattern.replace(r"\A", "^").replace(r"\Z", "$")
    if isinstance(made.get("title"), str) and made.get("type") == "object":
        made["title"] = _short(made["title"])
    return made


def in_query(schema: Schema) -> tuple[Schema, str]:
    """A query parameter's schema, and its description: in a query there is no null, and nothing means absent."""
    parts = [part for part in schema.get("anyOf", [schema]) if part != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"} if "anyOf" in schema else {}
    made: Schema = {**rest, **(parts[0] if len(parts) == 1 else {"anyOf": parts})}
    if made.get("default", "") is None:
        del made["default"]
    if made.get("type") == "array":
        # A parameter without a value counts as absent, so a list that is there is never empty.
        made["minItems"] = max(1, made.get("minItems", 1))
    # A filter looks for what it is given: what no id can be finds nothing, and is not refused.
    made.pop("pattern", None)
    return made, made.pop("description", "")


def envelope(route: Route, item: Schema) -> Schema:
    """What the route's envelope makes of an answer with this schema (contract 1.4)."""
    meta = {"$ref": REF + "Meta"}
    if route.envelope is Envelope.FLAT:
        return {"allOf": [item, _object({"data": item, "meta": meta})]}
    if route.envelope is Envelope.DATA:
        return _object({"data": item, "meta": meta})
    success = {"type": "boolean", "const": True}
    if route.envelope is Envelope.SUCCESS:
        return _object({"success": success, "data": item, "meta": meta})
    items = {"type": "array", "items": item}
    if route.envelope is Envelope.PAGE:
        return _object({"data": items, "pagination": {"$ref": REF + "Pagination"}, "meta": meta})
    described = _object(
        {
            "success": success,
            "data": items,
            "hasMore": {"type": "boolean", "description": "Whether another page follows."},
            "pagination": {"$ref": REF + "PaginationInBothSpellings"},
            "meta": meta,
        }
    )
    described["properties"]["nextCursor"] = {
        "type": "string",
        "description": "The cursor of the next page; left out at the end.",
    }
    return described


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(properties)}


def _pagination(names: Sequence[str]) -> Schema:
    more: Schema = {"type": "boolean", "description": "Whether another page follows."}
    cursor: Schema = {"type": ["string", "null"], "description": "The cursor of the next page; null at the end."}
    return _object({name: more if name.lower().startswith("has") else cursor for name in names})


_CURSOR_EXAMPLE: Final = {"hasMore": False, "nextCursor": None}

SHARED: Final[Mapping[str, Schema]] = {
    "Meta": {
        **_object(
            {
                "requestId": {
                    "type": "string",
                    "description": "The request's `X-Request-ID`, or the one it was given.",
                    "examples": ["5f0c3f0e-8f35-4f5e-9d0a-0d6f6c1d2b7a"],
                },
                "timestamp": {
                    "type": "string",
                    "format": "date-time",
                    "description": "When the answer was made.",
                    "examples": ["2026-11-22T10:15:30.123Z"],
                },
            }
        ),
        "description": "About the answer. A repetition of a stored answer has the first request's.",
    },
    "Pagination": {
        **_pagination(("hasMore", "nextCursor")),
        "description": "Whether there is more, and where it begins.",
        "examples": [_CURSOR_EXAMPLE],
    },
    "PaginationInBothSpellings": {
        **_pagination(("hasMore", "nextCursor", "has_more", "next_cursor")),
        "description": "Whether there is more, and where it begins, in both spellings that clients read.",
        "examples": [{**_CURSOR_EXAMPLE, "has_more": False, "next_cursor": None}],
    },
}
"""What envelopes are made of."""
