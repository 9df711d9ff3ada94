"""Contract 1.8: the limit of a credential, and the limits of one user."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from asgi_client import Heard
from support.outside import World
from support.product import Marketplace, Person, Running, running, unique

pytestmark = pytest.mark.usefixtures("mended")


@pytest.fixture(scope="module")
async def limited(environ: dict[str, str]) -> AsyncIterator[Running]:
    """The usual limits for one user, and a high one for a credential."""
    async with running({**environ, "RATE_LIMIT_MAX": "10000"}, jobs=False) as found:
        yield found


@pytest.fixture(scope="module")
async def limited_airtm(airtm_environ: dict[str, str]) -> AsyncIterator[Running]:
    """The same on the rail of Airtm."""
    async with running({**airtm_environ, "RATE_LIMIT_MAX": "10000"}, jobs=False) as found:
        yield found


def assert_limited(heard: Heard, limit: int) -> None:
    assert (heard.status, heard.code) == (429, "RATE_LIMITED"), heard.body
    wait = heard.details["retryAfter"]
    assert heard.details == {
        "limit": limit,
        "windowSeconds": 60,
        "window": "1m",
        "retryAfter": wait,
        "retry_after": wait,
        "requestId": heard.headers["x-request-id"],
    }
    assert 0 < wait <= 60 // limit + 1
    assert heard.headers["retry-after"] == str(wait)
    assert heard.headers["x-ratelimit-limit"] == str(limit)
    assert heard.headers["x-ratelimit-remaining"] == "0"


async def test_every_answer_tells_what_is_left(shop: Marketplace, limited: Running) -> None:
    here = shop.on(limited)
    statuses = []
    for path in ("/health", "/users", "/nothing", "/orders/ord_nobody"):
        heard = await here.get(path)
        statuses.append(heard.status)
        limit, left = (int(heard.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining"))
        assert 0 <= left <= limit == 10_000
        assert int(heard.headers["x-ratelimit-reset"]) > 1_700_000_000, "epoch seconds"
    assert statuses == [200, 200, 404, 404]


async def test_five_withdrawals_a_minute(
    shop: Marketplace, limited: Running, pair: tuple[Person, Person], world: World
) -> None:
    """Each is refused by its destination, after it was counted: no money moves."""
    here, [person, other] = shop.on(limited), await shop.people(None, None)

    def asked(who: Person, spelling: str = "userId") -> dict[str, Any]:
        return {spelling: who.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": "G"}

    heard = [await here.post("/withdrawals", asked(person)) for _ in range(6)]
    assert [one.status for one in heard] == [422] * 5 + [429]
    assert_limited(heard[-1], 5)
    second_key = (await shop.with_key("write")).on(limited)
    bound = (await shop.with_key("withdrawals", userId=person.id)).on(limited)
    own = {name: value for name, value in asked(person).items() if name != "userId"}
    disguises: list[tuple[Marketplace, dict[str, Any], dict[str, Any]]] = [
        (here, asked(person), {"headers": {"x-forwarded-for": "198.51.100.7", "x-real-ip": "198.51.100.7"}}),
        (here, asked(person), {"headers": {"x-request-id": unique("id"), "user-agent": unique("agent")}}),
        (here, asked(person), {"key": unique("key")}),
        (here, {**asked(person), "amount": "2.00"}, {}),
        (here, asked(person, "user_id"), {}),
        (here.using(""), asked(person), {"headers": {"x-api-key": shop.credential}}),
        (second_key, asked(person), {}),
        (bound, own, {}),
    ]
    for caller, body, more in disguises:
        assert_limited(await caller.post("/withdrawals", body, **more), 5)
    assert (await here.post("/withdrawals", asked(other))).status == 422, "another user has a minute of its own"
    assert (await here.get("/withdrawals")).status == 200, "and reading is not limited by it"
    stranger = await Marketplace.found(limited, world, shop.http)
    heard_there = await stranger.post("/withdrawals", asked(person))
    assert (heard_there.status, heard_there.code) == (404, "USER_NOT_FOUND"), "nor another marketplace"


async def test_ten_topups_a_minute_and_the_first_again(airtm_shop: Marketplace, limited_airtm: Running) -> None:
    here = airtm_shop.on(limited_airtm)
    made = await airtm_shop.done("POST", "/users", {"externalUserId": unique("payer")}, status=201)
    await airtm_shop.done("POST", f"/users/{made['id']}/airtm/link", {"email": f"{unique('p')}@example.com"})
    body, keys = {"userId": made["id"], "amount": "1.00"}, [unique("key") for _ in range(11)]
    heard = [await here.post("/topups", body, key=key) for key in keys]
    assert [one.status for one in heard] == [201] * 10 + [429]
    assert_limited(heard[-1], 10)
    for _ in range(3):
        again = await here.post("/topups", body, key=keys[0])
        assert (again.status, again.body) == (201, heard[0].body)
        assert again.headers["idempotency-replay"] == "true"
    other = {**body, "amount": "2.00"}
    await here.refused("POST", "/topups", other, status=409, code="IDEMPOTENCY_KEY_REUSED", key=keys[0])
    # The refused key is as good as new where there is room.
    later = await airtm_shop.post("/topups", body, key=keys[-1])
    assert (later.status, "idempotency-replay" in later.headers) == (201, False)
    assert len(await airtm_shop.done("GET", f"/topups?userId={made['id']}&limit=100")) == 11


@pytest.mark.parametrize(
    "off", [{"WITHDRAWAL_LIMIT_PER_MINUTE": "0", "RATE_LIMIT_MAX": "10000"}, {"RATE_LIMIT_MAX": "0"}]
)
async def test_the_limits_can_be_switched_off(
    shop: Marketplace, environ: dict[str, str], off: dict[str, str]
) -> None:
    async with running({**environ, **off}, jobs=False) as without:
        [person] = await shop.people(None)
        body = {"userId": person.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": "G"}
        statuses = [(await shop.on(without).post("/withdrawals", body)).status for _ in range(8)]
        assert statuses == [422] * 8


async def test_without_redis_requests_pass(shop: Marketplace, environ: dict[str, str]) -> None:
    gone = {**environ, "REDIS_URL": "redis://127.0.0.1:1/0", "RATE_LIMIT_MAX": "2"}
    async with running(gone, jobs=False) as without:
        [person] = await shop.people(None)
        body = {"userId": person.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": "G"}
        heard = [await shop.on(without).post("/withdrawals", body) for _ in range(8)]
        assert [one.status for one in heard] == [422] * 8
        assert {one.headers["x-ratelimit-remaining"] for one in heard} == {"2"}
