"""API keys at work: legacy scopes, revocation, tokens, and the rate limit."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from support.product import MASTER_KEY, Marketplace, Running, running, unique

INSTALLER_SCOPES = ("orders", "users", "balance", "withdrawals", "topups", "support")
"""What the installer of the existing product gives its first key."""


async def test_a_key_of_the_installer_runs_a_marketplace(shop: Marketplace) -> None:
    key = await shop.with_key(*INSTALLER_SCOPES)
    ids = []
    for _ in range(2):
        made = await key.done("POST", "/users", {"externalUserId": unique("legacy")}, status=201)
        await key.done("POST", f"/users/{made['id']}/balance/credit", {"amount": "5.00"})
        ids.append(made["id"])
    order = {"buyer_id": ids[0], "seller_id": ids[1], "amount": "5.00", "title": "t"}
    order_id = (await key.done("POST", "/orders", order, status=201))["id"]
    assert (await key.done("POST", f"/orders/{order_id}/reserve"))["status"] == "FUNDS_RESERVED"
    assert (await key.done("GET", f"/users/{ids[0]}/balance"))["reserved"] == "5.00"
    assert await key.done("GET", "/withdrawals") == []
    # The scopes are what they say: this key has neither `wallet` nor `disputes`.
    await key.refused("GET", f"/users/{ids[0]}/wallet", status=403, code="INSUFFICIENT_SCOPE")
    await key.refused("GET", "/disputes", status=403, code="INSUFFICIENT_SCOPE")


async def test_a_domain_s_scope_ends_at_the_domain(shop: Marketplace) -> None:
    users = await shop.with_key("users")
    made = await users.done("POST", "/users", {"externalUserId": unique("u")}, status=201)
    path = f"/users/{made['id']}/balance"
    await users.refused("GET", path, status=403, code="INSUFFICIENT_SCOPE")
    await users.refused("POST", f"{path}/credit", {"amount": "1.00"}, status=403, code="INSUFFICIENT_SCOPE")
    assert (await shop.done("GET", path))["available"] == "0.00"


async def test_a_token_lives_as_long_as_the_installation_says(shop: Marketplace, environ: dict[str, str]) -> None:
    async def lifetime(installation: Marketplace, body: dict[str, int] | None = None) -> float:
        path = f"/auth/api-keys/{(await shop.done('GET', '/auth/me'))['apiKeyId']}/token"
        asked = datetime.now(UTC)
        issued = await installation.done("POST", path, body, status=201)
        return (datetime.fromisoformat(issued["expiresAt"]) - asked).total_seconds()

    assert await lifetime(shop) == pytest.approx(3600, abs=30)
    async with running({**environ, "JWT_EXPIRES_IN": "15m"}, jobs=False) as other:
        assert await lifetime(shop.on(other)) == pytest.approx(900, abs=30)
        assert await lifetime(shop.on(other), {"ttl": 120}) == pytest.approx(120, abs=30)


async def test_a_revoked_key_and_its_tokens_end_within_a_second(shop: Marketplace) -> None:
    made = await shop.done("POST", "/auth/api-keys", {"name": "k", "scopes": ["read", "write"]}, status=201)
    key = shop.using(made["key"])
    token = shop.using((await key.done("POST", f"/auth/api-keys/{made['id']}/token", status=201))["token"])
    for one in (key, token):
        assert (await one.done("GET", "/auth/me"))["apiKeyId"] == made["id"]
    gone = await shop.done("DELETE", f"/auth/api-keys/{made['id']}")
    assert (gone["id"], gone["status"]) == (made["id"], "revoked")
    # Look-ups are remembered for one second at most, so after it there is no way left.
    await asyncio.sleep(1.05)
    for one in (key, token):
        await one.refused("GET", "/auth/me", status=401, code="INVALID_API_KEY")
        await one.refused("POST", "/users", {"externalUserId": "x"}, status=401, code="INVALID_API_KEY")
    assert (await shop.done("DELETE", f"/auth/api-keys/{made['id']}"))["revokedAt"] == gone["revokedAt"]


async def test_the_secret_is_shown_once_and_stored_nowhere(shop: Marketplace) -> None:
    made = await shop.done("POST", "/auth/api-keys", {"name": "secret", "scopes": []}, status=201, key="make-key")
    assert made["key"].startswith("ohk_live_key_")
    replay = await shop.post("/auth/api-keys", {"name": "secret", "scopes": []}, key="make-key")
    assert replay.data["key"] == made["key"], "the same request gets the same answer"
    listed = await shop.get("/auth/api-keys")
    assert made["key"].encode() not in listed.body
    secret = made["key"].rsplit("_", 1)[1]
    tables = ("api_keys", "events", "audit_entries", "idempotent_requests", "outbox")
    for table in tables:
        sql = f"SELECT count(*) FROM {table} t WHERE to_jsonb(t)::text LIKE $1"
        for needle in (secret, secret.encode().hex()):
            assert await shop.live.value(sql, f"%{needle}%") == 0, table


async def test_a_key_does_not_reach_beyond_its_marketplace(shop: Marketplace) -> None:
    other = await Marketplace.found(shop.live, shop.world, shop.http)
    user = await other.done("POST", "/users", {"externalUserId": unique("far")}, status=201)
    body = {"name": "k", "scopes": ["read"]}
    await shop.refused(
        "POST", "/auth/api-keys", {**body, "marketplaceId": other.id}, status=403, code="INSUFFICIENT_SCOPE"
    )
    await shop.refused("POST", "/auth/api-keys", {**body, "userId": user["id"]}, status=404, code="USER_NOT_FOUND")
    await shop.refused(
        "GET", "/users", status=404, code="MARKETPLACE_NOT_FOUND", headers={"x-marketplace-id": other.id}
    )
    ids = {key["id"] for key in await other.done("GET", "/auth/api-keys")}
    assert not ids & {key["id"] for key in await shop.done("GET", "/auth/api-keys")}
    await shop.refused("GET", "/admin/marketplaces", status=403, code="INSUFFICIENT_SCOPE")


async def test_the_same_idempotency_key_of_two_credentials_is_two_requests(shop: Marketplace) -> None:
    one, other = await shop.with_key("write"), await shop.with_key("write")
    made = await shop.done("POST", "/users", {"externalUserId": unique("u")}, status=201)
    path = f"/users/{made['id']}/balance/credit"
    for key in (one, other, one, other):
        await key.done("POST", path, {"amount": "1.00"}, key="same")
    assert (await shop.done("GET", f"/users/{made['id']}/balance"))["available"] == "2.00"


async def test_both_base_paths_and_both_headers_work(shop: Marketplace) -> None:
    for path in ("/api/v1/auth/me", "/auth/me", "/api/v1/me"):
        for headers in ({"x-api-key": shop.credential}, {"authorization": f"bearer {shop.credential}"}):
            async with shop.http.get(shop.live.url + path, headers=headers) as answer:
                assert answer.status == 200, (path, headers.keys())


@pytest.fixture(scope="module")
async def limited(environ: dict[str, str]) -> AsyncIterator[Running]:
    """A process that allows five requests a minute."""
    extra = {"RATE_LIMIT_MAX": "5", "RATE_LIMIT_WINDOW_SECONDS": "3600"}
    async with running({**environ, **extra}, jobs=False) as found:
        yield found


async def test_too_many_requests_are_told_when_to_come_back(shop: Marketplace, limited: Running) -> None:
    key = (await shop.with_key("read")).on(limited)
    heard = [await key.get("/users") for _ in range(7)]
    assert [one.status for one in heard] == [200] * 5 + [429] * 2
    assert [one.headers["x-ratelimit-remaining"] for one in heard] == ["4", "3", "2", "1", "0", "0", "0"]
    refused = heard[-1]
    assert refused.code == "RATE_LIMITED"
    assert (refused.details["limit"], refused.details["windowSeconds"]) == (5, 3600)
    assert int(refused.headers["retry-after"]) == refused.details["retryAfter"] > 0
    assert (await (await shop.with_key("read")).on(limited).get("/users")).status == 200, "another key has its own"
    health = [(await key.get("/health")).status for _ in range(7)]
    assert health == [200] * 5 + [429] * 2, "public routes are limited by address"
    assert (await key.on(limited).using(MASTER_KEY).get("/auth/me")).status == 200
