"""A provider on a bad day: the others go on, sagas wait for it and then complete, and health tells."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from offerhub.runtime.line import LineSnapshot
from offerhub.treasury.store import books
from support.outside import World, eventually
from support.product import Marketplace, Person, Running, fill_treasury, unique

UNIT = 10_000_000
APPROVE = "/escrow/single-release/approve-milestone"


@pytest.fixture(scope="module")
async def shop(tight_live: Running, world: World, http: aiohttp.ClientSession) -> AsyncIterator[Marketplace]:
    await fill_treasury(tight_live, world, "1000")
    yield await Marketplace.found(tight_live, world, http)
    await world.mend()
    await tight_live.assert_books_hold()


@pytest.fixture(scope="module")
async def pair(shop: Marketplace) -> tuple[Person, Person]:
    buyer, seller = await shop.people("500", None)
    return buyer, seller


def numbers(shop: Marketplace, provider: str) -> LineSnapshot:
    return next(one for one in shop.live.product.lines.snapshots() if one.provider == provider)


async def dependency(shop: Marketplace, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (await shop.done("GET", "/health/detailed"))["dependencies"][name]
    return found


async def test_health_tells_each_breaker(shop: Marketplace) -> None:
    found = (await shop.done("GET", "/health/detailed"))["dependencies"]
    told = {name: one.get("breaker") for name, one in found.items()}
    assert told == {
        "database": None,
        "schema": None,
        "redis": None,
        "queue": None,
        "trustlessWork": "closed",
        "airtm": "closed",
        "stellar": "closed",
        "stellarRpc": "closed",
        "deposits": None,
        "treasury": None,
    }


async def test_f02_a_saga_waits_for_an_open_breaker_and_completes(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    buyer, seller = pair
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    before = numbers(shop, "trustless_work")
    fault = await world.fault("trustless_work", APPROVE, "error_before", status=503)
    releasing = asyncio.create_task(shop.post(f"/orders/{order_id}/resolution/release", key="release"))
    told = await eventually(lambda: dependency(shop, "trustlessWork"), lambda found: found["breaker"] == "open")
    # The API itself answers the probe; it is we who leave it alone.
    assert (told["status"], told["error"]) == ("degraded", "Calls are held back")
    assert (await dependency(shop, "stellar"))["status"] == "healthy"

    async def held_back() -> int:
        return numbers(shop, "trustless_work").held_back.get("breaker_open", 0)

    await eventually(held_back, lambda count: count > 0)
    waiting = """
        SELECT s.last_error FROM saga_steps s JOIN sagas g ON g.id = s.saga_id
        WHERE g.subject_id = $1 AND g.kind = 'order.release' AND g.status = 'RUNNING' AND s.name = 'approve_milestone'
    """
    await eventually(
        lambda: shop.live.value(waiting, order_id), lambda said: said is not None and "is left alone" in said
    )
    assert (await shop.units(order_id))["escrow"] == 10 * UNIT, "the money stays where it is held"

    fired = await fault.fired()
    await world.mend()
    heard = await releasing
    assert heard.status in {200, 202}, heard.body

    async def sagas() -> tuple[str, str]:
        return (await shop.sagas(order_id))[-1]

    await eventually(sagas, lambda saga: saga == ("order.release", "SUCCEEDED"))
    assert (await shop.done("GET", f"/orders/{order_id}"))["status"] == "CLOSED"
    assert (await shop.postings(order_id)).count("released") == 1
    after = numbers(shop, "trustless_work")
    assert after.breaker == "closed"
    # Every POST that the line let out reached the sandbox once, and none was repeated by the line.
    assert after.calls["server_error"] - before.calls.get("server_error", 0) >= fired >= 3
    assert after.retries == before.retries
    submissions = """
        SELECT max(e.submissions) FROM envelopes e JOIN sagas g ON g.id = e.saga_id WHERE g.subject_id = $1
    """
    assert await shop.live.value(submissions, order_id) == 1
    treasury = await shop.live.value("SELECT public_key FROM wallets WHERE purpose = 'treasury'")
    in_books = await shop.live.product.database.run(books, read_only=True)
    assert await shop.on_chain(treasury) == in_books.treasury


async def test_f04_while_airtm_hangs_the_others_go_on(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    buyer, seller = pair
    await shop.done("POST", f"/users/{buyer.id}/airtm/link", {"email": f"{unique('ana')}@example.com"})
    fault = await world.fault("airtm", "/payins$", "delay", seconds=60, method="POST")
    topups = [
        asyncio.create_task(shop.post("/topups", {"userId": buyer.id, "amount": "25.00"}, key=unique("topup")))
        for _ in range(6)
    ]

    async def airtm_is_full() -> bool:
        return numbers(shop, "airtm").held_back.get("no_place", 0) > 0

    await eventually(airtm_is_full, bool)
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    released = await shop.done("POST", f"/orders/{order_id}/resolution/release")
    assert released["status"] == "CLOSED"
    assert (numbers(shop, "airtm").places_taken, await fault.fired()) == (2, 2)
    stellar, trustless = numbers(shop, "stellar"), numbers(shop, "trustless_work")
    assert (stellar.breaker, trustless.breaker) == ("closed", "closed")
    assert "no_place" not in stellar.held_back
    assert "no_place" not in trustless.held_back
    # Those that found no place were certainly not sent, and are told so.
    hanging = set(topups)
    while len(hanging) > 2:
        _, hanging = await asyncio.wait(hanging, return_when=asyncio.FIRST_COMPLETED)
    held = [one.result() for one in topups if one not in hanging]
    assert {(one.status, one.code) for one in held} == {(503, "PROVIDER_UNAVAILABLE")}
    assert {one.details["heldBack"] for one in held} == {"no_place"}
    assert await fault.fired() == 2
    for one in hanging:
        one.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
