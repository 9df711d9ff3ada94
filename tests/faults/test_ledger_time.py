"""F14: ledgers stop, and time jumps. Whether something can still happen is told by the ledgers' time, not by ours."""

import asyncio

import aiohttp
import pytest

from faults.flows import FUND, RELEASE, SEND, WITHDRAWAL, Flow, Stage
from support.outside import World, eventually
from support.product import Marketplace, Running

UNIT = 10_000_000


@pytest.fixture(scope="module")
async def stage(own_live: Running, own_world: World, http: aiohttp.ClientSession) -> Stage:
    shop = await Marketplace.found(own_live, own_world, http)
    buyer, seller = await shop.people("1000", None)
    await own_live.system_is_ready()
    return Stage(shop, own_world, buyer, seller)


async def statuses(stage: Stage) -> list[str]:
    """The statuses of the envelopes of the latest saga, oldest first."""
    sql = """
        SELECT e.status FROM envelopes e WHERE e.saga_id = (SELECT max(saga_id) FROM envelopes) ORDER BY e.created_at
    """
    return [row["status"] for row in await stage.shop.live.rows(sql)]


@pytest.mark.parametrize("flow", [WITHDRAWAL, FUND, RELEASE], ids=lambda flow: flow.name)
async def test_f14_ledgers_stop_and_go_on(stage: Stage, flow: Flow) -> None:
    about = await flow.before(stage)
    stall = await stage.world.fault("chain", ".", "stall", seconds=3600)
    asking = asyncio.create_task(flow.during(stage, about))
    await eventually(lambda: statuses(stage), lambda found: bool(found) and found[-1] == "SUBMITTED")
    assert await stall.fired() == 1
    # However long it takes: as no ledger has closed past its bound, it may still happen, and is not given up.
    await asyncio.sleep(1)
    assert (await statuses(stage))[-1] == "SUBMITTED"
    await stage.world.mend()
    await flow.after(stage, about, await asking)
    assert set(await statuses(stage)) == {"SUCCEEDED"}
    await stage.shop.live.assert_conserved(stage.world)


@pytest.mark.parametrize("flow", [WITHDRAWAL, RELEASE], ids=lambda flow: flow.name)
async def test_f14_the_next_ledger_closes_long_past_every_bound(stage: Stage, flow: Flow) -> None:
    """Ledgers stop while an envelope waits, and the next one is an hour later: proven absent, it is built anew."""
    about = await flow.before(stage)
    stall = await stage.world.fault("chain", ".", "stall", seconds=100_000)
    asking = asyncio.create_task(flow.during(stage, about))
    await eventually(lambda: statuses(stage), lambda found: bool(found) and found[-1] == "SUBMITTED")
    jump = await stage.world.fault("chain", ".", "time_jump", seconds=3600)
    assert (await stall.fired(), await jump.fired()) == (1, 1)
    await stage.world.mend()
    await flow.after(stage, about, await asking)
    found = await statuses(stage)
    assert (found[0], set(found[1:])) == ("EXPIRED", {"SUCCEEDED"})
    await stage.shop.live.assert_conserved(stage.world)


async def test_f14_a_jump_of_an_hour_in_one_go(stage: Stage) -> None:
    """From now on the chain is hours ahead of us. Payments of our own and contracts go on, by its time."""
    jump = await stage.world.fault("chain", ".", "time_jump", seconds=3600)
    assert await jump.fired() == 1
    for flow in (FUND, RELEASE, WITHDRAWAL):
        about = await flow.before(stage)
        lost = await stage.world.fault(*(SEND if flow is not WITHDRAWAL else flow.posts[0]), "lose_response", times=1)
        await flow.after(stage, about, await flow.during(stage, about))
        assert await lost.fired() == 1
    await stage.shop.deposit(stage.seller, "1.23")
    await stage.shop.live.assert_conserved(stage.world)
