"""Which findings are none: each with the reason why the product is right and no schema can say so."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from schemathesis import Case, Response
from schemathesis.core.failures import AcceptedNegativeData, Failure, ServerError
from schemathesis.openapi.checks import RejectedPositiveData

BEYOND_A_SCHEMA: Final = frozenset({"INVALID_AMOUNT", "INVALID_REQUEST", "WEBHOOK_URL_FORBIDDEN"})
"""Sums of amounts in other properties, two ids that must differ, and addresses that must not be called."""
FIELDS_BEYOND_A_SCHEMA: Final[Mapping[str, str]] = {
    "cursor": "must be the id of a row of this list",
    "orderId": "of a dispute must be the path's",
    "userId": "may be left out only by a key that is bound to a user",
    "ttl": "excludes expiresAt unless one of them is null",
    "expiresAt": "must be in the future",
    "milestones": "must be there where escrowType is multi-release",
    "resources": "must be types of aggregates, in any case",
    "eventTypes": "must match the name of an event, where there are wildcards",
    "url": "must be there where events are sent to",
    "endpoint_id": "must be of an endpoint that fetches",
    "until": "must be later than since",
}
"""Fields that a VALIDATION_ERROR may name although the schema allows the request, and what must hold of them."""
PATIENCE: Final = frozenset({"PROVIDER_TIMEOUT", "MAINTENANCE_MODE"})
"""What is above 500 and no fault: the product waits a fifth of a second only for Airtm (`conftest`), and one run
switches maintenance on."""
SIGNED: Final = frozenset({"WEBHOOK_SIGNATURE_INVALID"})
"""The credential is a signature over the bytes of the body, which no generator makes."""
CALLBACK: Final = "topups.callback"


def is_excused(failure: Failure, case: Case, response: Response) -> bool:
    """True for a failure of a check that is right by the contract."""
    if isinstance(failure, RejectedPositiveData | ServerError) and response.status_code >= 500:
        return _error(response).get("code") in PATIENCE
    if isinstance(failure, RejectedPositiveData):
        code = _error(response).get("code")
        return (response.status_code == 400 and _is_beyond_a_schema(_error(response))) or code in SIGNED
    if isinstance(failure, AcceptedNegativeData):
        # A browser that comes back is sent on whatever its address says (contract 2.6).
        is_callback = case.operation.definition.raw.get("operationId") == CALLBACK
        return is_callback or _has_empty_query_value(response)
    return False


def _error(response: Response) -> dict[str, Any]:
    found = response.json()
    return dict(found.get("error", {})) if isinstance(found, dict) else {}


def _is_beyond_a_schema(error: Mapping[str, Any]) -> bool:
    if error.get("code") in BEYOND_A_SCHEMA:
        return True
    fields = {one["field"] for one in error.get("details", {}).get("fields", ())}
    return error.get("code") == "VALIDATION_ERROR" and bool(fields) and fields <= FIELDS_BEYOND_A_SCHEMA.keys()


def _has_empty_query_value(response: Response) -> bool:
    """An empty value counts as absent. The document says so (`allowEmptyValue`), Schemathesis does not read it."""
    return any(not value for _, value in parse_qsl(urlsplit(response.request.url).query, keep_blank_values=True))
