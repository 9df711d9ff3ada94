"""A withdrawal whose bid has to be raised, killed at any point: it leaves once, as one envelope of its number."""

from faults.processes.killable import Fuse, Process, World, crash_points, process, until_killed
from support.toll_gate import Gate

AMOUNT = 10_000_000


async def _withdraw(world: World, alive: Process) -> None:
    run = alive.product.database.run
    _, saga = await run(lambda tx: alive.withdrawals.begin(tx, world.actor, world.payout_to(AMOUNT)))
    await alive.product.engine.wait(saga, 30)


async def test_f26_a_withdrawal_in_a_surge_killed_anywhere_leaves_exactly_once(
    gated_world: World, gate: Gate
) -> None:
    world = gated_world
    gate.toll = 900
    fuse = Fuse()
    async with process(world.settings, fuse) as alive:
        await _withdraw(world, alive)
    raised = await world.database.run(lambda tx: tx.value("SELECT count(*) FROM fee_bumps WHERE bid = 1000"))
    assert raised == 1, "the flow has the raise in it"
    for point in crash_points(fuse.points):
        before, chain_before = await world.available(world.buyer), await world.on_chain(world.outside)
        async with process(world.settings, Fuse(point)) as doomed:
            await until_killed(lambda doomed=doomed: _withdraw(world, doomed))
        async with process(world.settings) as alive:
            await world.settle(alive)
        paid = before - await world.available(world.buyer)
        assert paid in {0, AMOUNT}, f"killed at point {point} of {fuse.points}"
        assert await world.on_chain(world.outside) - chain_before == paid, f"killed at point {point}"
    twice = await world.database.run(
        lambda tx: tx.rows("SELECT saga_id FROM envelopes GROUP BY saga_id, position HAVING count(*) > 1")
    )
    assert twice == [], "nothing was rebuilt"
    await world.assert_conserved()
