"""The API's document: OpenAPI 3.1, made from the declared routes and nothing else.

What a route declares is what the edge enforces, so that the document cannot promise what the server does not do.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec

from offerhub.edge import openapi_errors, openapi_examples, openapi_states
from offerhub.edge.openapi_schemas import (
    PATH_PARAMETERS,
    REF,
    SHARED,
    Schema,
    Schemas,
    envelope,
    in_query,
    path_parameters,
)
from offerhub.edge.openapi_text import INTRODUCTION, SUMMARY, TAGS, TITLE
from offerhub.edge.request import BASE_PATH
from offerhub.errors import RateLimited
from offerhub.runtime.routes import DAY_SECONDS, Body, Document, Redirect, Route, Stream, UserLimit
from offerhub.runtime.vocabulary import MarketplaceId

_ALWAYS: Final = ("X-Request-ID", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_HEADERS: Final[Mapping[str, tuple[str, Schema]]] = {
    "X-Request-ID": ("The request's id: what was sent, or a new one.", {"type": "string"}),
    "X-RateLimit-Limit": ("How many requests are allowed at once.", {"type": "integer"}),
    "X-RateLimit-Remaining": ("How many are left.", {"type": "integer", "minimum": 0}),
    "X-RateLimit-Reset": ("When all of them are back, in epoch seconds.", {"type": "integer"}),
    "Retry-After": ("Seconds to wait before repeating the request.", {"type": "integer", "minimum": 0}),
    "Idempotency-Replay": ("`true` marks a repetition of a stored answer.", {"type": "string", "const": "true"}),
    "X-Idempotency-Key": ("The key of a repeated answer.", {"type": "string"}),
    "Location": ("Where to go on.", {"type": "string", "format": "uri"}),
    "WWW-Authenticate": ("How to authenticate.", {"type": "string"}),
}
_PARAMETERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "RequestId": {
        "name": "X-Request-ID",
        "in": "header",
        "description": "An id of your own for this request: 1 to 128 printable ASCII characters. It comes back with "
        "the answer and stands in the logs; anything else is replaced.",
        "schema": {"type": "string", "examples": [openapi_errors.REQUEST_ID]},
    },
    "Marketplace": {
        "name": "X-Marketplace-Id",
        "in": "header",
        "description": "Where the master key acts; without it, in the default marketplace. A key has its own only.",
        "schema": msgspec.json.schema(MarketplaceId),
    },
    "LastEventId": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The last `id` that was seen: the stream goes on behind it. It goes before `cursor`.",
        "schema": {"type": "string", "examples": ["2026-11-22T10:15:30.123Z"]},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Names this change: 1 to 255 printable ASCII characters. A repetition with the same key is "
        "answered with the stored answer.",
        # HTTP strips spaces from both ends of a header.
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": "^[!-~]([ -~]*[!-~])?$",
            "examples": ["order-4711-reserve"],
        },
    },
}
_SECURITY_SCHEMES: Final = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key (`ohk_live_key_…`), a short-lived token (`ohk_tok_…`) or the master key.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same credential without a scheme; `Authorization` counts when both are there.",
    },
}
_RAW_BODY: Final[Schema] = {
    "required": False,
    "description": "Taken as bytes, because the signature is over them; usually an object.",
    "content": {
        "application/json": {
            "schema": {},
            "example": {"type": "payin.confirmed", "data": {"code": "topup_06hb3k2q0xJ4Yw1vN8sT5rC7mZ9pLdQe"}},
        }
    },
}
_SUCCESS: Final = {
    200: "Done.",
    201: "It is new.",
    202: "It goes on in the background.",
    302: "Go on to the address in `Location`.",
}
_CREATED: Final = "$response.body#/data/id"
_FURTHER: Final = {"ref": "$response.body#/data/milestones/0/ref"}
"""Path parameters that go with the id of what they are a part of, and where its answer holds them."""
_AGAIN: Final = "It was there already; nothing was changed."


def document(routes: Sequence[Route], *, version: str, server_urls: Sequence[str] = (BASE_PATH,)) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes. `server_urls` are what the paths are below.

    Raises ValueError when a route belongs to no described group, or when a parameter of its path has no type.
    """
    unknown = sorted({route.domain for route in routes} - TAGS.keys())
    if unknown:
        raise ValueError(f"these domains have no description in TAGS: {', '.join(unknown)}")
    return _Writing(routes).document(version, server_urls)


class _Writing:
    """One document in the making."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        answers = [route.answer for route in routes if route.answer not in (Document, Redirect, Stream)]
        bodies = [route.body for route in routes]
        queries = [route.query for route in routes]
        self._parameter_types = {name: PATH_PARAMETERS[name] for route in routes for name in path_parameters(route)}
        self._schemas = Schemas([*answers, *bodies, *queries, *self._parameter_types.values()])
        # A query is told parameter by parameter and is no schema of its own.
        asked = {self._schemas.of(query)["$ref"] for query in queries if query is not None}
        self._components = {
            name: schema for name, schema in self._schemas.components.items() if REF + name not in asked
        } | {name: dict(schema) for name, schema in {**SHARED, **openapi_errors.COMPONENTS}.items()}
        self._responses: dict[str, Schema] = {}

    def document(self, version: str, server_urls: Sequence[str]) -> dict[str, Any]:
        paths: dict[str, dict[str, Any]] = {}
        for route in self._routes:
            paths.setdefault(route.path, {})[route.method.lower()] = self._operation(route)
        domains = {route.domain for route in self._routes}
        return {
            "openapi": "3.1.0",
            "info": {"title": TITLE, "version": version, "summary": SUMMARY, "description": INTRODUCTION},
            "servers": [{"url": url} for url in server_urls],
            "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in domains],
            "paths": paths,
            "components": {
                "schemas": openapi_states.explained(dict(sorted(self._components.items()))),
                "responses": dict(sorted(self._responses.items())),
                "parameters": dict(_PARAMETERS),
                "headers": {
                    name: {"description": text, "schema": schema} for name, (text, schema) in _HEADERS.items()
                },
                "securitySchemes": _SECURITY_SCHEMES,
            },
        }

    def _operation(self, route: Route) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": route.name,
            "tags": [route.domain],
            "summary": route.summary.removesuffix("."),
            "description": _description(route),
            "security": [] if route.scope == "public" else [{"bearer": []}, {"apiKey": []}],
            "x-required-scope": route.scope,
            "parameters": [*self._in_path(route), *self._in_query(route), *_in_headers(route)],
        }
        if route.body is not None:
            operation["requestBody"] = self._body(route)
        elif route.raw:
            operation["requestBody"] = _RAW_BODY
        operation["responses"] = {
            **{str(status): self._success(route, status) for status in sorted({route.status, *route.also})},
            **{
                str(status): self._failure(route, status, found)
                for status, found in openapi_errors.refusals(route).items()
            },
        }
        return operation

    def _in_path(self, route: Route) -> list[Schema]:
        parameters: list[Schema] = []
        for name in path_parameters(route):
            schema = self._schemas.of(self._parameter_types[name])
            text = schema.pop("description", "")
            parameters.append({"name": name, "in": "path", "required": True, "description": text, "schema": schema})
        return parameters

    def _in_query(self, route: Route) -> list[Schema]:
        if route.query is None:
            return []
        asked = self._schemas.resolved(self._schemas.of(route.query))
        parameters: list[Schema] = []
        for name, field in asked["properties"].items():
            schema, text = in_query(field)
            required = name in asked["required"]
            # Without a value it counts as absent.
            parameter: Schema = {"name": name, "in": "query", "required": required, "allowEmptyValue": not required}
            parameters.append({**parameter, **({"description": text} if text else {}), "schema": schema})
        return parameters

    def _body(self, route: Route) -> Schema:
        schema = self._schemas.of(route.body)
        shown = openapi_examples.example(schema, self._schemas.components, sparse=True)
        return {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": schema, "example": shown}},
        }

    def _success(self, route: Route, status: int) -> Schema:
        headers = [*_ALWAYS, *(["Idempotency-Replay", "X-Idempotency-Key"] if route.takes_key else [])]
        told = _AGAIN if status == 200 and status != route.status else _SUCCESS[status]
        made: Schema = {
            "description": told,
            "headers": {header: {"$ref": f"#/components/headers/{header}"} for header in headers},
        }
        if route.answer is Redirect:
            made["headers"]["Location"] = {"$ref": "#/components/headers/Location"}
        elif route.answer in (Document, Stream):
            kind = "object" if route.media_type == "application/json" else "string"
            made["content"] = {route.media_type: {"schema": {"type": kind}}}
        else:
            schema = envelope(route, self._schemas.of(route.answer))
            shown = openapi_examples.example(schema, self._components)
            made["content"] = {"application/json": {"schema": schema, "example": shown}}
        links = self._links(route)
        return {**made, "links": links} if links else made

    def _failure(self, route: Route, status: int, found: Sequence[Any]) -> Schema:
        name = openapi_errors.name(status, found)
        response = openapi_errors.response(status, found)
        if status == RateLimited.status and route.limit is not None:
            name = f"{name}.{route.name}"
            response["description"] += f"\n\n{_own_limit(route.limit)}"
        self._responses.setdefault(name, response)
        return {"$ref": f"#/components/responses/{name}"}

    def _links(self, route: Route) -> dict[str, Schema]:
        """From what creates something to every operation that takes its id, in the path, the query or the body."""
        created = _type_of_id(route.answer) if route.status == 201 else None
        found = {target.name: _link(target, created) for target in self._routes} if created is not None else {}
        return {name: {"operationId": name, **link} for name, link in found.items() if link}


def _link(target: Route, created: Any) -> Schema:
    """How the id of what was created goes into the target's request; empty when it does not."""
    found: Schema = {}
    path = [name for name in path_parameters(target) if PATH_PARAMETERS[name] == created]
    asked = next(_fields_for(target.query, created), None)
    sent = next(_fields_for(target.body, created), None)
    if path:
        further = {f"path.{name}": _FURTHER[name] for name in path_parameters(target) if name in _FURTHER}
        found["parameters"] = {**{f"path.{name}": _CREATED for name in path}, **further}
    elif asked is not None:
        found["parameters"] = {f"query.{asked}": _CREATED}
    elif sent is not None:
        found["requestBody"] = {sent: _CREATED}
        found["description"] = "The rest of the body is up to the caller."
    return found


def _fields_for(asked: type[Body] | None, created: Any) -> Iterator[str]:
    """The properties of a body or query that take an id of this type."""
    fields = () if asked is None else msgspec.structs.fields(asked)
    (kind,) = created.__metadata__
    return (field.encode_name for field in fields if _holds(field.type, kind))


def _holds(annotation: Any, kind: Any) -> bool:
    return kind in getattr(annotation, "__metadata__", ()) or any(_holds(one, kind) for one in get_args(annotation))


def _type_of_id(answer: Any) -> Any:
    if not (isinstance(answer, type) and issubclass(answer, msgspec.Struct)):
        return None
    types = {field.encode_name: field.type for field in msgspec.structs.fields(answer)}
    declared = types.get("id")
    return declared if get_args(declared) else None


def _in_headers(route: Route) -> list[Schema]:
    names = ["RequestId"]
    if route.scope != "public":
        names.append("Marketplace")
    if route.takes_key:
        names.append("IdempotencyKey")
    if route.answer is Stream:
        names.append("LastEventId")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _description(route: Route) -> str:
    told = [route.description.strip(), _SCOPES[route.scope]]
    if route.scope in ("read", "write"):
        told[-1] += f" `{route.domain}.{route.scope}` is enough."
    if route.takes_key:
        told.append(f"Takes an `Idempotency-Key`; the answer is kept for {_days(route.idempotency_seconds)}.")
    if route.limit is not None:
        told.append(_own_limit(route.limit))
    return "\n\n".join(text for text in told if text)


def _own_limit(limit: UserLimit) -> str:
    return (
        f"Beside the limit of the key, this is done at most {limit.per_minute} times a minute for one user, unless "
        f"the operator has set `{limit.variable}`. A repetition with a known `Idempotency-Key` does not count."
    )


_SCOPES: Final = {
    "public": "Needs no credential.",
    "any": "Needs a credential; any scope will do.",
    "read": "Needs the scope `read`.",
    "write": "Needs the scope `write`.",
    "support": "Needs the scope `support`.",
    "master": "Needs the master key.",
}


def _days(seconds: int) -> str:
    days, rest = divmod(seconds, DAY_SECONDS)
    if rest:
        return f"{seconds // 60} minutes"
    years = days // 365
    return f"{years} years" if years else f"{days} days" if days > 1 else "24 hours"
