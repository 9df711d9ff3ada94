"""F11, F23 and F24: a node that cannot say, a network that begins anew, a contract that was archived."""

from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from offerhub.cli.development import sandbox_process
from offerhub.wallets import same_network
from support.outside import World, eventually
from support.product import Marketplace, Person, environment, running

UNIT = 10_000_000


async def withdrawn(shop: Marketplace, world: World, person: Person, amount: str) -> tuple[Any, str]:
    """A withdrawal to a wallet outside: the answer and that wallet's address."""
    target, _ = await world.outside_wallet()
    body = {"userId": person.id, "amount": amount, "destinationType": "crypto", "destinationRef": target}
    return await shop.done("POST", "/withdrawals", body, status=201), target


async def received(world: World, address: str) -> str | None:
    state = await world.control("GET", "state")
    return next(one["usdc"] for one in state["accounts"] if one["address"] == address)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("not_found", {"route": "/transactions/", "method": "GET", "times": 3}),
        ("tx_error", {"code": "tx_bad_seq", "then": "success", "times": 1}),
    ],
)
async def test_f11_a_node_that_says_the_opposite_causes_no_second_payment(
    shop: Marketplace, world: World, kind: str, more: dict[str, Any]
) -> None:
    [alice] = await shop.people("20")
    await shop.live.system_is_ready()
    route = more.pop("route", "/transactions$")
    fault = await world.fault("horizon", route, kind, **more)
    made, target = await withdrawn(shop, world, alice, "7.50")
    status = "SELECT status FROM withdrawals WHERE id = $1"
    await eventually(lambda: shop.live.value(status, made["id"]), lambda found: found == "WITHDRAWAL_COMPLETED")
    assert await fault.fired() == more["times"]
    assert await received(world, target) == "7.5000000"
    assert await shop.units(alice.id) == {"available": 125 * UNIT // 10}
    await shop.live.assert_conserved(world)


async def test_f24_an_archived_contract_is_restored_on_the_way_at_a_higher_fee(
    shop: Marketplace, world: World, pair: tuple[Person, Person]
) -> None:
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS")
    contract = (await shop.done("GET", f"/orders/{order_id}"))["escrow"]["contractId"]
    fault = await world.fault("chain", ".", "archive", target=contract)
    assert await fault.fired() == 1
    released = await shop.done("POST", f"/orders/{order_id}/resolution/release")
    assert released["status"] == "CLOSED"
    found = (await world.control("GET", "state"))["contracts"]
    assert [(one["archived"], one["released"]) for one in found if one["address"] == contract] == [(False, True)]
    await shop.live.assert_conserved(world)


@pytest.fixture
def doomed() -> Iterator[dict[str, str]]:
    """A sandbox of its own, whose network will be reset."""
    with sandbox_process(ledger_seconds=0.05, airtm_settle_seconds=0) as variables:
        yield variables


@pytest.mark.parametrize("source", ["horizon", "rpc"])
async def test_f23_a_network_that_begins_anew_is_noticed_and_everything_halts(
    source: str,
    doomed: dict[str, str],
    fresh_database_url: str,
    redis_url: str,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(same_network, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(same_network, "BEHIND_LEDGERS_MAX", 5)
    world = World(doomed, http)
    variables = environment(fresh_database_url, redis_url, doomed, STELLAR_DEPOSIT_SOURCE=source)
    async with running(variables) as live:
        shop = await Marketplace.found(live, world, http)
        [alice] = await shop.people("20")
        before = await shop.units(alice.id)
        fault = await world.fault("chain", ".", "reset")
        assert await fault.fired() == 1
        # What comes to the same address on the new network is nobody's here.
        await world.control("POST", "accounts", addresses=[alice.address])
        await world.mint(alice.address, "5")
        on = "SELECT message FROM maintenance"
        message = await eventually(lambda: live.value(on), lambda found: found is not None)
        assert "not the one that the books are about" in message
        body = {"userId": alice.id, "amount": "1.00", "destinationType": "crypto", "destinationRef": alice.address}

        async def answered() -> int:
            return (await shop.post("/withdrawals", body)).status

        # Each process reads the switch once a second; until then the withdrawal finds no account, and is refused.
        await eventually(answered, lambda status: status == 503)
        await eventually(lambda: shop.units(alice.id), lambda found: found == before)
        assert await live.value("SELECT count(*) FROM deposits") == 1
        await live.assert_books_hold()
