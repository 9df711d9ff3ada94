"""Maintenance on a running product: changes are refused, and what is on its way arrives."""

from collections.abc import AsyncIterator

import pytest

from support.outside import World, eventually
from support.product import MASTER_KEY, Marketplace, Person, unique


@pytest.fixture
async def operator(shop: Marketplace) -> AsyncIterator[Marketplace]:
    """The master key; maintenance ends with the test, everywhere."""
    master = shop.using(MASTER_KEY)
    yield master
    await master.done("POST", "/admin/maintenance/disable", raw=b"")

    async def status() -> int:
        return (await shop.post("/users", {"externalUserId": unique("after")})).status

    await eventually(status, lambda found: found == 201)


async def test_what_is_on_its_way_arrives_while_changes_are_refused(
    shop: Marketplace, operator: Marketplace, world: World
) -> None:
    made = await shop.done("POST", "/users", {"externalUserId": unique("person")}, status=201)
    person = Person(made["id"], made["wallet"]["publicKey"])
    enabled = await operator.done("POST", "/admin/maintenance/enable", {"message": "Moving house."})

    async def status() -> int:
        return (await shop.post("/users", {"externalUserId": unique("too-late")})).status

    await eventually(status, lambda found: found == 503)
    details = await shop.refused(
        "POST", f"/users/{person.id}/balance/credit", {"amount": "1.00"}, status=503, code="MAINTENANCE_MODE"
    )
    assert (details["message"], details["enabledAt"]) == ("Moving house.", enabled["enabledAt"])

    await shop.ready(person)  # the wallet's saga is finished
    await shop.deposit(person, "12.00")  # and money that comes in is credited
    assert await shop.balance(person) == ("12.00", "0.00")
    assert await operator.done("GET", "/admin/maintenance/status") == enabled
