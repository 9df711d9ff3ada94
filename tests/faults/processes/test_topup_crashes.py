"""A process killed anywhere on the way in or out through Airtm leaves one payin, one payout, and one posting each."""

from typing import Any

import pytest

from faults.processes.killable import Fuse, Process, World, crash_points, process, simulate, until_killed
from offerhub.topups.service import Request
from offerhub.users.linking import Linking
from offerhub.withdrawals.jobs import refresh_unsettled
from offerhub.withdrawals.refunds import follow
from offerhub.withdrawals.service import Asked, Withdrawals

ONE = 10_000_000


@pytest.fixture(scope="module")
async def payer(world: World) -> str:
    """The buyer, linked to an Airtm account."""
    async with process(world.settings) as alive:
        linking = Linking(alive.product.engine, enabled=True)
        started = await world.database.run(
            lambda tx: linking.begin(tx, world.actor, world.buyer, "payer@example.com")
        )
        assert isinstance(started, str)
        await alive.product.engine.wait(started, 30)
    return world.buyer


async def _begin(world: World, alive: Process) -> str:
    """What a client does: ask for a top-up, wait for its page."""
    asked = Request(world.buyer, 5 * ONE, "USD", None)
    run = alive.product.database.run
    created, saga = await run(lambda tx: alive.product.topups.begin(tx, world.actor, asked))
    await alive.product.engine.wait(saga, 30)
    return created.id


async def _topups(world: World) -> list[Any]:
    return await world.database.run(
        lambda tx: tx.rows("SELECT id, status, airtm_payin_id FROM topups ORDER BY id"), read_only=True
    )


async def _payins(world: World, code: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await simulate(world.sandbox_url, f"airtm/payins?code={code}"))["payins"]
    return found


async def test_f26_a_top_up_killed_anywhere_has_one_payin(world: World, payer: str) -> None:
    fuse = Fuse()
    async with process(world.settings, fuse) as alive:
        await _begin(world, alive)
    known = len(await _topups(world))
    for point in crash_points(fuse.points):
        async with process(world.settings, Fuse(point)) as doomed:
            await until_killed(lambda doomed=doomed: _begin(world, doomed))
        async with process(world.settings) as alive:
            await world.settle(alive)
        # Killed before the first commit, nothing was asked for; after it, the payin is there.
        found = await _topups(world)
        for topup in found[known:]:
            assert topup["status"] == "TOPUP_AWAITING_USER_CONFIRMATION", f"killed at point {point} of {fuse.points}"
            payins = await _payins(world, topup["id"])
            assert [one["id"] for one in payins] == [topup["airtm_payin_id"]], point
        assert len(found) - known in {0, 1}
        known = len(found)
    everything = (await simulate(world.sandbox_url, "airtm/payins"))["payins"]
    assert {one["code"] for one in everything} <= {topup["id"] for topup in await _topups(world)}
    await world.assert_conserved()


async def test_f26_a_payment_looked_at_by_a_process_killed_anywhere_is_credited_once(
    world: World, payer: str
) -> None:
    for point in range(1, 40):
        async with process(world.settings) as alive:
            topup_id = await _begin(world, alive)
        [payin] = await _payins(world, topup_id)
        await simulate(world.sandbox_url, f"airtm/payins/{payin['id']}", {"action": "confirm", "fee": "0.25"})
        before = await world.available(payer)
        async with process(world.settings, Fuse(point)) as doomed:
            topups = doomed.product.topups
            died = await until_killed(lambda topups=topups, it=topup_id: topups.refresh(world.actor, it))
        async with process(world.settings) as alive:
            done = await alive.product.topups.refresh(world.actor, topup_id)
        assert done.status == "TOPUP_SUCCEEDED", f"killed at point {point}"
        assert await world.available(payer) - before == 47_500_000, f"killed at point {point}"
        if not died:
            break
    else:
        pytest.fail("the look has more points than were tried")
    await world.assert_conserved()


async def test_f26_a_payout_killed_anywhere_is_one_payout_and_ends_once(world: World, payer: str) -> None:
    """Prepared and committed by a process that dies; followed to its end by the next one."""
    amount = 2 * ONE
    asked = Asked(payer, amount, "USD", "airtm_balance", "payer@example.com", None, None, commit=True)

    async def pay_out(alive: Process) -> None:
        withdrawals = Withdrawals(alive.product.engine, alive.product.network, airtm=True)
        run = alive.product.database.run
        _, saga = await run(lambda tx: withdrawals.begin(tx, world.actor, asked))
        await alive.product.engine.wait(saga, 30)

    async def made() -> list[str]:
        sql = "SELECT id FROM withdrawals WHERE destination_type = 'airtm_balance' ORDER BY id"
        return [row["id"] for row in await world.database.run(lambda tx: tx.rows(sql), read_only=True)]

    fuse = Fuse()
    async with process(world.settings, fuse) as alive:
        await pay_out(alive)
    for point in crash_points(fuse.points):
        known, before = await made(), await world.available(payer)
        async with process(world.settings, Fuse(point)) as doomed:
            await until_killed(lambda doomed=doomed: pay_out(doomed))
        async with process(world.settings) as alive:
            await world.settle(alive)
            new = [one for one in await made() if one not in known]
            assert before - await world.available(payer) == amount * len(new), f"killed at point {point}"
            for withdrawal in new:
                payouts = (await simulate(world.sandbox_url, f"airtm/payouts?code={withdrawal}"))["payouts"]
                assert [one["status"] for one in payouts] == ["COMMITTED"], f"killed at point {point}"
                await simulate(world.sandbox_url, f"airtm/payouts/{payouts[0]['id']}", {"action": "complete"})
    async with process(world.settings) as alive:
        assert alive.product.airtm is not None
        await world.database.run(lambda tx: tx.execute("UPDATE withdrawals SET checked_at = '-infinity'"))
        await refresh_unsettled(alive.product.database, alive.product.airtm, limit=100, stale_seconds=0)
    await world.assert_conserved()


async def test_f26_a_refund_looked_at_by_a_process_killed_anywhere_is_credited_once(world: World, payer: str) -> None:
    """Airtm gives back a payout that was paid; whoever reads of it dies, and the next one books it."""
    amount = ONE
    asked = Asked(payer, amount, "USD", "airtm_balance", "payer@example.com", None, None, commit=True)
    run = world.database.run

    async def look(alive: Process) -> None:
        assert alive.product.airtm is not None
        await follow(alive.product.database, alive.product.airtm)

    async def paid_and_given_back() -> None:
        """A payout that has ended, and has come back since."""
        async with process(world.settings) as alive:
            withdrawals = Withdrawals(alive.product.engine, alive.product.network, airtm=True)
            made, saga = await alive.product.database.run(lambda tx: withdrawals.begin(tx, world.actor, asked))
            await alive.product.engine.wait(saga, 30)
            [payout] = (await simulate(world.sandbox_url, f"airtm/payouts?code={made.id}"))["payouts"]
            await simulate(world.sandbox_url, f"airtm/payouts/{payout['id']}", {"action": "complete"})
            assert alive.product.airtm is not None
            await run(lambda tx: tx.execute("UPDATE withdrawals SET checked_at = '-infinity'"))
            await refresh_unsettled(alive.product.database, alive.product.airtm, limit=100, stale_seconds=0)
            await simulate(world.sandbox_url, f"airtm/payouts/{payout['id']}", {"action": "refund"})

    await paid_and_given_back()
    fuse = Fuse()
    async with process(world.settings, fuse) as alive:
        await look(alive)
    for point in crash_points(fuse.points):
        await paid_and_given_back()
        before = await world.available(payer)
        async with process(world.settings, Fuse(point)) as doomed:
            await until_killed(lambda doomed=doomed: look(doomed))
        for _ in range(2):
            async with process(world.settings) as alive:
                await look(alive)
            assert await world.available(payer) - before == amount, f"killed at point {point} of {fuse.points}"
    await world.assert_conserved()
