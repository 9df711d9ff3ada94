"""Linking a user to its Airtm account, against the sandbox."""

import asyncio

import pytest

from support.outside import World
from support.product import Marketplace, Person, unique

pytestmark = pytest.mark.usefixtures("mended")


def address(tags: str = "") -> str:
    return f"{unique('ana')}{tags}@example.com"


async def person(airtm_shop: Marketplace) -> str:
    made = await airtm_shop.done("POST", "/users", {"externalUserId": unique("person")}, status=201)
    return str(made["id"])


async def link(airtm_shop: Marketplace, user_id: str, email: str) -> dict[str, object]:
    found: dict[str, object] = await airtm_shop.done("POST", f"/users/{user_id}/airtm/link", {"email": email})
    return found


async def test_a_link_is_told_in_both_spellings_and_kept(airtm_shop: Marketplace) -> None:
    user_id, email = await person(airtm_shop), address()
    found = await link(airtm_shop, user_id, email)
    assert set(found) == {
        *("success", "eligible", "userId", "airtmUserId", "email", "airtmEmail", "airtmLinkedAt", "linkedAt"),
    }
    assert (found["success"], found["eligible"], found["userId"]) == (True, True, user_id)
    assert (found["email"], found["airtmEmail"]) == (email, email)
    assert found["linkedAt"] == found["airtmLinkedAt"]
    shown = await airtm_shop.done("GET", f"/users/{user_id}")
    assert (shown["airtmLinked"], shown["airtmUserId"], shown["airtmEmail"]) == (True, found["airtmUserId"], email)
    assert shown["airtmLinkedAt"] == found["linkedAt"]
    # Another address later on changes nothing.
    assert await link(airtm_shop, user_id, address()) == found
    assert (await airtm_shop.events(user_id)).count("user.airtm_linked") == 1
    trail = await airtm_shop.live.rows(
        "SELECT payload_after::text AS after FROM audit_entries WHERE resource_id = $1 AND action = $2",
        user_id,
        "USER_AIRTM_LINKED",
    )
    assert len(trail) == 1
    assert email not in trail[0]["after"], "addresses are masked in the audit trail"


@pytest.mark.parametrize(
    ("tags", "reason"),
    [("+unknown", "USER_NOT_FOUND"), ("+inactive", "USER_INACTIVE"), ("+unverified", "USER_NOT_VERIFIED")],
)
async def test_an_account_that_will_not_do(airtm_shop: Marketplace, tags: str, reason: str) -> None:
    user_id = await person(airtm_shop)
    details = await airtm_shop.refused(
        "POST",
        f"/users/{user_id}/airtm/link",
        {"email": address(tags)},
        status=422,
        code="AIRTM_USER_INVALID",
    )
    assert details["failureReason"] == reason
    assert not (await airtm_shop.done("GET", f"/users/{user_id}"))["airtmLinked"]
    # The user may be linked to a better one.
    assert (await link(airtm_shop, user_id, address()))["success"]


async def test_one_account_belongs_to_one_user(airtm_shop: Marketplace) -> None:
    first, second, email = await person(airtm_shop), await person(airtm_shop), address()
    await link(airtm_shop, first, email)
    path = f"/users/{second}/airtm/link"
    await airtm_shop.refused("POST", path, {"email": email}, status=409, code="AIRTM_USER_ALREADY_LINKED")
    upper = {"email": email.upper()}
    await airtm_shop.refused("POST", path, upper, status=409, code="AIRTM_USER_ALREADY_LINKED")


async def test_two_users_race_for_one_account(airtm_shop: Marketplace) -> None:
    users, email = [await person(airtm_shop) for _ in range(6)], address()
    heard = await asyncio.gather(
        *(airtm_shop.post(f"/users/{user_id}/airtm/link", {"email": email}) for user_id in users)
    )
    assert sorted(one.status for one in heard) == [200, 409, 409, 409, 409, 409]


async def test_one_user_is_linked_once_however_often_it_is_asked(airtm_shop: Marketplace) -> None:
    user_id, emails = await person(airtm_shop), [address() for _ in range(6)]
    found = await asyncio.gather(*(link(airtm_shop, user_id, email) for email in emails))
    assert all(one == found[0] for one in found)
    assert (await airtm_shop.events(user_id)).count("user.airtm_linked") == 1


@pytest.mark.parametrize("email", ["", "ana", "ana@", "@example.com", "ana@example", "a" * 300 + "@example.com"])
async def test_an_address_must_be_one(airtm_shop: Marketplace, email: str) -> None:
    path = f"/users/{await person(airtm_shop)}/airtm/link"
    details = await airtm_shop.refused("POST", path, {"email": email}, status=400, code="VALIDATION_ERROR")
    assert details["fields"][0]["field"] == "email"


async def test_airtm_is_asked_again_after_an_outage(airtm_shop: Marketplace, world: World) -> None:
    user_id = await person(airtm_shop)
    fault = await world.fault("airtm", "/users/", "error_before", times=2)
    assert (await link(airtm_shop, user_id, address()))["success"]
    assert await fault.fired() == 2


async def test_a_lasting_outage_is_told_and_frees_the_key(airtm_shop: Marketplace, world: World) -> None:
    user_id, body, key = await person(airtm_shop), {"email": address()}, unique("key")
    path = f"/users/{user_id}/airtm/link"
    await world.fault("airtm", "/users/", "error_before")
    await airtm_shop.refused("POST", path, body, status=503, code="PROVIDER_UNAVAILABLE", key=key)
    await world.mend()
    assert (await airtm_shop.done("POST", path, body, key=key))["success"]
    replayed = await airtm_shop.post(path, body, key=key)
    assert replayed.headers["idempotency-replay"] == "true"


async def test_without_airtm_there_is_nothing_to_link(shop: Marketplace, pair: tuple[Person, Person]) -> None:
    path = f"/users/{pair[0].id}/airtm/link"
    await shop.refused("POST", path, {"email": address()}, status=422, code="PROVIDER_NOT_ENABLED")
