"""What each route can be refused for, by status, as the API's document tells it (contract 3)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from offerhub.edge.application import BODY_BYTES_MAX_DEFAULT, stops_in_maintenance
from offerhub.edge.openapi_schemas import REF, path_parameters
from offerhub.errors import (
    AnswerUnreadable,
    IdempotencyKeyInProgress,
    IdempotencyKeyReused,
    InsufficientScope,
    InternalError,
    InvalidApiKey,
    MaintenanceMode,
    MarketplaceNotFound,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    Refusal,
    ServiceUnavailable,
    Unauthorized,
    UnsupportedMediaType,
    ValidationFailed,
)
from offerhub.runtime.routes import Route

Refusals = Mapping[int, Sequence[type[Refusal]]]

REQUEST_ID: Final = "5f0c3f0e-8f35-4f5e-9d0a-0d6f6c1d2b7a"
_FAULT: Final = "name is required"
_DETAILS: Final[Mapping[str, Mapping[str, Any]]] = {
    ValidationFailed.code: {
        "validationErrors": [_FAULT],
        "fields": [{"field": "name", "message": "is required"}],
    },
    InsufficientScope.code: {"required_scope": "write", "current_scopes": ["read"]},
    MethodNotAllowed.code: {"allow": ["GET", "HEAD"]},
    PayloadTooLarge.code: {"limit": BODY_BYTES_MAX_DEFAULT},
    UnsupportedMediaType.code: {"contentType": "text/plain"},
    AnswerUnreadable.code: {"idempotency_key": "order-4711-reserve", "version": 1},
    IdempotencyKeyReused.code: {"idempotency_key": "order-4711-reserve"},
    IdempotencyKeyInProgress.code: {"idempotency_key": "order-4711-reserve"},
    RateLimited.code: {"limit": 100, "windowSeconds": 60, "window": "1m", "retryAfter": 7, "retry_after": 7},
}
"""What the details say beside the request's id, in the examples of codes that every route shares."""

COMPONENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ErrorDetails": {
        "type": "object",
        "description": "What a program may want to know beside the code; which properties there are depends on it.",
        "properties": {
            "requestId": {
                "type": "string",
                "description": "Finds the request in the logs.",
                "examples": [REQUEST_ID],
            },
            "validationErrors": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Each fault as a sentence (`VALIDATION_ERROR`).",
            },
            "fields": {
                "type": "array",
                "items": {"$ref": REF + "FieldFault"},
                "description": "Each fault with its place (`VALIDATION_ERROR`).",
            },
        },
        "required": ["requestId"],
    },
    "FieldFault": {
        "type": "object",
        "description": "One fault of a request.",
        "properties": {
            "field": {
                "type": "string",
                "description": "Where, such as `milestones[1].amount`.",
                "examples": ["milestones[1].amount"],
            },
            "message": {"type": "string", "description": "What is wrong there.", "examples": ["is required"]},
        },
        "required": ["field", "message"],
    },
}
"""The schemas that every error shares."""


def refusals(route: Route) -> Refusals:
    """Everything that the route can be refused for: what it declares, and what the edge adds."""
    declared: list[type[Refusal]] = [*route.errors, RateLimited, InternalError]
    found = [*declared, *_of_request(route), *_of_caller(route), *_of_service(route)]
    by_status: dict[int, dict[str, type[Refusal]]] = {}
    for refusal in found:
        by_status.setdefault(refusal.status, {}).setdefault(refusal.code, refusal)
    return {status: [named[code] for code in sorted(named)] for status, named in sorted(by_status.items())}


def _of_request(route: Route) -> list[type[Refusal]]:
    changes, parameters = route.method != "GET", path_parameters(route)
    found: list[type[Refusal]] = []
    if changes or parameters or route.query is not None:
        found.append(ValidationFailed)
    if parameters:
        # A value with a slash in it is another path.
        found.append(NotFound)
    if route.takes_key:
        found += [IdempotencyKeyReused, IdempotencyKeyInProgress, *([AnswerUnreadable] if route.sealed else [])]
    if changes:
        found.append(PayloadTooLarge)
    if route.body is not None:
        found.append(UnsupportedMediaType)
    return found


def _of_caller(route: Route) -> list[type[Refusal]]:
    if route.scope == "public":
        return []
    known = [Unauthorized, InvalidApiKey, MarketplaceNotFound]
    return known if route.scope == "any" else [*known, InsufficientScope]


def _of_service(route: Route) -> list[type[Refusal]]:
    gated = stops_in_maintenance(route)
    needs_database = route.scope != "public" or route.unit != "none" or gated
    return [*([ServiceUnavailable] if needs_database else []), *([MaintenanceMode] if gated else [])]


def name(status: int, found: Sequence[type[Refusal]]) -> str:
    """The name of the response with these codes, such as `404.NOT_FOUND.ORDER_NOT_FOUND`."""
    return ".".join([str(status), *(refusal.code for refusal in found)])


def response(status: int, found: Sequence[type[Refusal]]) -> dict[str, Any]:
    """The response with one of these codes."""
    headers = ["X-Request-ID", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
    if any(refusal is RateLimited or refusal.retry_after_seconds is not None for refusal in found):
        headers.append("Retry-After")
    if status == Unauthorized.status:
        headers.append("WWW-Authenticate")
    return {
        "description": "\n".join(f"- `{refusal.code}`: {message(refusal)}" for refusal in found),
        "headers": {header: {"$ref": f"#/components/headers/{header}"} for header in headers},
        "content": {
            "application/json": {
                "schema": _schema([refusal.code for refusal in found]),
                "examples": {
                    refusal.code: {"summary": message(refusal), "value": example(refusal)} for refusal in found
                },
            }
        },
    }


def message(refusal: type[Refusal]) -> str:
    """What a refusal says unless its raiser knows better: the first line of its docstring."""
    return refusal().message


def example(refusal: type[Refusal]) -> dict[str, Any]:
    """The body of an answer with this refusal."""
    details = {**_DETAILS.get(refusal.code, {}), "requestId": REQUEST_ID}
    told = f"The request is not valid: {_FAULT}" if refusal is ValidationFailed else message(refusal)
    return {"error": {"code": refusal.code, "message": told, "details": details}}


def _schema(codes: Sequence[str]) -> dict[str, Any]:
    error = {
        "type": "object",
        "properties": {
            "code": {"type": "string", "enum": list(codes), "description": "What a program decides by."},
            "message": {"type": "string", "description": "What a person reads. Its wording may change."},
            "details": {"$ref": REF + "ErrorDetails"},
        },
        "required": ["code", "message", "details"],
    }
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}
