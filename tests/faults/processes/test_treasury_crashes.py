"""A process killed while the treasury pays an escrow in, or is paid by it, leaves the books true to the chain."""

import pytest

from faults.processes.killable import Process, World, count_points, crash_points, killed_and_resumed, process
from offerhub.orders.service import EscrowPolicy, Orders
from offerhub.orders.store import NewOrder
from offerhub.providers.trustless_work.fees import release_net
from offerhub.treasury.store import books
from offerhub.wallets.service import require_system

ORDER = 100_000_000


@pytest.fixture(scope="module")
async def treasury(world: World) -> str:
    """The treasury's address, with money on it that is booked."""
    async with process(world.settings) as alive:
        wallet = await world.database.run(lambda tx: require_system(tx, "treasury"))
        before = (await world.database.run(books)).treasury
        await world.mint(wallet.public_key, "5000.00")
        while (await world.database.run(books)).treasury == before:
            await alive.deposits.book_page()
        return wallet.public_key


def _orders(alive: Process) -> Orders:
    product = alive.product
    return Orders(product.engine, EscrowPolicy(0, product.network, treasury=True), product.clock)


async def _deployed(world: World, alive: Process) -> str:
    """An order whose contract waits for the treasury."""
    orders, run = _orders(alive), world.database.run
    new = NewOrder(None, world.buyer, world.seller, ORDER, "USD", "Logo", None, None, ())
    created, _ = await run(lambda tx: orders.create(tx, world.actor, new))
    order_id = created.order.id
    await run(lambda tx: orders.reserve(tx, world.actor, order_id, None))
    saga = await run(lambda tx: orders.begin_escrow(tx, world.actor, order_id))
    await alive.product.engine.wait(saga, 30)
    return order_id


async def _fund_and_release(world: World, alive: Process, order_id: str) -> None:
    run = alive.product.database.run
    if await world.order_status(order_id) == "ESCROW_FUNDING":
        saga = await run(lambda tx: _orders(alive).begin_fund(tx, world.actor, order_id))
        await alive.product.engine.wait(saga, 30)
    if await world.order_status(order_id) == "IN_PROGRESS":
        saga = await run(lambda tx: alive.resolution.begin_release(tx, world.actor, order_id, None))
        await alive.product.engine.wait(saga, 30)


async def test_f26_an_escrow_of_the_treasury_killed_anywhere_is_paid_once_each_way(
    world: World, treasury: str
) -> None:
    async with process(world.settings) as alive:
        total = await count_points(world, _fund_and_release, await _deployed(world, alive))
        points = crash_points(total)
        orders = [await _deployed(world, alive) for _ in points]
    net = release_net(ORDER, 0).net
    for order_id, point in zip(orders, points, strict=True):
        before = await world.on_chain(treasury), await world.available(world.seller)
        await killed_and_resumed(world, _fund_and_release, order_id, point)
        assert await world.order_status(order_id) == "CLOSED", f"killed at point {point} of {total}"
        after = await world.on_chain(treasury), await world.available(world.seller)
        assert (after[0] - before[0], after[1] - before[1]) == (net - ORDER, net), f"killed at point {point}"
        assert (await world.database.run(books)).treasury == after[0], f"killed at point {point}"
    await world.assert_conserved()
