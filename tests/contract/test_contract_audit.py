"""Contract 2.13 and 6.3: the audit trail."""

from typing import Any

import pytest

from support.product import Marketplace, unique
from support.wire import TEXT, TIME, Nullable, an_id, check

ENTRY = {
    "id": an_id("aud"),
    "occurredAt": TIME,
    "action": TEXT,
    "resourceType": TEXT,
    "resourceId": TEXT,
    "actorType": Nullable(TEXT),
    "actorId": Nullable(TEXT),
    "userId": Nullable(an_id("usr")),
    "result": Nullable(("SUCCESS", "FAILURE", "DISCREPANCY_FOUND")),
    "correlationId": Nullable(TEXT),
}


def audited(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["action"] for entry in entries]


@pytest.fixture(scope="module")
async def clerk(shop: Marketplace) -> Marketplace:
    return await shop.with_key("support")


async def entries(clerk: Marketplace, query: str) -> list[dict[str, Any]]:
    heard = await clerk.get(f"/audit/logs?{query}")
    found = []
    for entry in heard.data:
        assert {"payloadBefore", "payloadAfter"} <= set(entry)
        found.append({name: value for name, value in entry.items() if not name.startswith("payload")})
    assert set(heard.json) == {"data", "pagination", "meta"}
    assert set(heard.json["pagination"]) == {"hasMore", "nextCursor"}
    check(found, [ENTRY])
    return list(heard.data)


@pytest.mark.claims("GET /audit/logs")
async def test_the_trail(shop: Marketplace, clerk: Marketplace) -> None:
    trace = unique("trace")
    body = {"externalUserId": unique("u"), "email": "ana.perez@example.com"}
    made = await shop.done("POST", "/users", body, status=201, headers={"x-request-id": trace})
    path = f"/users/{made['id']}/balance"
    await shop.done("POST", f"{path}/credit", {"amount": "5.00"})
    await shop.done("POST", f"{path}/debit", {"amount": "1.00"})
    here = f"resourceId={made['id']}"
    everything = await entries(clerk, f"{here}&limit=100")
    # Entries of one change have one moment, and no sequence among them.
    changes = {
        "DEBIT_AVAILABLE": 2,
        "balance.debited": 2,
        "CREDIT_AVAILABLE": 1,
        "balance.credited": 1,
        "user.created": 0,
    }
    sequence = [changes[action] for action in audited(everything) if action in changes]
    assert sequence == [2, 2, 1, 1, 0], "newest first"
    of_user = await entries(clerk, f"{here}&resourceType=user&action=CREATE")
    assert audited(of_user) == ["user.created"]
    [created] = of_user
    assert (created["correlationId"], created["actorType"], created["result"]) == (trace, "API_KEY", "SUCCESS")
    assert created["payloadAfter"]["email"] == "a***@example.com"
    assert "ana.perez" not in str(everything), "addresses are masked"
    balance = await entries(clerk, f"{here}&resourceType=Balance")
    assert set(audited(balance)) == {"CREDIT_AVAILABLE", "balance.credited", "DEBIT_AVAILABLE", "balance.debited"}
    assert audited(await entries(clerk, f"{here}&action=DEBIT_AVAILABLE")) == ["DEBIT_AVAILABLE"]
    assert {"CREDIT_AVAILABLE", "DEBIT_AVAILABLE"} <= set(audited(await entries(clerk, f"{here}&action=UPDATE")))
    assert await entries(clerk, f"{here}&action=DELETE") == []
    assert audited(await entries(clerk, f"userId={made['id']}&action=user.created")) == ["user.created"]
    span = f"from={created['occurredAt']}&to={created['occurredAt']}"
    assert "user.created" in audited(await entries(clerk, f"{here}&{span}"))


async def test_pages_of_the_trail(shop: Marketplace, clerk: Marketplace) -> None:
    made = await shop.done("POST", "/users", {"externalUserId": unique("u")}, status=201)
    for _ in range(4):
        await shop.done("POST", f"/users/{made['id']}/balance/credit", {"amount": "0.01"})
    here, seen, cursor = f"resourceId={made['id']}&resourceType=Balance&limit=3", [], ""
    while True:
        page = (await clerk.get(f"/audit/logs?{here}{cursor}")).json
        seen += [entry["id"] for entry in page["data"]]
        if not page["pagination"]["hasMore"]:
            break
        cursor = f"&cursor={page['pagination']['nextCursor']}"
    assert len(seen) == len(set(seen)) == 8
    assert seen == sorted(seen, reverse=True)
    for query in ("limit=0", "limit=101", "limit=x", "cursor=aud_unknown", "from=yesterday", "colour=red"):
        await clerk.refused("GET", f"/audit/logs?{query}", status=400, code="VALIDATION_ERROR")


async def test_secrets_do_not_reach_the_trail(shop: Marketplace) -> None:
    made = await shop.done("POST", "/auth/api-keys", {"name": "secret", "scopes": ["read"]}, status=201)
    token = await shop.done("POST", f"/auth/api-keys/{made['id']}/token", status=201)
    trail = str((await shop.get(f"/audit/logs?resourceId={made['id']}")).data)
    assert "API_KEY_CREATED" in trail
    for secret in (made["key"], made["key"].rsplit("_", 1)[1], token["token"]):
        assert secret not in trail
