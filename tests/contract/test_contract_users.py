"""Contract 2.3: users, their events (6.2) and their audit entries (6.3)."""

import asyncio

import pytest

from support.product import Marketplace, unique
from support.wire import TEXT, TIME, USER, an_id, opened, told

GUIDE_SCOPES = ("orders", "users", "balance", "withdrawals", "topups")


@pytest.mark.claims("POST /users", "GET /users/{user_id}", "GET /users")
async def test_a_user(shop: Marketplace) -> None:
    name = unique("ana")
    body = {"externalUserId": name, "email": "ana@example.com", "type": "SELLER", "metadata": {"a": 1}}
    made = opened(await shop.post("/users", body), "DATA", USER, 201)
    assert (made["externalUserId"], made["email"], made["type"], made["status"]) == (
        *(name, "ana@example.com", "SELLER", "ACTIVE"),
    )
    assert made["balance"] == {"available": "0.00", "reserved": "0.00", "currency": "USD"}
    assert (made["airtmLinked"], made["airtmUserId"], made["airtmLinkedAt"]) == (False, None, None)
    assert (await shop.units(made["id"])) == {}
    again = opened(await shop.post("/users", {**body, "type": "BUYER"}), "DATA", USER, 200)
    read = opened(await shop.get(f"/users/{made['id']}"), "DATA", USER)
    assert again["id"] == read["id"] == made["id"]
    assert again["type"] == "SELLER"
    assert made["id"] in [one["id"] for one in opened(await shop.get("/users?type=SELLER"), "PAGE", USER)]

    [event] = await told(shop, made["id"], "user.created")
    assert event.aggregate == "User"
    assert event.payload == {
        "userId": made["id"],
        "externalUserId": name,
        "email": "ana@example.com",
        "type": "SELLER",
        "status": "ACTIVE",
    }
    assert event.metadata["userId"] == made["id"]
    assert "user.created" in await shop.audit(made["id"])


async def test_a_user_s_wallet_is_told_of(shop: Marketplace) -> None:
    [person] = await shop.people(None)
    wallet = await shop.live.value("SELECT id FROM wallets WHERE public_key = $1", person.address)
    [created] = await told(shop, wallet, "wallet.created")
    assert created.payload == {
        "userId": person.id,
        "publicKey": person.address,
        "provider": "STELLAR",
        "funded": False,
        "trustlineReady": False,
    }
    [linked] = await told(shop, person.id, "user.stellar_linked")
    assert linked.aggregate == "User"
    assert linked.payload == {"userId": person.id, "stellarAddress": person.address, "linkedAt": TimeLike()}


class TimeLike:
    """Equal to every time of the wire."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and TIME.fullmatch(other) is not None

    __hash__ = None  # type: ignore[assignment]


async def test_the_first_request_of_the_deployment_guide(shop: Marketplace) -> None:
    key = await shop.with_key(*GUIDE_SCOPES)
    body = {"externalId": unique("test-user"), "email": "test@example.com"}
    made = opened(await key.post("/users", body), "DATA", USER, 201)
    assert made["externalUserId"] == body["externalId"]


async def test_the_same_user_from_all_sides_at_once(shop: Marketplace) -> None:
    name = unique("race")
    heard = await asyncio.gather(*(shop.post("/users", {"externalUserId": name}) for _ in range(12)))
    assert sorted(one.status for one in heard) == [200] * 11 + [201]
    assert len({one.data["id"] for one in heard}) == 1
    assert await shop.live.value("SELECT count(*) FROM users WHERE external_user_id = $1", name) == 1


LINK = {
    "success": (True,),
    "eligible": (True,),
    "userId": an_id("usr"),
    "airtmUserId": TEXT,
    "email": TEXT,
    "airtmEmail": TEXT,
    "airtmLinkedAt": TIME,
    "linkedAt": TIME,
}


@pytest.mark.claims("POST /users/{user_id}/airtm/link")
async def test_a_user_is_linked(airtm_shop: Marketplace) -> None:
    made = await airtm_shop.done("POST", "/users", {"externalUserId": unique("u")}, status=201)
    path, email = f"/users/{made['id']}/airtm/link", f"{unique('ana')}@example.com"
    link = opened(await airtm_shop.post(path, {"email": email}), "DATA", LINK)
    assert (link["email"], link["airtmEmail"], link["linkedAt"]) == (email, email, link["airtmLinkedAt"])
    assert opened(await airtm_shop.post(path, {"email": "b@example.com"}), "DATA", LINK) == link
    [event] = await told(airtm_shop, made["id"], "user.airtm_linked")
    assert (
        event.payload.items()
        >= {"userId": made["id"], "airtmUserId": link["airtmUserId"], "linkedAt": link["linkedAt"]}.items()
    )
    assert "USER_AIRTM_LINKED" in await airtm_shop.audit(made["id"])
