"""Contract 1.2 and 2.2: credentials, API keys and tokens."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.outside import eventually
from support.product import MASTER_KEY, Marketplace, Person, Running, running, unique
from support.wire import TEXT, TIME, Nullable, an_id, opened

KEY = r"ohk_live_key_[0-9A-Za-z]{32}_[0-9a-f]{48}"
GUIDE_SCOPES = ["orders", "users", "balance", "withdrawals", "topups"]


CREATED = {
    "id": an_id("key"),
    "key": re.compile(KEY),
    "api_key": re.compile(KEY),
    "name": TEXT,
    "scopes": [TEXT],
    "userId": Nullable(an_id("usr")),
    "marketplaceId": an_id("mkt"),
    "createdAt": TIME,
    "expiresAt": Nullable(TIME),
}
LISTED = {
    "id": an_id("key"),
    "maskedKey": re.compile(r"ohk_live_\*\*\*[0-9a-f]{4}"),
    "name": TEXT,
    "scopes": [TEXT],
    "userId": Nullable(an_id("usr")),
    "createdAt": TIME,
    "lastUsedAt": Nullable(TIME),
    "expiresAt": Nullable(TIME),
    "revokedAt": Nullable(TIME),
}
TOKEN = {"token": re.compile(r"ohk_tok_[\w.-]+"), "scopes": [TEXT], "expiresAt": TIME, "expires_at": TIME}
ME = {
    "apiKeyId": TEXT,
    "apiKeyName": TEXT,
    "scopes": [TEXT],
    "userId": Nullable(an_id("usr")),
    "marketplaceId": an_id("mkt"),
    "marketplace_id": an_id("mkt"),
    "environment": ("live",),
    "api_key": {"id": TEXT, "name": TEXT, "scopes": [TEXT]},
}


@pytest.mark.claims("POST /auth/api-keys", "GET /auth/me", "GET /me")
async def test_the_key_of_the_deployment_guide(shop: Marketplace) -> None:
    body = {"name": "My Marketplace", "scopes": GUIDE_SCOPES}
    made = opened(await shop.using(MASTER_KEY).post("/auth/api-keys", body), "DATA", CREATED, 201)
    assert (made["name"], made["scopes"], made["userId"], made["expiresAt"]) == (
        *("My Marketplace", GUIDE_SCOPES, None, None),
    )
    assert made["api_key"] == made["key"]
    assert made["key"].startswith(f"ohk_live_{made['id']}_")
    for path in ("/auth/me", "/me"):
        me = opened(await shop.using(made["key"]).get(path), "DATA", ME)
        assert (me["apiKeyId"], me["apiKeyName"]) == (made["id"], "My Marketplace")
        assert sorted(me["scopes"]) == sorted(GUIDE_SCOPES)
    master = opened(await shop.using(MASTER_KEY).get("/auth/me"), "DATA", ME)
    assert (master["apiKeyId"], master["apiKeyName"]) == ("master", "master")
    assert set(master["scopes"]) == {"read", "write", "support"}


@pytest.mark.parametrize(
    ("body", "name", "scopes"),
    [
        (None, "API key", []),
        ({}, "API key", []),
        ({"scopes": ["*"]}, "API key", ["*"]),
        ({"name": "n", "scopes": ["read", "read"], "userId": None}, "n", ["read"]),
        ({"name": "n", "scopes": ["made-up_scope.x"]}, "n", ["made-up_scope.x"]),
    ],
)
async def test_what_a_key_may_leave_out(shop: Marketplace, body: Any, name: str, scopes: list[str]) -> None:
    made = opened(await shop.post("/auth/api-keys", body), "DATA", CREATED, 201)
    assert (made["name"], made["scopes"]) == (name, scopes)


@pytest.mark.parametrize(
    "body",
    [
        *({"scopes": "read"}, {"scopes": [1]}, {"scopes": ["Read"]}, {"scopes": [""]}, {"scopes": ["a b"]}),
        *({"name": 7}, {"expiresAt": "tomorrow"}, {"expiresAt": "2020-01-01T00:00:00Z"}, {"ttl": 0}),
        {"scopes": ["x" * 65]},
    ],
)
async def test_what_is_no_key(shop: Marketplace, body: dict[str, Any]) -> None:
    before = await shop.counts()
    details = await shop.refused("POST", "/auth/api-keys", body, status=400, code="VALIDATION_ERROR")
    assert len(details["fields"]) == len(details["validationErrors"]) >= 1
    assert await shop.counts() == before


@pytest.mark.claims("GET /auth/api-keys", "DELETE /auth/api-keys/{key_id}", "POST /auth/api-keys/{key_id}/token")
async def test_the_life_of_a_key(shop: Marketplace) -> None:
    made = await shop.done("POST", "/auth/api-keys", {"name": "k", "scopes": ["read", "write"]}, status=201)
    key, path = shop.using(made["key"]), f"/auth/api-keys/{made['id']}"
    listed = {one["id"]: one for one in opened(await shop.get("/auth/api-keys?limit=100"), "PAGE", LISTED)}
    assert listed[made["id"]]["maskedKey"] == f"ohk_live_***{made['key'][-4:]}"
    asked = datetime.now(UTC)
    issued = opened(await key.post(f"{path}/token", {"ttl": 60}), "DATA", TOKEN, 201)
    assert issued["expires_at"] == issued["expiresAt"]
    life = datetime.fromisoformat(issued["expiresAt"]) - asked
    assert timedelta(seconds=55) < life < timedelta(seconds=90)
    for ttl in (59, 86_401, "60", -1):
        await key.refused("POST", f"{path}/token", {"ttl": ttl}, status=400, code="VALIDATION_ERROR")
    assert (await key.post(f"{path}/token", {"ttl_seconds": 86_400})).status == 201
    revoked = {"id": an_id("key"), "status": ("revoked",), "revokedAt": TIME, "revoked_at": TIME}
    gone = opened(await shop.send("DELETE", path), "DATA", revoked)
    assert opened(await shop.send("DELETE", path), "DATA", revoked) == gone
    await shop.refused("POST", f"{path}/token", status=409, code="INVALID_STATE")
    for method, tail in (("DELETE", ""), ("POST", "/token")):
        unknown = f"/auth/api-keys/key_{'0' * 32}{tail}"
        await shop.refused(method, unknown, status=404, code="API_KEY_NOT_FOUND")
    assert {"API_KEY_CREATED", "API_TOKEN_ISSUED", "API_KEY_REVOKED"} <= set(await shop.audit(made["id"]))
    assert await shop.events(made["id"]) == ["api_key.created", "api_key.revoked"]


async def test_a_token_may_not_do_more_than_both(shop: Marketplace) -> None:
    everything = await shop.done("POST", "/auth/api-keys", {"scopes": ["*"]}, status=201)
    writer = await shop.with_key("write")
    path = f"/auth/api-keys/{everything['id']}/token"
    await writer.refused("POST", path, status=403, code="INSUFFICIENT_SCOPE")
    supporter = await shop.with_key("write", "support")
    await supporter.refused("POST", path, status=403, code="INSUFFICIENT_SCOPE")
    token = shop.using((await shop.using(everything["key"]).done("POST", path, status=201))["token"])
    await token.refused("POST", path, status=403, code="INSUFFICIENT_SCOPE")
    assert (await token.done("GET", "/auth/me"))["apiKeyId"] == everything["id"]


@pytest.fixture(scope="module")
async def elsewhere(environ: dict[str, str]) -> Any:
    """Another process of the product, on the same database."""
    async with running(environ, jobs=False) as found:
        yield found


async def test_a_revoked_key_ends_at_every_process_within_a_second(shop: Marketplace, elsewhere: Running) -> None:
    made = await shop.done("POST", "/auth/api-keys", {"scopes": ["read", "write"]}, status=201)
    key = shop.using(made["key"])
    issued = await key.done("POST", f"/auth/api-keys/{made['id']}/token", status=201)
    callers = [key.on(elsewhere), shop.using(issued["token"]).on(elsewhere)]
    for one in callers:
        assert (await one.get("/auth/me")).status == 200, "it is remembered there now"
    await shop.done("DELETE", f"/auth/api-keys/{made['id']}")
    await asyncio.sleep(1.0)
    for one in callers:
        await one.refused("GET", "/auth/me", status=401, code="INVALID_API_KEY")
        await one.refused("POST", "/users", {"externalUserId": "x"}, status=401, code="INVALID_API_KEY")


async def test_a_key_and_its_tokens_expire(shop: Marketplace, elsewhere: Running) -> None:
    made = await shop.done("POST", "/auth/api-keys", {"scopes": ["write"], "ttl": 3600}, status=201)
    key = shop.using(made["key"])
    issued = await key.done("POST", f"/auth/api-keys/{made['id']}/token", {"ttl": 86_400}, status=201)
    assert issued["expiresAt"] == made["expiresAt"], "a token does not outlive its key"
    late = "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE id = $1"
    await shop.live.product.database.run(lambda tx: tx.execute(late, made["id"]))
    for credential in (made["key"], issued["token"]):
        one = shop.using(credential).on(elsewhere)
        await one.refused("GET", "/auth/me", status=401, code="INVALID_API_KEY")


async def test_the_last_use_is_recorded(shop: Marketplace) -> None:
    made = await shop.done("POST", "/auth/api-keys", {"scopes": ["read"]}, status=201)
    sql = "SELECT last_used_at FROM api_keys WHERE id = $1"
    assert await shop.live.value(sql, made["id"]) is None
    await shop.using(made["key"]).done("GET", "/users")
    await eventually(lambda: shop.live.value(sql, made["id"]), lambda found: found is not None)
    listed = {one["id"]: one for one in await shop.done("GET", "/auth/api-keys?limit=100")}
    assert listed[made["id"]]["lastUsedAt"] is not None


async def test_the_last_use_does_not_hold_a_request_up(shop: Marketplace) -> None:
    made = await shop.done("POST", "/auth/api-keys", {"scopes": ["read"]}, status=201)
    database = shop.live.product.database

    async def while_it_is_locked(tx: Any) -> None:
        await tx.row("SELECT FROM api_keys WHERE id = $1 FOR UPDATE", made["id"])
        await shop.using(made["key"]).done("GET", "/users")

    await database.run(while_it_is_locked)


async def test_the_master_key_is_replaced_without_a_gap(shop: Marketplace, environ: dict[str, str]) -> None:
    new = "a-new-master-key-with-enough-characters"
    # Nothing may be derived from a key that is being replaced.
    fixed = {"WALLET_ENCRYPTION_KEY": wallet_key(shop), "OFFERHUB_JWT_SECRET": "s" * 40}
    overlap = {**environ, **fixed, "OFFERHUB_MASTER_KEY": new, "OFFERHUB_MASTER_KEY_PREVIOUS": MASTER_KEY}
    async with running(overlap, jobs=False) as both:
        for credential in (new, MASTER_KEY):
            me = await shop.using(credential).on(both).done("GET", "/auth/me")
            assert me["apiKeyId"] == "master"
        assert (await shop.on(both).get("/auth/me")).status == 200, "API keys go on working"
    async with running({**environ, **fixed, "OFFERHUB_MASTER_KEY": new}, jobs=False) as after:
        assert (await shop.using(new).on(after).get("/auth/me")).status == 200
        await shop.using(MASTER_KEY).on(after).refused("GET", "/auth/me", status=401, code="INVALID_API_KEY")


def wallet_key(shop: Marketplace) -> str:
    """The key that the running product has derived, in the form of its variable."""
    return shop.live.product.settings.keys.wallet_key.reveal().hex()


async def test_both_headers_and_which_wins(shop: Marketplace) -> None:
    nobody, key = shop.using(""), shop.credential
    assert (await nobody.get("/auth/me", headers={"x-api-key": key})).status == 200
    assert (await nobody.get("/auth/me", headers={"authorization": f"BEARER  {key} "})).status == 200
    both = {"authorization": "Bearer ohk_live_wrong", "x-api-key": key}
    await nobody.refused("GET", "/auth/me", status=401, code="INVALID_API_KEY", headers=both)
    both = {"authorization": f"Bearer {key}", "x-api-key": "wrong"}
    assert (await nobody.get("/auth/me", headers=both)).status == 200
    master = {"x-api-key": MASTER_KEY}
    assert (await nobody.done("GET", "/auth/me", headers=master))["apiKeyId"] == "master"


async def test_a_bound_key_stays_with_its_user(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    mine, theirs = pair
    bound = await shop.with_key("read", "write", "support", userId=mine.id)
    assert (await bound.done("GET", "/auth/me"))["userId"] == mine.id
    keys = opened(await bound.get("/auth/api-keys"), "PAGE", LISTED)
    assert {one["userId"] for one in keys} == {mine.id}
    listed = opened(await shop.get(f"/auth/api-keys?userId={mine.id}"), "PAGE", LISTED)
    assert [one["id"] for one in listed] == [one["id"] for one in keys]
    foreign = {"scopes": ["read"], "userId": theirs.id}
    await bound.refused("POST", "/auth/api-keys", foreign, status=403, code="INSUFFICIENT_SCOPE")
    await bound.refused("GET", f"/withdrawals?userId={theirs.id}", status=403, code="INSUFFICIENT_SCOPE")


@pytest.mark.claims("POST /admin/marketplaces", "GET /admin/marketplaces")
async def test_marketplaces(shop: Marketplace) -> None:
    master, form = shop.using(MASTER_KEY), {"id": an_id("mkt"), "name": TEXT, "createdAt": TIME}
    name = unique("market")
    made = opened(await master.post("/admin/marketplaces", {"name": name}), "DATA", form, 201)
    assert opened(await master.post("/admin/marketplaces", {"name": name}), "DATA", form, 200) == made
    assert made in opened(await master.get("/admin/marketplaces"), "DATA", [form])
