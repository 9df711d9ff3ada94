"""`getEvents`: the events behind a place in history, filtered as RPC does it (providers.md 6.6)."""

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final

from offerhub.sandbox import horizon_json as shapes
from offerhub.sandbox.history import EventRecord, History
from offerhub.sandbox.rpc_problem import RpcView, bad_params, out_of_range

EVENTS_DEFAULT: Final = 100
EVENTS_MAX: Final = 10_000
SCAN_LEDGERS_MAX: Final = 10_000
FILTERS_MAX: Final = 5
SEGMENTS_MAX: Final = 4
_CURSOR: Final = re.compile(r"\d{19}-\d{10}")
_TYPES: Final = {"contract", "system", "diagnostic"}
_LAST_OF_LEDGER: Final = (1 << 32) - 1
_LAST_INDEX: Final = (1 << 32) - 1

Place = tuple[int, int]


def get_events(history: History, view: RpcView, params: Mapping[str, Any]) -> dict[str, Any]:
    """The answer. Raises RpcProblem."""
    filters = _filters(params.get("filters") or [])
    after, limit = _start(params)
    first = after[0] >> 32
    if not view.oldest <= first <= view.latest.sequence:
        raise out_of_range(view)
    # Exclusive, and no further than one scan goes.
    end = min(view.latest.sequence + 1, first + SCAN_LEDGERS_MAX, params.get("endLedger") or _LAST_INDEX)
    found: list[EventRecord] = []
    for event in history.events[bisect_right(history.events, after, key=lambda event: event.place) :]:
        if event.transaction.ledger >= end or len(found) == limit:
            break
        if not filters or any(_matches(event, one) for one in filters):
            found.append(event)
    full = len(found) == limit
    last = found[-1].place if full else (((end - 1) << 32) | _LAST_OF_LEDGER, _LAST_INDEX)
    return {"events": [_shown(event) for event in found], "cursor": _name(last), **view.span()}


def _start(params: Mapping[str, Any]) -> tuple[Place, int]:
    """The place after which events are wanted, and how many at most."""
    pagination = params.get("pagination") or {}
    limit = pagination.get("limit") or EVENTS_DEFAULT
    if not isinstance(limit, int) or limit > EVENTS_MAX:
        raise bad_params(f"limit must not exceed {EVENTS_MAX}")
    cursor, ledger = pagination.get("cursor"), params.get("startLedger") or 0
    if cursor:
        if ledger or params.get("endLedger"):
            raise bad_params("ledger ranges and cursor cannot both be set")
        if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor):
            raise bad_params("invalid cursor")
        toid, _, index = cursor.partition("-")
        return (int(toid), int(index)), limit
    if not isinstance(ledger, int) or ledger <= 0:
        raise bad_params("startLedger must be positive")
    return (ledger << 32, -1), limit


def _filters(filters: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    if len(filters) > FILTERS_MAX:
        raise bad_params(f"maximum {FILTERS_MAX} filters per request")
    for one in filters:
        if not set((one.get("type") or "contract").split(",")) <= _TYPES:
            raise bad_params("filter type invalid: if set, type must be either 'system' or 'contract'")
        if max(len(one.get("contractIds") or ()), len(one.get("topics") or ())) > FILTERS_MAX:
            raise bad_params(f"filter invalid: maximum {FILTERS_MAX} contract IDs and topics per filter")
        for topic in one.get("topics") or ():
            if not 1 <= len(topic) <= SEGMENTS_MAX + (topic[-1] == "**"):
                raise bad_params("filter invalid: topic must have 1 to 4 segments")
    return filters


def _matches(event: EventRecord, wanted: Mapping[str, Any]) -> bool:
    if "contract" not in (wanted.get("type") or "contract").split(","):
        return False
    contracts, topics = wanted.get("contractIds"), wanted.get("topics")
    if contracts and event.contract not in contracts:
        return False
    return not topics or any(_fits(event.topics, topic) for topic in topics)


def _fits(topics: Sequence[str], wanted: Sequence[str]) -> bool:
    if wanted[-1] == "**":
        wanted = wanted[:-1]
        topics = topics[: len(wanted)]
    return len(topics) == len(wanted) and all(
        segment in ("*", topic) for topic, segment in zip(topics, wanted, strict=True)
    )


def _name(place: Place) -> str:
    return f"{place[0]:019d}-{place[1]:010d}"


def _shown(event: EventRecord) -> dict[str, Any]:
    transaction = event.transaction
    return {
        "type": "contract",
        "ledger": transaction.ledger,
        "ledgerClosedAt": shapes.moment(transaction.closed_at),
        "contractId": event.contract,
        "id": _name(event.place),
        "operationIndex": event.operation,
        "transactionIndex": (transaction.id >> 12) & 0xFFFFF,
        "inSuccessfulContractCall": True,
        "txHash": transaction.envelope.hash,
        "topic": list(event.topics),
        "value": event.value,
    }
