"""One process that does everything, asked to stop while money is on its way: nothing lost, nothing doubled."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from support.fleet import Fleet, Member, fleet
from support.outside import World, eventually
from support.own_redis import OwnRedis
from support.product import MASTER_KEY, Marketplace, environment

SHUTDOWN_SECONDS = 20
SHORT_SECONDS = 1


@pytest.fixture
async def ours(
    tmp_path: Path, fresh_database_url: str, own_redis: OwnRedis, sandbox_environ: dict[str, str]
) -> AsyncIterator[Fleet]:
    await own_redis.start()
    environ = environment(
        fresh_database_url,
        own_redis.url,
        sandbox_environ,
        OFFERHUB_MASTER_KEY=MASTER_KEY,
        SHUTDOWN_SECONDS=str(SHUTDOWN_SECONDS),
    )
    async with fleet(tmp_path, environ, apis=0, workers=0) as found:
        yield found


async def test_open_requests_are_answered_and_the_next_process_goes_on(
    ours: Fleet, world: World, http: aiohttp.ClientSession
) -> None:
    """The first is asked to stop during a funding and answers it; the second must leave a release to the third."""
    first = await ready(await ours.start_api("--jobs"))
    shop = await Marketplace.found(ours.at(first), world, http)
    buyer, seller = await shop.people("20.00", None)
    order_id = await shop.order(buyer, seller, "10.00", "ESCROW_FUNDING")
    funding = asyncio.create_task(shop.done("POST", f"/orders/{order_id}/escrow/fund"))
    await begun(shop, order_id)
    first.process.send_signal(signal.SIGTERM)
    assert (await funding)["status"] == "IN_PROGRESS"
    assert await first.ends() == 0, first.printed[-10:]
    with pytest.raises(aiohttp.ClientConnectionError):
        await shop.get("/health")

    second = await ready(await ours.start_api("--jobs", SHUTDOWN_SECONDS=str(SHORT_SECONDS)))
    shop = shop.on(ours.at(second))
    hangs = await world.fault("trustless_work", "/helper/send-transaction$", "delay", seconds=30)
    release = asyncio.create_task(shop.send("POST", f"/orders/{order_id}/resolution/release", key="release"))
    await eventually(hangs.fired, lambda fired: fired > 0)
    assert await second.stop() == 0, second.printed[-10:]
    # It is not told what became of it: either its connection ended, or it had an answer that asks it to come again.
    [unknown] = await asyncio.gather(release, return_exceptions=True)
    assert isinstance(unknown, aiohttp.ClientError) or unknown.status >= 500  # type: ignore[union-attr]
    await world.mend()

    third = await ready(await ours.start_api("--jobs"))
    shop = shop.on(ours.at(third))
    await eventually(lambda: status(shop, order_id), lambda found: found == "CLOSED")
    events = await shop.events(order_id)
    assert len(events) == len(set(events)), events
    assert await shop.balance(buyer) == ("10.00", "0.00")
    await shop.live.assert_conserved(world)


NEVER_ENDS = """
import asyncio
from offerhub.cli.serve import end_by_force

async def hangs():
    end_by_force(0.1)
    await asyncio.sleep(600)

asyncio.run(hangs())
"""


async def test_a_process_that_does_not_come_to_its_end_is_ended() -> None:
    """The last resort, ten seconds after the deadline: whatever hangs, the next process may start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", NEVER_ENDS, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert (process.returncode, b"not stopped after 0.1 s" in told) == (1, True)
    assert b"hangs" in told, "what it was waiting for is shown"


async def ready(member: Member) -> Member:
    await member.ready()
    return member


async def status(shop: Marketplace, order_id: str) -> str:
    return str((await shop.done("GET", f"/orders/{order_id}"))["status"])


async def begun(shop: Marketplace, order_id: str) -> None:
    """Wait until a saga of the order is under way."""
    await eventually(lambda: shop.sagas(order_id), lambda found: any(one[1] == "RUNNING" for one in found))
