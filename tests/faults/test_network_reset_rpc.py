"""F23 with deposits read from RPC: what comes to the same addresses on a network that began anew is not booked."""

from collections.abc import Iterator

import aiohttp
import pytest

from offerhub.cli.development import sandbox_process
from offerhub.wallets import same_network
from support.outside import World, eventually
from support.product import Marketplace, environment, running


@pytest.fixture
def doomed() -> Iterator[dict[str, str]]:
    """A sandbox of its own, whose network will be reset."""
    with sandbox_process(ledger_seconds=0.05, airtm_settle_seconds=0) as variables:
        yield variables


async def test_f23_nothing_is_booked_on_a_network_that_began_anew(
    doomed: dict[str, str],
    fresh_database_url: str,
    redis_url: str,
    http: aiohttp.ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(same_network, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(same_network, "BEHIND_LEDGERS_MAX", 5)
    world = World(doomed, http)
    variables = environment(fresh_database_url, redis_url, doomed, STELLAR_DEPOSIT_SOURCE="rpc")
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
