"""Users over the wire (contract 2.3)."""

import pytest

from support.outside import eventually
from support.product import Marketplace, unique

USER_FIELDS = {
    *("id", "externalUserId", "email", "type", "status", "balance", "airtmLinked", "airtmUserId", "airtmEmail"),
    *("airtmLinkedAt", "wallet", "createdAt", "updatedAt"),
}


async def test_a_user_is_created_with_a_wallet_and_zero_balances(shop: Marketplace) -> None:
    name = unique("alice")
    heard = await shop.post("/users", {"externalUserId": name, "email": "alice@example.com", "type": "BUYER"})
    assert heard.status == 201
    assert set(heard.json) == {"data", "meta"}
    user = heard.data
    assert set(user) == USER_FIELDS
    assert user["id"].startswith("usr_")
    assert len(user["id"]) == 36
    assert (user["externalUserId"], user["email"], user["type"]) == (name, "alice@example.com", "BUYER")
    assert user["status"] == "ACTIVE"
    assert user["balance"] == {"available": "0.00", "reserved": "0.00", "currency": "USD"}
    assert user["wallet"]["publicKey"].startswith("G")
    assert user["airtmLinked"] is False
    assert await shop.events(user["id"]) == ["user.created"]


async def test_the_wallet_becomes_ready_by_itself(shop: Marketplace) -> None:
    made = await shop.done("POST", "/users", {"externalUserId": unique("ready")}, status=201)

    async def status() -> str:
        return str((await shop.done("GET", f"/users/{made['id']}"))["wallet"]["status"])

    await eventually(status, lambda found: found == "READY")
    account = await shop.live.product.horizon.account(made["wallet"]["publicKey"])
    assert account is not None
    assert account.usdc == 0, "a trustline to USDC is there, and it is empty"


async def test_the_same_external_id_answers_the_same_user_unchanged(shop: Marketplace) -> None:
    name = unique("twice")
    first = await shop.done("POST", "/users", {"externalUserId": name, "email": "a@example.com"}, status=201)
    again = await shop.done(
        "POST", "/users", {"externalUserId": name, "email": "b@example.com", "type": "SELLER"}, status=200
    )
    assert again["id"] == first["id"]
    assert (again["email"], again["type"]) == ("a@example.com", "BOTH")
    assert again["wallet"]["publicKey"] == first["wallet"]["publicKey"]
    assert await shop.events(first["id"]) == ["user.created"]


@pytest.mark.parametrize("alias", ["externalUserId", "external_user_id", "externalId"])
async def test_the_external_id_has_three_spellings(shop: Marketplace, alias: str) -> None:
    name = unique("alias")
    assert (await shop.done("POST", "/users", {alias: name}, status=201))["externalUserId"] == name


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"externalUserId": ""},
        {"externalUserId": "   "},
        {"externalUserId": None},
        {"externalUserId": 7},
        {"externalUserId": "x" * 256},
        {"externalUserId": "nul\0"},
        {"externalUserId": "ok", "metadata": []},
        {"externalUserId": "ok", "type": "buyer"},
        {"externalUserId": "ok", "type": "ADMIN"},
        {"externalUserId": "ok", "type": None},
        {"externalUserId": "ok", "email": "not-an-address"},
        {"externalUserId": "ok", "email": "a@b"},
        {"externalUserId": "ok", "email": ""},
        {"externalUserId": "ok", "email": "a b@example.com"},
        {"externalUserId": "ok", "email": "a\u0007b@example.com"},
        {"externalUserId": "ok", "email": "a@example.com\n"},
        {"externalUserId": "", "external_user_id": "ok"},
        {"externalUserId": "ok", "email": "a@" + "b" * 249 + ".com"},
        # A pattern that backtracks would stop the whole service for as long as this one takes.
        {"externalUserId": "ok", "email": "a@" + ".b" * 40_000 + "@"},
        {"externalUserId": "ok", "status": "SUSPENDED"},
        {"externalUserId": "ok", "marketplaceId": "mkt_1"},
        ["externalUserId"],
        "externalUserId",
    ],
)
async def test_a_bad_user_is_refused_and_nothing_is_made(shop: Marketplace, body: object) -> None:
    before = await shop.counts()
    details = await shop.refused("POST", "/users", body, status=400, code="VALIDATION_ERROR")
    assert details["validationErrors"]
    assert len(details["fields"]) == len(details["validationErrors"])
    assert await shop.counts() == before


async def test_pages_hold_every_user_once_newest_first(shop: Marketplace) -> None:
    here = await (await Marketplace.found(shop.live, shop.world, shop.http)).with_key("read", "write")
    made = [
        (await here.done("POST", "/users", {"externalUserId": unique("page"), "type": kind}, status=201))["id"]
        for kind in ("BUYER", "SELLER", "BUYER", "BOTH", "BUYER")
    ]
    seen, cursor = [], ""
    for _ in range(3):
        page = (await here.get(f"/users?limit=2{cursor}")).json
        seen += [user["id"] for user in page["data"]]
        cursor = f"&cursor={page['pagination']['nextCursor']}"
    assert seen == made[::-1]
    assert page["pagination"] == {"hasMore": False, "nextCursor": None}
    buyers = await here.done("GET", "/users?type=BUYER")
    assert [user["id"] for user in buyers] == [made[4], made[2], made[0]]
    assert await here.done("GET", "/users?status=SUSPENDED") == []


@pytest.mark.parametrize(
    "raw",
    [
        '{"externalUserId": "NAME", "metadata": {"a": 1000000000000000000000000000000, "b": 1e308, "c": -0.0}}',
        '{"externalUserId": "\U0001f600 \u202e NAME", "metadata": {"\\ud83d\\ude00": {"": [[]]}}}',
        '{"externalUserId": "first", "externalUserId": "NAME"}',
    ],
)
async def test_odd_json_is_json(shop: Marketplace, raw: str) -> None:
    body = raw.replace("NAME", unique("odd")).encode()
    made = await shop.done("POST", "/users", raw=body, status=201)
    assert (await shop.done("POST", "/users", raw=body, status=200))["id"] == made["id"]


@pytest.mark.parametrize(
    "raw", ['{"externalUserId": "\\ud800"}', '{"externalUserId": "x", "metadata": {"a": 1e999}}']
)
async def test_json_that_nothing_can_store_is_refused(shop: Marketplace, raw: str) -> None:
    await shop.refused("POST", "/users", raw=raw.encode(), status=400, code="VALIDATION_ERROR")


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "cursor=usr_1", "type=buyer", "colour=red"])
async def test_a_bad_query_is_refused(shop: Marketplace, query: str) -> None:
    await shop.refused("GET", f"/users?{query}", status=400, code="VALIDATION_ERROR")


async def test_external_ids_belong_to_their_marketplace(shop: Marketplace) -> None:
    other = await Marketplace.found(shop.live, shop.world, shop.http)
    name = unique("shared")
    here = await shop.done("POST", "/users", {"externalUserId": name}, status=201)
    there = await other.done("POST", "/users", {"externalUserId": name}, status=201)
    assert here["id"] != there["id"]
    await other.refused("GET", f"/users/{here['id']}", status=404, code="USER_NOT_FOUND")
