"""A process killed at any point of a money movement is resumed by the next one, and the money moves exactly once.

Each flow is first run whole, to count its points. Then it is run again and again, killed at one point each time,
finished by a fresh process, and held against the books and the chain.
"""

import pytest

from faults.processes.killable import (
    Act,
    Fuse,
    Process,
    World,
    count_points,
    crash_points,
    killed_and_resumed,
    process,
    until_killed,
)
from offerhub.disputes.model import OpenDispute
from offerhub.disputes.service import Disputes, assign, open_dispute
from offerhub.providers.trustless_work.fees import release_net, resolve_nets

ORDER = 200_000_000
PARTS = (120_000_000, 80_000_000)


async def _release(world: World, alive: Process, order_id: str) -> None:
    """What a client does: ask for the release, wait for its end."""
    if await world.order_status(order_id) == "IN_PROGRESS":
        run = alive.product.database.run
        saga = await run(lambda tx: alive.resolution.begin_release(tx, world.actor, order_id, None))
        await alive.product.engine.wait(saga, 30)


async def _refund(world: World, alive: Process, order_id: str) -> None:
    if await world.order_status(order_id) == "IN_PROGRESS":
        run = alive.product.database.run
        saga = await run(lambda tx: alive.resolution.begin_refund(tx, world.actor, order_id, "changed my mind"))
        await alive.product.engine.wait(saga, 30)


async def _split(world: World, alive: Process, order_id: str) -> None:
    """What support does: take a dispute under review, and decide it."""
    run = alive.product.database.run
    if await world.order_status(order_id) == "IN_PROGRESS":
        opened = OpenDispute(openedBy="BUYER", reason="OTHER")
        dispute = await run(lambda tx: open_dispute(tx, world.actor, order_id, opened))
        await run(lambda tx: assign(tx, world.actor, dispute.id, "agent", None))
    if await world.order_status(order_id) == "DISPUTED":
        sql = "SELECT id, status FROM disputes WHERE order_id = $1"
        [dispute] = await run(lambda tx: tx.rows(sql, order_id))
        if dispute["status"] == "OPEN":
            await run(lambda tx: assign(tx, world.actor, dispute["id"], "agent", None))
        begin = Disputes(alive.product.engine).begin_resolve
        saga = await run(lambda tx: begin(tx, world.actor, dispute["id"], "SPLIT", PARTS, None))
        await alive.product.engine.wait(saga, 30)


FLOWS = {"release": _release, "refund": _refund, "split": _split}


@pytest.mark.parametrize("flow", list(FLOWS))
async def test_f26_a_payout_killed_anywhere_pays_exactly_once(world: World, flow: str) -> None:
    act = FLOWS[flow]
    async with process(world.settings) as alive:
        total = await count_points(world, act, await world.funded_order(alive, ORDER))
        points = crash_points(total)
        orders = [await world.funded_order(alive, ORDER) for _ in points]
    gains = {
        "release": (release_net(ORDER, 0).net, 0),
        "refund": (0, resolve_nets(ORDER, 0, [ORDER]).nets[0]),
        "split": resolve_nets(ORDER, 0, PARTS).nets,
    }[flow]
    for order_id, point in zip(orders, points, strict=True):
        before = await world.available(world.seller), await world.available(world.buyer)
        chain_before = await world.on_chain(world.seller_address)
        await killed_and_resumed(world, act, order_id, point)
        after = await world.available(world.seller), await world.available(world.buyer)
        assert await world.order_status(order_id) == "CLOSED", point
        assert (after[0] - before[0], after[1] - before[1]) == gains, f"killed at point {point} of {total}"
        assert await world.on_chain(world.seller_address) - chain_before == gains[0], point
    await world.assert_conserved()


async def test_f26_a_milestone_s_release_killed_anywhere_pays_exactly_once(world: World) -> None:
    """Two milestones, and both of them released at once: a process may die between them."""
    parts = (ORDER // 4, ORDER - ORDER // 4)

    async def release_first(world: World, alive: Process, order_id: str) -> None:
        if (await world.payouts(order_id))[0] == "UNPAID":
            run = alive.product.database.run
            saga = await run(
                lambda tx: alive.resolution.begin_milestone_release(tx, world.actor, order_id, "m0", None)
            )
            await alive.product.engine.wait(saga, 30)

    flows: list[tuple[Act, list[str]]] = [
        (release_first, ["RELEASED", "UNPAID"]),
        (_release, ["RELEASED", "RELEASED"]),
    ]
    for act, ends in flows:
        async with process(world.settings) as alive:
            total = await count_points(world, act, await world.multi_release_order(alive, parts))
            points = crash_points(total)
            orders = [await world.multi_release_order(alive, parts) for _ in points]
        paid = [part for part, end in zip(parts, ends, strict=True) if end == "RELEASED"]
        gain = sum(release_net(part, 0).net for part in paid)
        for order_id, point in zip(orders, points, strict=True):
            before, chain_before = await world.available(world.seller), await world.on_chain(world.seller_address)
            await killed_and_resumed(world, act, order_id, point)
            assert await world.payouts(order_id) == ends, f"killed at point {point} of {total}"
            assert await world.available(world.seller) - before == gain, f"killed at point {point} of {total}"
            assert await world.on_chain(world.seller_address) - chain_before == gain, point
            assert await world.in_contract(await world.contract_of(order_id)) == ORDER - sum(paid), point
    await world.assert_conserved()


async def test_f26_a_funding_killed_anywhere_funds_exactly_once(world: World) -> None:
    async def fund(world: World, alive: Process, order_id: str) -> None:
        if await world.order_status(order_id) == "ESCROW_FUNDING":
            run = alive.product.database.run
            await alive.product.engine.wait(
                await run(lambda tx: alive.orders.begin_fund(tx, world.actor, order_id)), 30
            )

    async def deployed(alive: Process) -> str:
        from offerhub.orders.store import NewOrder

        new = NewOrder(None, world.buyer, world.seller, ORDER, "USD", "Logo", None, None, ())
        created, _ = await world.database.run(lambda tx: alive.orders.create(tx, world.actor, new))
        order_id = created.order.id
        await world.database.run(lambda tx: alive.orders.reserve(tx, world.actor, order_id, None))
        saga = await world.database.run(lambda tx: alive.orders.begin_escrow(tx, world.actor, order_id))
        await alive.product.engine.wait(saga, 30)
        return order_id

    async with process(world.settings) as alive:
        total = await count_points(world, fund, await deployed(alive))
        points = crash_points(total)
        orders = [await deployed(alive) for _ in points]
    for order_id, point in zip(orders, points, strict=True):
        await killed_and_resumed(world, fund, order_id, point)
        assert await world.order_status(order_id) == "IN_PROGRESS", f"killed at point {point} of {total}"
        contract = await world.database.run(
            lambda tx, order_id=order_id: tx.value("SELECT contract_id FROM escrows WHERE order_id = $1", order_id)
        )
        assert await world.in_contract(contract) == ORDER, f"killed at point {point} of {total}"
    await world.assert_conserved()


async def test_f26_a_withdrawal_killed_anywhere_leaves_exactly_once(world: World) -> None:
    amount = 10_000_000

    async def withdraw(world: World, alive: Process, _: str) -> None:
        run = alive.product.database.run
        _, saga = await run(lambda tx: alive.withdrawals.begin(tx, world.actor, world.payout_to(amount)))
        await alive.product.engine.wait(saga, 30)

    total = await count_points(world, withdraw, "")
    for point in crash_points(total):
        before, chain_before = await world.available(world.buyer), await world.on_chain(world.outside)
        async with process(world.settings, Fuse(point)) as doomed:
            await until_killed(lambda doomed=doomed: withdraw(world, doomed, ""))
        async with process(world.settings) as alive:
            await world.settle(alive)
        # Killed before the first commit, nothing was asked for; after it, the payment goes out.
        paid = before - await world.available(world.buyer)
        assert paid in {0, amount}, f"killed at point {point} of {total}"
        assert await world.on_chain(world.outside) - chain_before == paid, f"killed at point {point} of {total}"
    await world.assert_conserved()


async def test_f26_a_deposit_killed_anywhere_is_credited_exactly_once(world: World) -> None:
    async def booked(alive: Process) -> None:
        while await alive.deposits.book_page():
            pass

    async with process(world.settings) as alive:
        await booked(alive)
    for point in range(1, 40):
        before = await world.available(world.seller)
        await world.mint(world.seller_address, "1.2345678")
        async with process(world.settings, Fuse(point)) as doomed:
            died = await until_killed(lambda doomed=doomed: booked(doomed))
        async with process(world.settings) as alive:
            await booked(alive)
        assert await world.available(world.seller) - before == 12_345_678, f"killed at point {point}"
        if not died:
            break
    else:
        pytest.fail("the flow has more points than were tried")
    await world.assert_conserved()
