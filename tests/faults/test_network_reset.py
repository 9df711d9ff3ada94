"""F23: the test network begins anew. Its accounts are gone and its ledgers count from the start: everything stops."""

import asyncio

import aiohttp

from offerhub.operations.proof import prove
from support.outside import PATIENCE_SECONDS, World
from support.product import Marketplace, Running

UNIT = 10_000_000


async def test_f23_the_network_begins_anew_and_everything_stops(
    own_live: Running, own_world: World, http: aiohttp.ClientSession
) -> None:
    """It is noticed, whoever asks is told, and the books are left as they are, nothing of them below zero."""
    shop = await Marketplace.found(own_live, own_world, http)
    await own_live.system_is_ready()
    buyer, seller = await shop.people("100", None)
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    await own_live.assert_conserved(own_world)
    books = "SELECT owner, kind, balance FROM ledger.accounts ORDER BY owner, kind"
    before = [tuple(row) for row in await own_live.rows(books)]
    reset = await own_world.fault("chain", ".", "reset")
    assert await reset.fired() == 1

    async def stopped() -> bool:
        return (await shop.post(f"/orders/{order_id}/cancel")).code == "MAINTENANCE_MODE"

    # The new network comes to the ledgers that were seen before, and they are others. That is looked at every 10 s.
    await own_world.control("POST", "advance", seconds=60)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await stopped():
            await asyncio.sleep(0.2)
    heard = await shop.post(f"/orders/{order_id}/resolution/release")
    assert (heard.status, heard.code) == (503, "MAINTENANCE_MODE")
    # Reading goes on, and shows what was.
    assert await shop.balance(buyer) == ("90.00", "0.00")
    assert [tuple(row) for row in await own_live.rows(books)] == before
    assert await shop.units(order_id) == {"escrow": 10 * UNIT}
    assert (await prove(own_live.product.database)).holds
