"""Making, listing, using and revoking API keys."""

import asyncio
import re
import secrets
from datetime import timedelta

import pytest
from access_office import Office

from asgi_client import Client
from offerhub.access.model import DEFAULT_MARKETPLACE_ID
from offerhub.kernel.clock import to_wire


async def test_a_key_is_shown_once_and_works(office: Office) -> None:
    made = await office.key("read", "write")
    assert re.fullmatch(r"ohk_live_key_[0-9A-Za-z]{32}_[0-9a-f]{48}", made["key"])
    assert made["api_key"] == made["key"]
    assert made["id"] in made["key"]
    assert (made["scopes"], made["userId"], made["expiresAt"]) == (["read", "write"], None, None)
    me = (await office.caller(made["key"]).get("/auth/me")).data
    assert (me["apiKeyId"], me["apiKeyName"], me["scopes"]) == (made["id"], "k", ["read", "write"])
    assert me["api_key"] == {"id": made["id"], "name": "k", "scopes": ["read", "write"]}
    assert (await office.caller(made["key"]).get("/api/v1/me")).data == me


async def test_the_secret_is_nowhere_in_the_database(office: Office) -> None:
    heard = await office.master.post("/auth/api-keys", {"scopes": ["read"]}, key=secrets.token_hex(8))
    made = heard.data
    secret = made["key"].rsplit("_", 1)[1]
    for table in ("api_keys", "audit_entries", "events", "outbox"):
        found = await office.rows(f"SELECT t::text AS line FROM {table} t")
        assert not any(secret in row["line"] for row in found), table
    bodies = await office.rows("SELECT body FROM idempotent_requests WHERE path = '/auth/api-keys'")
    assert bodies
    assert not any(secret.encode() in row["body"] for row in bodies)


async def test_a_repeated_creation_shows_the_same_key(office: Office) -> None:
    key = secrets.token_hex(8)
    first = await office.master.post("/auth/api-keys", {"scopes": ["read"]}, key=key)
    again = await office.master.post("/auth/api-keys", {"scopes": ["read"]}, key=key)
    assert (again.status, again.body) == (201, first.body)
    assert (await office.caller(again.data["key"]).get("/me")).status == 200


async def test_the_name_may_be_left_out(office: Office) -> None:
    heard = await office.master.post("/auth/api-keys", {"userId": None, "scopes": []})
    assert heard.status == 201
    assert heard.data["name"] == "API key"
    assert (await office.master.post("/auth/api-keys")).status == 201


@pytest.mark.parametrize("scopes", [["*"], ["orders", "users", "balance"], ["events.read"], ["a" * 64]])
async def test_scopes_that_are_taken(office: Office, scopes: list[str]) -> None:
    assert (await office.key(*scopes))["scopes"] == scopes


@pytest.mark.parametrize("scopes", ["read", [1], ["Read"], [""], ["a b"], ["read\n"], ["a" * 65], ["**"]])
async def test_scopes_that_are_not(office: Office, scopes: object) -> None:
    heard = await office.master.post("/auth/api-keys", {"scopes": scopes})
    assert (heard.status, heard.code) == (400, "VALIDATION_ERROR")
    assert heard.details["fields"][0]["field"].startswith("scopes")


@pytest.mark.parametrize(("scope", "status"), [("support", 201), ("admin", 201), ("*", 201), ("write", 403)])
async def test_who_makes_keys(office: Office, scope: str, status: int) -> None:
    caller = office.caller((await office.key(scope))["key"])
    assert (await caller.post("/auth/api-keys", {"scopes": ["read"]})).status == status
    assert (await caller.get("/auth/api-keys")).status == (200 if status == 201 else 403)


@pytest.mark.parametrize(("scope", "status"), [("support", 403), ("admin", 201), ("*", 201)])
async def test_who_grants_everything(office: Office, scope: str, status: int) -> None:
    caller = office.caller((await office.key(scope))["key"])
    for granted in ("*", "admin"):
        assert (await caller.post("/auth/api-keys", {"scopes": [granted]})).status == status


async def test_a_key_may_be_bound_to_a_user(office: Office) -> None:
    user_id = await office.user()
    made = await office.key("read", userId=user_id)
    assert made["userId"] == user_id
    assert (await office.caller(made["key"]).get("/me")).data["userId"] == user_id


async def test_the_user_must_be_of_the_marketplace(office: Office) -> None:
    stranger = await office.user(await office.marketplace())
    for user_id in (stranger, "usr_nobody", ""):
        heard = await office.master.post("/auth/api-keys", {"userId": user_id})
        assert (heard.status, heard.code) == (404, "USER_NOT_FOUND")
        again = await office.master.post("/auth/api-keys", {"userId": user_id}, key=secrets.token_hex(8))
        assert again.status == 404


async def test_a_bound_key_manages_keys_of_its_user_only(office: Office) -> None:
    mine, other = await office.user(), await office.user()
    bound = await office.key("support", userId=mine)
    foreign = await office.key("read")
    caller = office.caller(bound["key"])
    inherited = await caller.post("/auth/api-keys", {"scopes": ["read"]})
    assert inherited.data["userId"] == mine
    assert (await caller.post("/auth/api-keys", {"userId": other})).status == 403
    listed = {row["id"] for row in (await caller.get("/auth/api-keys")).data}
    assert listed == {bound["id"], inherited.data["id"]}
    assert (await caller.send("DELETE", f"/auth/api-keys/{foreign['id']}")).status == 404


@pytest.mark.parametrize("name", ["marketplaceId", "marketplace_id"])
async def test_only_the_master_names_a_marketplace(office: Office, name: str) -> None:
    other = await office.marketplace()
    made = await office.key("support", **{name: other})
    assert (await office.caller(made["key"]).get("/me")).data["marketplaceId"] == other
    caller = office.caller((await office.key("*"))["key"])
    assert (await caller.post("/auth/api-keys", {name: other})).status == 403
    assert (await caller.post("/auth/api-keys", {name: DEFAULT_MARKETPLACE_ID})).status == 201
    missing = await office.master.post("/auth/api-keys", {name: "mkt_" + "9" * 32})
    assert (missing.status, missing.code) == (404, "MARKETPLACE_NOT_FOUND")


async def test_a_marketplace_sees_its_own_keys_only(office: Office) -> None:
    here, there = await office.key("support"), await office.key("support", marketplaceId=await office.marketplace())
    caller = office.caller(there["key"])
    assert [row["id"] for row in (await caller.get("/auth/api-keys")).data] == [there["id"]]
    assert (await caller.send("DELETE", f"/auth/api-keys/{here['id']}")).status == 404
    assert (await caller.get("/me", headers=[("x-marketplace-id", DEFAULT_MARKETPLACE_ID)])).status == 404


async def test_the_master_acts_where_it_says(office: Office) -> None:
    other = await office.marketplace()
    there = [("x-marketplace-id", other)]
    me = (await office.master.get("/me", headers=there)).data
    assert (me["apiKeyId"], me["apiKeyName"], me["marketplaceId"]) == ("master", "master", other)
    assert me["scopes"] == ["read", "support", "write"]
    assert (await office.master.get("/me")).data["marketplaceId"] == DEFAULT_MARKETPLACE_ID
    assert (await office.master.get("/me", headers=[("x-marketplace-id", "mkt_x")])).status == 404
    # Named by a variable that was not set: not the default marketplace.
    assert (await office.master.get("/me", headers=[("x-marketplace-id", "")])).status == 404


async def test_the_list_has_pages(office: Office) -> None:
    marketplace = await office.marketplace()
    made = [(await office.key("read", marketplaceId=marketplace))["id"] for _ in range(3)]
    there = [("x-marketplace-id", marketplace)]
    first = await office.master.get("/auth/api-keys?limit=2", headers=there)
    assert [row["id"] for row in first.data] == made[:0:-1]
    assert first.json["pagination"] == {"hasMore": True, "nextCursor": made[1]}
    second = await office.master.get(f"/auth/api-keys?limit=2&cursor={made[1]}", headers=there)
    assert [row["id"] for row in second.data] == made[:1]
    assert second.json["pagination"] == {"hasMore": False, "nextCursor": None}
    row = first.data[0]
    assert re.fullmatch(r"ohk_live_\*\*\*[0-9a-f]{4}", row["maskedKey"])
    assert set(row) == {
        "id", "maskedKey", "name", "userId", "scopes", "createdAt", "lastUsedAt", "expiresAt", "revokedAt",
    }  # fmt: skip
    assert row["scopes"] == ["read"]
    for query in ("limit=0", "limit=x", "cursor=key_unknown"):
        assert (await office.master.get(f"/auth/api-keys?{query}")).status == 400


async def test_the_list_filters_by_user(office: Office) -> None:
    user_id = await office.user()
    made = await office.key("read", userId=user_id)
    await office.key("read")
    listed = await office.master.get(f"/auth/api-keys?userId={user_id}")
    assert [row["id"] for row in listed.data] == [made["id"]]


async def test_a_revoked_key_is_refused_within_a_second(office: Office) -> None:
    made = await office.key("read")
    caller = office.caller(made["key"])
    assert (await caller.get("/me")).status == 200
    revoked = await office.master.send("DELETE", f"/auth/api-keys/{made['id']}")
    assert revoked.data["status"] == "revoked"
    assert revoked.data["revokedAt"] == revoked.data["revoked_at"]
    office.clock.advance(1.0)
    heard = await caller.get("/me")
    assert (heard.status, heard.code) == (401, "INVALID_API_KEY")
    again = await office.master.send("DELETE", f"/auth/api-keys/{made['id']}")
    assert again.data == revoked.data
    events = await office.rows("SELECT type FROM events WHERE aggregate_id = $1 ORDER BY sequence", made["id"])
    assert [row["type"] for row in events] == ["api_key.created", "api_key.revoked"]


async def test_an_unknown_key_cannot_be_revoked(office: Office) -> None:
    heard = await office.master.send("DELETE", "/auth/api-keys/key_unknown")
    assert (heard.status, heard.code) == (404, "API_KEY_NOT_FOUND")


async def test_a_key_ends_when_it_says(office: Office) -> None:
    ends = office.clock.now() + timedelta(seconds=90)
    for made in (await office.key("read", ttl=90), await office.key("read", expiresAt=to_wire(ends))):
        assert made["expiresAt"] == to_wire(ends)
        caller = office.caller(made["key"])
        assert (await caller.get("/me")).status == 200
        office.clock.advance(89.9)
        assert (await caller.get("/me")).status == 200
        office.clock.advance(0.1)
        assert (await caller.get("/me")).code == "INVALID_API_KEY"
        office.clock.advance(-90)


@pytest.mark.parametrize(
    "body",
    [
        {"ttl": 59},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"expiresAt": "2030-01-01T00:00:00"},
        {"expiresAt": "soon"},
        {"ttl": 90, "expiresAt": "2030-01-01T00:00:00Z"},
        {"name": ""},
        {"name": "x" * 201},
    ],
)
async def test_bodies_that_are_refused(office: Office, body: dict[str, object]) -> None:
    heard = await office.master.post("/auth/api-keys", body)
    assert (heard.status, heard.code) == (400, "VALIDATION_ERROR")
    assert heard.details["fields"]


async def test_credentials_that_are_no_keys(office: Office) -> None:
    made = (await office.key("read"))["key"]
    wrong = ["ohk_test_intentionally_invalid", "ohk_", made[:-1], made + "0", made.upper(), made[:-48] + "0" * 48]
    wrong += ["ohk_live_key_" + "0" * 32 + "_" + "0" * 48, "ohk_tok_a.b.c", "caf\xe9", "x", MASTER_WRONG]
    for credential in wrong:
        heard = await office.caller(credential).get("/me")
        assert (heard.status, heard.code) == (401, "INVALID_API_KEY"), credential
    assert (await Client(office.app).get("/me")).code == "UNAUTHORIZED"


MASTER_WRONG = "e2e_master_key_for_testing_onlY"


async def test_the_last_use_is_noted_once_a_minute(office: Office) -> None:
    made = await office.key("read")
    caller = office.caller(made["key"])

    async def last_used() -> object:
        await office.credentials.close()
        rows = await office.rows("SELECT last_used_at FROM api_keys WHERE id = $1", made["id"])
        return rows[0]["last_used_at"]

    assert await last_used() is None
    await caller.get("/me")
    first = await last_used()
    assert first is not None
    await office.rows(
        "UPDATE api_keys SET last_used_at = now() - interval '2 min' WHERE id = $1 RETURNING 1", made["id"]
    )
    office.clock.advance(59)
    before = await last_used()
    await caller.get("/me")
    assert await last_used() == before
    office.clock.advance(1)
    await asyncio.gather(*(caller.get("/me") for _ in range(3)))
    assert await last_used() != before


async def test_every_change_leaves_its_audit_entry(office: Office) -> None:
    made = await office.key("support", "write")
    await office.caller(made["key"]).post(f"/auth/api-keys/{made['id']}/token", headers=[("x-request-id", "corr")])
    await office.master.send("DELETE", f"/auth/api-keys/{made['id']}")
    entries = await office.rows(
        "SELECT * FROM audit_entries WHERE resource_id = $1 AND action LIKE 'API%' ORDER BY occurred_at", made["id"]
    )
    assert [entry["action"] for entry in entries] == ["API_KEY_CREATED", "API_TOKEN_ISSUED", "API_KEY_REVOKED"]
    assert [entry["actor_type"] for entry in entries] == ["MASTER", "API_KEY", "MASTER"]
    assert entries[1]["correlation_id"] == "corr"
    assert entries[0]["payload_after"]["scopes"] == ["support", "write"]
    assert entries[2]["payload_before"]["revokedAt"] is None
    assert entries[2]["payload_after"]["revokedAt"] is not None


async def test_marketplaces(office: Office) -> None:
    name = secrets.token_hex(8)
    made = await office.master.post("/admin/marketplaces", {"name": name})
    again = await office.master.post("/admin/marketplaces", {"name": name})
    assert (made.status, again.status) == (201, 200)
    assert again.data == made.data
    listed = (await office.master.get("/admin/marketplaces")).data
    assert {row["id"] for row in listed} >= {made.data["id"], DEFAULT_MARKETPLACE_ID}
    entries = await office.rows("SELECT action FROM audit_entries WHERE resource_id = $1", made.data["id"])
    assert [entry["action"] for entry in entries] == ["MARKETPLACE_CREATED"]
    caller = office.caller((await office.key("*", "admin"))["key"])
    assert (await caller.post("/admin/marketplaces", {"name": "x"})).status == 403
    assert (await caller.get("/admin/marketplaces")).status == 403
