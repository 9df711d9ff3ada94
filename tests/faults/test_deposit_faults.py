"""F16 and F17: whatever becomes of the wire to Horizon or RPC, and in whatever shape money comes, it is booked once.

Each scenario runs through both sources of deposits.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from offerhub.providers.stellar.credits import CreditStream, HorizonCredits, RpcCredits
from offerhub.wallets import deposit_store, gaps
from offerhub.wallets.deposits import DepositWatcher, cursor_name
from offerhub.wallets.histories import book_history
from support.outside import World, eventually
from support.product import Marketplace, Running, running

UNIT = 10_000_000
SOURCES = ("horizon", "rpc")


@pytest.fixture(scope="module")
async def rpc_shop(
    office_environ: dict[str, str], world: World, http: aiohttp.ClientSession
) -> AsyncIterator[Marketplace]:
    """A marketplace of a product that reads its deposits from RPC."""
    async with running(office_environ | {"STELLAR_DEPOSIT_SOURCE": "rpc"}) as live:
        yield await Marketplace.found(live, world, http)


@pytest.fixture(params=SOURCES)
def reader(request: pytest.FixtureRequest, shop: Marketplace, rpc_shop: Marketplace) -> Marketplace:
    """The same scenario through each source."""
    found = {"horizon": shop, "rpc": rpc_shop}[request.param]
    assert found.live.product.deposits.source.name == request.param
    return found


async def credit(world: World, shape: str, *to: str, amount: str = "1", **more: Any) -> str:
    return str((await world.control("POST", "credit", shape=shape, to=list(to), amount=amount, **more))["hash"])


# -- F17 -------------------------------------------------------------------------------------------------------------


async def test_f17_money_in_every_shape(reader: Marketplace, world: World) -> None:
    alice, bob = await reader.people(None, None)
    await credit(world, "payment", alice.address, bob.address, amount="0.0000001", memo="7", memo_type="id")
    await credit(world, "payment", alice.address, amount="2", memo="a stranger's memo")
    await credit(world, "path", alice.address, amount="3")
    await credit(world, "muxed", alice.address, amount="4", muxed_id=42)
    await credit(world, "call", alice.address, bob.address, alice.address, amount="5")
    await credit(world, "claimable", alice.address, amount="6")
    await credit(world, "native", alice.address, amount="7")
    async with world.http.post(
        f"{world.url}/_sim/credit", json={"shape": "impostor", "to": [alice.address], "amount": "8"}
    ) as refused:
        assert refused.status == 400, "there is no trustline for somebody else's USDC"
    await reader.live.deposits_caught_up()
    assert await reader.units(alice.id) == {"available": 1 + (2 + 3 + 4 + 5 + 5) * UNIT}
    assert await reader.units(bob.id) == {"available": 1 + 5 * UNIT}
    rows = await reader.live.rows(
        "SELECT amount, operation_index, memo FROM deposits WHERE user_id = $1 ORDER BY ledger, operation_index",
        alice.id,
    )
    assert [(row["amount"], row["operation_index"]) for row in rows] == [
        (1, 0),
        (2 * UNIT, 0),
        (3 * UNIT, 0),
        (4 * UNIT, 0),
        (5 * UNIT, 0),
        (5 * UNIT, 1),
    ]
    assert [row["memo"] for row in rows[:2]] == ["7", "a stranger's memo"]
    await reader.live.assert_conserved(world)


async def test_f17_a_record_that_cannot_be_booked_waits_for_a_person_and_holds_up_nobody(
    reader: Marketplace, world: World
) -> None:
    alice, bob = await reader.people(None, None)
    database = reader.live.product.database
    await database.run(
        lambda tx: tx.execute(
            "ALTER TABLE deposits ADD CONSTRAINT poison CHECK (address <> '" + alice.address + "') NOT VALID"
        )
    )
    try:
        await credit(world, "call", bob.address, alice.address, bob.address, amount="1")
        await credit(world, "payment", bob.address, amount="2")
        await reader.live.deposits_caught_up()
    finally:
        await database.run(lambda tx: tx.execute("ALTER TABLE deposits DROP CONSTRAINT poison"))
    assert await reader.units(bob.id) == {"available": 4 * UNIT}
    assert await reader.units(alice.id) == {}
    found = await reader.live.rows("SELECT record_id, record FROM quarantined_records WHERE source = 'deposits'")
    mine = [row for row in found if alice.address in row["record_id"]]
    assert len(mine) == 1
    await reader.live.assert_conserved(world, unbooked={alice.address: UNIT})
    # The person decides that it is good after all.
    made = reader.live.product
    await database.run(lambda tx: tx.execute("DELETE FROM quarantined_records"))
    booked, complete = await book_history(database, made.horizon, made.clock, alice.address, lambda moved: True, 0)
    assert (booked.credited, booked.quarantined, complete) == (1, 0, True)
    assert await reader.units(alice.id) == {"available": UNIT}
    await reader.live.assert_conserved(world)


# -- F16 -------------------------------------------------------------------------------------------------------------

READS = {"horizon": ("horizon", "/payments"), "rpc": ("rpc", "/getEvents")}


KINDS = (
    "duplicate_items",
    "truncated_json",
    "empty_body",
    "html_page",
    "lose_response",
    "lose_request",
    "error_before",
    "slow_body",
)


async def test_f16_a_bad_wire_neither_loses_nor_doubles(reader: Marketplace, world: World) -> None:
    [alice] = await reader.people(None)
    face, route = READS[reader.live.product.deposits.source.name]
    for number, kind in enumerate(KINDS, 1):
        more = {"seconds": 0.00001} if kind == "slow_body" else {}
        fault = await world.fault(face, f"{route}$", kind, times=1, **more)
        await credit(world, "call", alice.address, alice.address, amount="1")
        await eventually(fault.fired, lambda fired: fired == 1)
        arrived = {"available": 2 * number * UNIT}
        await eventually(lambda: reader.units(alice.id), lambda found, arrived=arrived: found == arrived)
    booked = await reader.live.value("SELECT count(*) FROM deposits WHERE user_id = $1", alice.id)
    assert booked == 2 * len(KINDS)
    await reader.live.assert_conserved(world)


@pytest.fixture
async def stopped(
    request: pytest.FixtureRequest, fresh_database_url: str, environ: dict[str, str], redis_url: str
) -> AsyncIterator[Running]:
    """A product that does not watch yet, reading from the source that the test names."""
    variables = {"DATABASE_URL": fresh_database_url, "REDIS_URL": redis_url, "STELLAR_DEPOSIT_SOURCE": request.param}
    async with running(environ | variables, jobs=False) as live:
        yield live


@contextlib.asynccontextmanager
async def watching(live: Running) -> AsyncIterator[None]:
    task = asyncio.create_task(live.product.deposits.watch())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def moved_in(live: Running, world: World, http: aiohttp.ClientSession) -> tuple[Marketplace, Any]:
    """A user whose wallet is there: it needs no saga for that."""
    shop = await Marketplace.found(live, world, http)
    made = await shop.done("POST", "/users", {"externalUserId": "late"}, status=201)
    address = made["wallet"]["publicKey"]
    await world.control("POST", "accounts", addresses=[address])
    await live.product.database.run(
        lambda tx: tx.execute("UPDATE wallets SET status = 'READY' WHERE public_key = $1", address)
    )
    return shop, made


async def gap(live: Running) -> Any:
    rows = await live.rows("SELECT source, filled_by FROM deposit_gaps")
    return [(row["source"], row["filled_by"]) for row in rows]


KNOWN_LEDGERS = 100


@pytest.mark.parametrize(("stopped", "filler"), [("horizon", "rpc"), ("rpc", "horizon")], indirect=["stopped"])
async def test_f16_history_that_is_gone_is_a_loud_gap_that_the_other_source_fills(
    stopped: Running,
    filler: str,
    world: World,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = stopped.product.deposits.source.name
    monkeypatch.setattr(gaps, "RETRY_SECONDS", 0.3)
    shop, made = await moved_in(stopped, world, http)
    await stopped.product.deposits.begin()
    address = made["wallet"]["publicKey"]
    await credit(world, "call", address, address, amount="1")
    await world.mint(address, "2")
    paid = (await stopped.product.horizon.latest_ledger()).sequence
    # Both have forgotten: the network is long past what was paid. What comes from now on they know for ten seconds.
    while (await world.control("POST", "close"))["ledger"] <= paid + KNOWN_LEDGERS:
        pass
    forgotten = [
        await world.fault("horizon", "/(payments)?$", "history_gone", value=KNOWN_LEDGERS),
        await world.fault("rpc", "/get(Events|Health)", "history_gone", value=KNOWN_LEDGERS),
    ]
    async with watching(stopped):
        await eventually(lambda: gap(stopped), lambda found: found == [(source, None)])
        await world.mint(address, "4")
        await eventually(lambda: shop.units(made["id"]), lambda found: found.get("available", 0) >= 4 * UNIT)
        told = (await shop.done("GET", "/health/detailed"))["dependencies"]["deposits"]
        assert told["status"] == "degraded"
        assert "missed" in told["error"]
        assert all([await fault.fired() for fault in forgotten])
        # An operator finds a provider that still has them.
        await world.mend()
        await eventually(lambda: gap(stopped), lambda found: bool(found) and all(one[1] for one in found))
        await eventually(lambda: shop.units(made["id"]), lambda found: found == {"available": 8 * UNIT})
    assert {one[1] for one in await gap(stopped)} == {filler}
    told = (await shop.done("GET", "/health/detailed"))["dependencies"]["deposits"]
    assert told["status"] == "healthy"
    assert told["lag"] < 60
    await stopped.assert_books_hold()


@pytest.mark.parametrize("source", SOURCES)
async def test_changing_the_source_books_nothing_twice(
    source: str, shop: Marketplace, rpc_shop: Marketplace, world: World
) -> None:
    """Whatever one of them has booked, the other reads again from the beginning, and changes nothing."""
    reader = shop if source == "horizon" else rpc_shop
    alice, bob = await reader.people("1.5", None)
    await credit(world, "call", alice.address, bob.address, alice.address, amount="5")
    await credit(world, "path", bob.address, amount="3")
    await credit(world, "payment", alice.address, bob.address, amount="2")
    await reader.live.deposits_caught_up()
    before = await reader.live.rows("SELECT * FROM deposits ORDER BY operation_id, address, operation_index")
    made = reader.live.product
    assert made.rpc is not None
    other: CreditStream = RpcCredits(made.rpc) if source == "horizon" else HorizonCredits(made.horizon)

    async def halt(reason: str) -> None:
        raise AssertionError(reason)

    again = DepositWatcher(made.database, other, None, made.horizon, made.clock, 0.05, halt)
    await made.database.run(lambda tx: deposit_store.set_cursor(tx, cursor_name(other.name), other.begin_at(1)))
    while await again.book_page():
        pass
    after = await reader.live.rows("SELECT * FROM deposits ORDER BY operation_id, address, operation_index")
    assert after == before
    assert await reader.units(bob.id) == {"available": 10 * UNIT}
    await reader.live.assert_conserved(world)


async def test_a_source_goes_on_where_the_other_stopped(shop: Marketplace) -> None:
    made = shop.live.product
    assert made.rpc is not None
    rpc = RpcCredits(made.rpc)
    await made.database.run(lambda tx: deposit_store.set_cursor(tx, cursor_name("rpc"), rpc.begin_at(1)))

    async def halt(reason: str) -> None:
        raise AssertionError(reason)

    changed = DepositWatcher(made.database, rpc, HorizonCredits(made.horizon), made.horizon, made.clock, 0.05, halt)
    await changed.begin()
    cursors = await made.database.run(
        lambda tx: deposit_store.cursors(tx, [cursor_name(one) for one in SOURCES]), read_only=True
    )
    stopped_at = int(cursors[cursor_name("horizon")]) >> 32
    assert 1 < int(cursors[cursor_name("rpc")].partition("-")[0]) >> 32 <= stopped_at


async def test_whoever_begins_to_watch_goes_on_where_the_last_one_stopped(shop: Marketplace) -> None:
    """R4: never from the present on. What came while nobody watched is in the first page."""
    made = shop.live.product
    assert made.rpc is not None
    rpc, name = RpcCredits(made.rpc), cursor_name("rpc")
    stopped = rpc.begin_at((await rpc.span()).latest)
    await made.database.run(lambda tx: deposit_store.set_cursor(tx, name, stopped))
    [alice] = await shop.people("1.5")

    async def halt(reason: str) -> None:
        raise AssertionError(reason)

    await DepositWatcher(made.database, rpc, None, made.horizon, made.clock, 0.05, halt).begin()
    cursor = await made.database.run(lambda tx: deposit_store.cursor(tx, name), read_only=True)
    assert cursor == stopped
    assert alice.address in {moved.to_address for moved in (await rpc.after(stopped)).transfers}
