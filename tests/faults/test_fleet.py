"""Three API processes and two workers on one database: once whatever runs once, and nothing lost or doubled.

The short form runs in every suite; `make test-long` takes Redis away for ten seconds and puts
more money on its way.
"""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args
from urllib.parse import quote

import aiohttp
import pytest
from redis.asyncio import Redis

from asgi_client import Heard
from offerhub.reconciliation.model import JobType
from offerhub.runtime import leases
from support.fleet import Fleet, Member, fleet
from support.long_runs import long_runs
from support.outside import World, eventually
from support.own_redis import OwnRedis
from support.product import MASTER_KEY, Marketplace, Person, environment
from support.sse import follow

ORDERS = 24 if long_runs() else 5
REDIS_AWAY_SECONDS = 10.0 if long_runs() else 1.0
FRAMES_PER_STREAM = 7
OF_AIRTM = {"sync-topups", "sync-withdrawals", "sync-refunds"}
FLOW_SECONDS = 900.0 if long_runs() else 240.0
AGAIN = frozenset({409, 429, 500, 502, 503, 504})

pytestmark = pytest.mark.long_form


@pytest.fixture(scope="module")
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("redis"))
    await server.start()
    yield server
    await server.stop()


@pytest.fixture(scope="module")
async def ours(
    tmp_path_factory: pytest.TempPathFactory,
    office_environ: dict[str, str],
    redis: OwnRedis,
    sandbox_environ: dict[str, str],
) -> AsyncIterator[Fleet]:
    # Not `test`: what runs by the clock shall run.
    environ = environment(
        office_environ["DATABASE_URL"], redis.url, sandbox_environ, NODE_ENV="development", SHUTDOWN_SECONDS="5"
    )
    folder: Path = tmp_path_factory.mktemp("fleet")
    async with fleet(folder, {**environ, "OFFERHUB_MASTER_KEY": MASTER_KEY}, apis=3, workers=2) as found:
        yield found


@pytest.fixture(scope="module")
async def shops(ours: Fleet, world: World, http: aiohttp.ClientSession) -> list[Marketplace]:
    """One marketplace as each of the processes serves it."""
    first = await Marketplace.found(ours.at(ours.apis[0]), world, http)
    return [first.on(ours.at(api)) for api in ours.apis]


async def test_what_runs_by_the_clock_runs_once(ours: Fleet, shops: list[Marketplace]) -> None:
    """A new schedule runs at once, and then at each turn of the clock once; both workers look after all of them."""
    live = shops[0].live
    sql = """
        SELECT DISTINCT job FROM reconciliation_runs WHERE trigger = 'schedule' AND status = 'SUCCEEDED' ORDER BY job
    """
    # Each once when it was new, and once for each turn of its own since then.
    more = """
        SELECT r.job FROM reconciliation_runs r JOIN unnest($1::text[], $2::float8[]) AS s (job, every) USING (job)
        WHERE r.trigger = 'schedule' GROUP BY r.job, s.every
        HAVING count(*) > 1 + floor(extract(epoch FROM clock_timestamp()) / s.every) - floor($3::float8 / s.every)
    """
    every = {
        one.name.removeprefix("reconciliation:"): one.every_seconds for one in live.product.reconciliation.schedules()
    }

    async def runs() -> list[str]:
        return [row["job"] for row in await live.rows(sql)]

    operator = shops[1].using(MASTER_KEY)

    async def planned() -> list[str]:
        found = (await operator.done("GET", "/admin/queues/schedules"))["schedules"]
        return sorted(one["job"].removeprefix("reconciliation:") for one in found)

    jobs = sorted(set(get_args(JobType)) - OF_AIRTM)
    await eventually(planned, lambda found: found == jobs)
    await eventually(runs, lambda found: found == jobs)
    queues = (await operator.done("GET", "/admin/queues"))["queues"]
    assert queues["reconciliation"]["delayed"] == len(jobs), "one next turn each"
    assert [queue["workers"] for queue in queues.values()] == [2] * len(queues)
    assert await live.rows(more, list(every), list(every.values()), ours.begun) == []


async def test_what_one_process_has_revoked_all_refuse(shops: list[Marketplace]) -> None:
    key = await shops[0].with_key("read")
    listed = (await shops[0].get("/auth/api-keys?limit=1")).json["data"]
    token = (await shops[1].done("POST", f"/auth/api-keys/{listed[0]['id']}/token", {"ttl": 600}, status=201))[
        "token"
    ]
    for shop in shops:
        for credential in (key.credential, token):
            assert (await shop.using(credential).get("/orders")).status == 200, "and it is remembered"
    await shops[2].done("DELETE", f"/auth/api-keys/{listed[0]['id']}")
    for shop in shops:
        for credential in (key.credential, token):

            async def status(shop: Marketplace = shop, credential: str = credential) -> int:
                return (await shop.using(credential).get("/orders")).status

            await eventually(status, lambda found: found == 401)


async def test_the_deposit_watch_moves_when_its_process_is_killed_or_stopped(
    ours: Fleet, shops: list[Marketplace]
) -> None:
    assert leases.LEASE_SECONDS + leases.POLL_SECONDS_MAX < 10, "the longest that it can take"
    live = shops[0].live

    async def holder() -> Member | None:
        found = await live.value("SELECT holder FROM leases WHERE name = 'deposits' AND held_until > now()")
        return next((one for one in ours.workers if str(found).endswith(f":{one.pid}")), None)

    first = await eventually(holder, lambda found: found is not None)
    assert first is not None
    await first.kill()
    second = await eventually(holder, lambda found: found is not None and found is not first)
    assert second is not None
    [person] = await shops[1].people("3.00")
    assert await shops[2].balance(person) == ("3.00", "0.00")
    # One that is asked to stop hands it over, and says how it ended.
    third = await ours.start_worker()
    await third.ready()
    assert await second.stop() == 0
    assert await eventually(holder, lambda found: found is third) is third
    # One that takes some queues only is counted at those.
    part = await ours.start_worker("--queues", "webhooks,reconciliation")
    await part.ready()

    async def workers() -> list[int]:
        queues = (await shops[0].using(MASTER_KEY).done("GET", "/admin/queues"))["queues"]
        return [queues[name]["workers"] for name in ("sagas", "webhooks", "reconciliation")]

    await eventually(workers, lambda found: found == [1, 2, 2])
    await (await ours.start_worker()).ready()
    assert await part.stop() == 0


async def repeated(shops: "itertools.cycle[Marketplace]", method: str, path: str, body: object, key: str) -> Heard:
    """A request as a client repeats it: with its key, at whichever process, until it has an answer that stands."""
    while True:
        shop = next(shops)
        try:
            heard = await shop.send(method, path, body, key=key)
        except aiohttp.ClientError:
            await asyncio.sleep(0.2)
            continue
        if heard.status not in AGAIN or heard.code == "INVALID_STATE":
            return heard
        await asyncio.sleep(0.2)


async def sell(shops: list[Marketplace], number: int, buyer: Person, seller: Person) -> str:
    """An order from its beginning to its release, each request at another process; returns its id."""
    turn = itertools.cycle(shops[number % 3 :] + shops[: number % 3])
    body = {"buyer_id": buyer.id, "seller_id": seller.id, "amount": "2.00", "title": "A logo"}
    order_id = str((await repeated(turn, "POST", "/orders", body, f"order-{number}")).data["id"])
    for state, move in (
        ("FUNDS_RESERVED", "reserve"),
        ("ESCROW_FUNDING", "escrow"),
        ("IN_PROGRESS", "escrow/fund"),
        ("CLOSED", "resolution/release"),
    ):
        heard = await repeated(turn, "POST", f"/orders/{order_id}/{move}", None, f"{move}-{number}")
        assert heard.status in (200, 201, 202) or heard.code == "INVALID_STATE", heard.body

        async def status() -> str:
            return str((await next(turn).done("GET", f"/orders/{order_id}"))["status"])

        async with asyncio.timeout(FLOW_SECONDS):
            while await status() != state:
                await asyncio.sleep(0.1)
    return order_id


async def listen(shop: Marketplace, heard: list[str]) -> None:
    """What a client hears that goes away after every few events and comes back with the last id it has seen."""
    last: str | None = None
    while True:
        try:
            async with follow(shop.http, shop.live.url, shop.credential, "since=0", last_id=last) as stream:
                for _ in range(FRAMES_PER_STREAM):
                    frame = await stream.next()
                    if frame is None:
                        break
                    if frame.id is not None:
                        heard.append(frame.data["eventId"])
                        last = frame.id
        except aiohttp.ClientError:
            await asyncio.sleep(0.2)


async def logged(shop: Marketplace) -> list[str]:
    """The whole log, page after page."""
    found: list[str] = []
    query = "limit=500"
    while page := (heard := await shop.get(f"/events/log?{query}")).data:
        found += [one["eventId"] for one in page]
        query = f"limit=500&cursor={quote(heard.json['pagination']['nextCursor'])}"
    return found


async def misfortune(ours: Fleet, redis: OwnRedis) -> None:
    """What befalls the fleet while money is on its way."""
    client = Redis.from_url(redis.url)
    await asyncio.sleep(1)
    await client.flushall()
    await client.aclose()
    await asyncio.sleep(1)
    alive = [one for one in ours.workers if one.process.returncode is None]
    await alive[0].kill()
    await redis.stop()
    await asyncio.sleep(REDIS_AWAY_SECONDS)
    await redis.start()
    await (await ours.start_worker()).ready()
    await alive[1].kill()
    await (await ours.start_worker()).ready()
    # The last one is asked to stop in the middle of it, and ends in time.
    stopping = next(one for one in ours.workers if one.process.returncode is None)
    stopping.process.send_signal(signal.SIGTERM)
    await (await ours.start_worker()).ready()
    assert await stopping.ends() == 0, stopping.printed[-20:]


async def test_no_effect_is_lost_or_doubled_whatever_befalls_redis_and_the_workers(
    ours: Fleet, redis: OwnRedis, shops: list[Marketplace], world: World
) -> None:
    live = shops[0].live
    amount = f"{2 * ORDERS}.00"
    told: list[list[str]] = [[] for _ in shops]
    listeners = [asyncio.create_task(listen(shop, heard)) for shop, heard in zip(shops, told, strict=True)]
    [buyer, seller] = await shops[0].people(amount, None)
    async with asyncio.timeout(FLOW_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(misfortune(ours, redis))
        sales = [group.create_task(sell(shops, number, buyer, seller)) for number in range(ORDERS)]
    orders = [sale.result() for sale in sales]
    assert await shops[0].balance(buyer) == ("0.00", "0.00")
    for order_id in orders:
        postings = await shops[0].postings(order_id)
        assert len(postings) == len(set(postings)), postings
        events = await shops[0].events(order_id)
        assert len(events) == len(set(events)), events
        assert {status for _, status in await shops[0].sagas(order_id)} == {"SUCCEEDED"}

    async def left() -> int:
        return int(await live.value("SELECT count(*) FROM outbox WHERE queue <> 'reconciliation'"))

    if long_runs():
        # Jobs that Redis has lost are handed over again after a minute; their work is done long before.
        async with asyncio.timeout(FLOW_SECONDS):
            while await left():
                await asyncio.sleep(0.2)
    assert (await shops[1].using(MASTER_KEY).get("/admin/dlq")).json["data"] == []
    await live.assert_conserved(world)
    await live.assert_books_hold()
    # Every process has told its listeners the same, in the order of the log, each event once.
    log = await logged(shops[2])
    assert len(log) == len(set(log)) > 4 * ORDERS

    async def lengths() -> list[int]:
        return [len(heard) for heard in told]

    await eventually(lengths, lambda found: min(found) >= len(log))
    for listener in listeners:
        listener.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    assert told == [log] * len(shops)
