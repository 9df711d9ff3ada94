"""What the contract promises of every answer: envelopes (1.4), forms of values (1.5, 1.6), and who has heard what."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from asgi_client import Heard
from support.product import Marketplace

OTHER_SUITES: Final = frozenset(
    {
        *(
            f"GET /admin/{path}"
            for path in ("stuck", "queues", "queues/schedules", "dlq", "dlq/{letter_id}", "treasury")
        ),
        *("POST /admin/dlq/{letter_id}/retry", "DELETE /admin/dlq/{letter_id}"),
        *("POST /admin/reconciliation/{job}/run", "GET /admin/reconciliation/runs"),
        *(
            f"{method} /admin/reconciliation/findings{tail}"
            for method, tail in (
                *(("GET", ""), ("GET", "/{finding_id}")),
                *(("POST", "/{finding_id}/acknowledge"), ("POST", "/{finding_id}/resolve")),
            )
        ),
        *("POST /admin/treasury/transfers", "POST /admin/treasury/rebalancings"),
        *("GET /metrics", "GET /policies", "PUT /policies"),
        *("POST /webhooks/airtm", "POST /webhooks/trustless-work"),
        *(f"{method} /webhook-endpoints" for method in ("GET", "POST")),
        *(f"{method} /webhook-endpoints/{{endpoint_id}}" for method in ("GET", "POST", "DELETE")),
        *(
            f"POST /webhook-endpoints/{{endpoint_id}}/{tail}"
            for tail in ("rotate-secret", "test", "redeliver", "fetch", "deliveries/{delivery_id}/redeliver")
        ),
        *(f"GET /webhook-endpoints/{{endpoint_id}}/deliveries{tail}" for tail in ("", "/{delivery_id}")),
    }
)
"""Routes, by method and path, that have suites of their own: what operators have beside maintenance, and webhooks."""

Form = Any
"""A pattern for a text, a mapping of fields, a list of one form, a tuple of values, a type, or one of the below."""


@dataclass(frozen=True)
class Nullable:
    """The form, or null."""

    form: Form


@dataclass(frozen=True)
class Omittable:
    """A field of this form that is left out when there is nothing to say."""

    form: Form


def an_id(prefix: str) -> re.Pattern[str]:
    """An identifier of 32 letters and digits behind its prefix."""
    return re.compile(prefix + "_[0-9A-Za-z]{32}")


AMOUNT: Final = re.compile(r"[0-9]{1,13}\.[0-9]{2}")
SIGNED_AMOUNT: Final = re.compile(r"-?[0-9]{1,13}\.[0-9]{2}")
CHAIN_AMOUNT: Final = re.compile(r"[0-9]{1,12}\.[0-9]{7}")
TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
TEXT: Final = re.compile(r".+", re.DOTALL)
ADDRESS: Final = re.compile(r"G[A-Z2-7]{55}")
CONTRACT: Final = re.compile(r"C[A-Z2-7]{55}")
HASH: Final = re.compile(r"[0-9a-f]{64}")
CURRENCY: Final = ("USD", "USDC")
PAYOUT: Final = {
    "status": ("UNPAID", "PAYING", "RELEASED", "REFUNDED", "SPLIT"),
    "sellerAmount": AMOUNT,
    "buyerAmount": AMOUNT,
    "platformFee": AMOUNT,
    "protocolFee": AMOUNT,
    "txHash": Nullable(HASH),
    "paidAt": Nullable(TIME),
}
MILESTONE: Final = {
    "id": TEXT,
    "orderId": an_id("ord"),
    "milestoneRef": TEXT,
    "ref": TEXT,
    "title": TEXT,
    "description": TEXT,
    "amount": AMOUNT,
    "status": ("OPEN", "COMPLETED"),
    "completedAt": Nullable(TIME),
    "payout": Nullable(PAYOUT),
    "createdAt": TIME,
    "updatedAt": TIME,
}
ESCROW: Final = {
    "id": an_id("esc"),
    "orderId": an_id("ord"),
    "trustlessContractId": Nullable(CONTRACT),
    "contractId": Nullable(CONTRACT),
    "status": TEXT,
    "amount": AMOUNT,
    "currency": CURRENCY,
    "terms": Nullable(dict),
    "txHash": Nullable(HASH),
    "fundedAt": Nullable(TIME),
    "releasedAt": Nullable(TIME),
    "refundedAt": Nullable(TIME),
    "createdAt": TIME,
    "updatedAt": TIME,
    "platformFeeBasisPoints": int,
}
DISPUTE: Final = {
    "id": an_id("dsp"),
    "orderId": an_id("ord"),
    "openedBy": ("BUYER", "SELLER"),
    "reason": ("NOT_DELIVERED", "QUALITY_ISSUE", "OTHER"),
    "evidence": Nullable([TEXT]),
    "status": ("OPEN", "UNDER_REVIEW", "RESOLVED"),
    "resolutionDecision": Nullable(("FULL_RELEASE", "FULL_REFUND", "SPLIT")),
    "decisionNote": Nullable(TEXT),
    "assignedTo": Nullable(TEXT),
    "releaseAmount": Nullable(AMOUNT),
    "refundAmount": Nullable(AMOUNT),
    "resolvedAt": Nullable(TIME),
    "createdAt": TIME,
    "updatedAt": TIME,
}
ORDER: Final = {
    "id": an_id("ord"),
    "clientOrderRef": Nullable(TEXT),
    "buyerId": an_id("usr"),
    "sellerId": an_id("usr"),
    "amount": AMOUNT,
    "currency": CURRENCY,
    "status": TEXT,
    "escrowType": ("single-release", "multi-release"),
    "title": TEXT,
    "description": Nullable(TEXT),
    "metadata": Nullable(dict),
    "createdAt": TIME,
    "updatedAt": TIME,
    "escrow": Nullable(ESCROW),
    "milestones": [MILESTONE],
    "dispute": Nullable(DISPUTE),
    "finalStatus": Nullable(("RELEASED", "REFUNDED", "CANCELED")),
    "closedAt": Nullable(TIME),
}
USER: Final = {
    "id": an_id("usr"),
    "externalUserId": TEXT,
    "email": Nullable(TEXT),
    "type": ("BUYER", "SELLER", "BOTH"),
    "status": ("ACTIVE", "SUSPENDED", "PENDING_VERIFICATION"),
    "balance": {"available": AMOUNT, "reserved": AMOUNT, "currency": CURRENCY},
    "airtmLinked": bool,
    "airtmUserId": Nullable(TEXT),
    "airtmEmail": Nullable(TEXT),
    "airtmLinkedAt": Nullable(TIME),
    "wallet": Nullable({"publicKey": ADDRESS, "status": ("PENDING", "READY"), "provider": ("STELLAR",)}),
    "createdAt": TIME,
    "updatedAt": TIME,
}


def check(value: Any, form: Form, place: str = "data") -> None:
    """Fail unless the value has the form: exactly its fields, none more and none less."""
    if isinstance(form, Nullable):
        if value is not None:
            check(value, form.form, place)
    elif isinstance(form, re.Pattern):
        assert isinstance(value, str), (place, value)
        assert form.fullmatch(value), (place, value)
    elif isinstance(form, Mapping):
        assert isinstance(value, dict), (place, value)
        _check_fields(value, form, place)
    elif isinstance(form, list):
        assert isinstance(value, list), (place, value)
        for number, item in enumerate(value):
            check(item, form[0], f"{place}[{number}]")
    elif isinstance(form, tuple):
        assert value in form, (place, value)
    else:
        assert type(value) is form, (place, value)


def _check_fields(value: dict[str, Any], form: Mapping[str, Form], place: str) -> None:
    missing = {name for name, one in form.items() if not isinstance(one, Omittable)} - set(value)
    assert not missing, f"{place} lacks {missing}"
    assert set(value) <= set(form), f"{place} has more: {set(value) - set(form)}"
    for name, inner in value.items():
        wanted = form[name]
        check(inner, wanted.form if isinstance(wanted, Omittable) else wanted, f"{place}.{name}")


Kind = Literal["DATA", "SUCC", "FLAT", "LIST", "PAGE"]
_META: Final = {"requestId": TEXT, "timestamp": TIME}


def opened(heard: Heard, kind: Kind, form: Form, status: int = 200) -> Any:
    """The data of an answer, whose envelope and whose data are exactly what the contract says."""
    assert heard.status == status, heard.body[:2000]
    body = heard.json
    check(body["meta"], _META, "meta")
    if "idempotency-replay" not in heard.headers:
        assert body["meta"]["requestId"] == heard.headers["x-request-id"]
    data = body["data"]
    more, cursor = body.get("hasMore"), body.get("nextCursor")
    if kind == "DATA":
        assert set(body) == {"data", "meta"}
    elif kind == "SUCC":
        assert set(body) == {"success", "data", "meta"}
        assert body["success"] is True
    elif kind == "FLAT":
        assert body == {**data, "data": data, "meta": body["meta"]}
        assert not {"data", "meta"} & set(data)
    elif kind == "LIST":
        assert set(body) == {"success", "data", "hasMore", "pagination", "meta"} | ({"nextCursor"} if more else set())
        assert (body["success"], type(more)) == (True, bool)
        spellings = {"hasMore": more, "nextCursor": cursor, "has_more": more, "next_cursor": cursor}
        assert body["pagination"] == spellings
    else:
        assert set(body) == {"data", "pagination", "meta"}
        assert set(body["pagination"]) == {"hasMore", "nextCursor"}
        assert (body["pagination"]["nextCursor"] is None) is not body["pagination"]["hasMore"]
    if kind in ("DATA", "SUCC") and isinstance(data, dict):
        assert "data" not in data, "clients would descend into it"
    check(data, [form] if kind in ("LIST", "PAGE") else form)
    return data


@dataclass(frozen=True)
class Told:
    """An event as it was written."""

    type: str
    aggregate: str
    payload: dict[str, Any]
    metadata: dict[str, Any]


async def told(shop: Marketplace, aggregate_id: str, *types: str) -> list[Told]:
    """The events of an aggregate, in sequence; with types, only those, and each of them once."""
    sql = """
        SELECT type, aggregate_type, payload, metadata FROM events
        WHERE marketplace_id = $1 AND aggregate_id = $2 ORDER BY aggregate_type, sequence
    """
    rows = await shop.live.rows(sql, shop.id, aggregate_id)
    found = [Told(row["type"], row["aggregate_type"], row["payload"], row["metadata"]) for row in rows]
    for one in found:
        assert one.metadata["marketplaceId"] == shop.id
    if not types:
        return found
    chosen = [one for one in found if one.type in types]
    assert sorted(one.type for one in chosen) == sorted(types)
    return sorted(chosen, key=lambda one: types.index(one.type))
