"""Contract 2.12 and 6.1: what happened, for clients that ask now and then."""

import pytest

from support.product import Marketplace, unique
from support.wire import TEXT, TIME, an_id, check

EVENT = {
    "eventId": an_id("evt"),
    "eventType": TEXT,
    "occurredAt": TIME,
    "aggregateId": TEXT,
    "aggregateType": ("User", "Wallet", "Balance", "TopUp", "Order", "Escrow", "Withdrawal", "Dispute", "ApiKey"),
}


@pytest.mark.claims("GET /events/log")
async def test_the_log(shop: Marketplace) -> None:
    trace = unique("trace")
    body = {"externalUserId": unique("u")}
    made = await shop.done("POST", "/users", body, status=201, headers={"x-request-id": trace})
    await shop.done("POST", f"/users/{made['id']}/balance/credit", {"amount": "5.00"})
    first = await shop.get(f"/events/log?limit=1&user_id={made['id']}&types=user.created,balance.*")
    assert set(first.json) == {"data", "pagination", "meta"}, first.json
    assert set(first.json["pagination"]) == {"hasMore", "nextCursor"}
    (created,) = first.data
    check([{name: value for name, value in created.items() if name not in ("payload", "metadata")}], [EVENT])
    assert created["eventType"] == "user.created"
    assert created["payload"]["userId"] == created["aggregateId"] == made["id"]
    told = {"marketplaceId": shop.id, "correlationId": trace, "userId": made["id"], "sequence": 1}
    assert created["metadata"] == told
    cursor = first.json["pagination"]["nextCursor"]
    assert (first.json["pagination"]["hasMore"], cursor) == (True, created["occurredAt"])
    for name in (cursor, created["eventId"]):
        rest = await shop.get(f"/events/log?cursor={name}&userId={made['id']}&resources=Balance")
        assert [event["eventType"] for event in rest.data] == ["balance.credited"]
        assert rest.json["pagination"]["hasMore"] is False
    for wrong in ("cursor=nothing", "types=no.such", "resources=Nothing", "limit=0", "unknown=1"):
        assert (await shop.get(f"/events/log?{wrong}")).code == "VALIDATION_ERROR"


@pytest.mark.claims("GET /events")
async def test_the_stream(shop: Marketplace) -> None:
    heard = await shop.get("/events?types=order.*,balance.*&resourceTypes=Order&named=false&since=2026-01-01")
    assert (heard.status, heard.headers["x-accel-buffering"]) == (200, "no")
    assert heard.headers["content-type"].startswith("text/event-stream")
    # What is no cursor begins with what happens now: a client that cannot know better is not refused.
    for odd in ("since=yesterday", "cursor=evt_unknown"):
        assert (await shop.get(f"/events?{odd}")).status == 200
    for wrong in ("types=no.such", "resources=Nothing", "limit=1"):
        assert (await shop.get(f"/events?{wrong}")).code == "VALIDATION_ERROR"
