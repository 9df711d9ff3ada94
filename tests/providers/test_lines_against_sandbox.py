"""Nothing that may have an effect is sent twice by a line, whatever the wire does: the sandbox counts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from offerhub.cli.development import sandbox_process
from offerhub.kernel.clock import SystemClock
from offerhub.kernel.money import UNITS_PER_CENT, Units
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.airtm.model import Done, Unavailable, Unknown
from offerhub.providers.stellar.horizon import Horizon
from offerhub.providers.stellar.network import Network
from offerhub.providers.trustless_work.client import SendUnknown, TrustlessWork
from offerhub.runtime.http import HttpClient
from offerhub.runtime.line import Line, LineOptions
from support.outside import World
from support.product import unique

AMOUNT = Units(25_50 * UNITS_PER_CENT)
PATIENT = LineOptions(attempts=5, breaker_failures=1000)


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    with sandbox_process(ledger_seconds=0, airtm_settle_seconds=0) as environ:
        async with aiohttp.ClientSession() as http:
            yield World(environ, http)


class Clients:
    """One client of each provider, each on a line that repeats eagerly."""

    def __init__(self, world: World, http: HttpClient) -> None:
        environ, clock = world.environ, SystemClock()
        self.airtm_line = Line("airtm", http, clock, PATIENT)
        self.airtm = Airtm(
            self.airtm_line,
            environ["AIRTM_API_URL"],
            environ["AIRTM_CHECKOUT_URL"],
            environ["AIRTM_API_KEY"],
            environ["AIRTM_API_SECRET"],
            timeout_seconds=5,
        )
        network = Network(
            environ["STELLAR_NETWORK_PASSPHRASE"], environ["STELLAR_HORIZON_URL"], environ["STELLAR_USDC_ISSUER"]
        )
        self.horizon = Horizon(Line("stellar", http, clock, PATIENT), network)
        self.trustless = TrustlessWork(
            Line("trustless_work", http, clock, PATIENT), environ["TRUSTLESS_API_URL"], environ["TRUSTLESS_API_KEY"]
        )

    async def create_payin(self, code: str) -> Any:
        return await self.airtm.create_payin(
            code=code,
            amount=AMOUNT,
            description="Top-up",
            confirmation_uri="https://shop.example/done",
            cancel_uri="https://shop.example/cancelled",
        )


@pytest.fixture
async def clients(world: World) -> AsyncIterator[Clients]:
    async with HttpClient() as http:
        yield Clients(world, http)
    await world.mend()


KINDS = ["lose_response", "error_before", "error_after", "rate_limit"]
CALLS: dict[str, tuple[str, str, Callable[[Clients], Awaitable[Any]]]] = {
    "payin": ("airtm", "/payins$", lambda clients: clients.create_payin(unique("payin"))),
    "payout": (
        "airtm",
        "/payouts$",
        lambda clients: clients.airtm.create_payout(
            code=unique("payout"), email="ana@example.com", amount=AMOUNT, notes="n"
        ),
    ),
    "commit": ("airtm", "/payouts/.*/commit$", lambda clients: clients.airtm.commit_payout("x")),
    "submit": ("horizon", "/transactions$", lambda clients: clients.horizon.submit("AAAA")),
    "send": ("trustless_work", "/helper/send-transaction$", lambda clients: clients.trustless.send("AAAA")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
async def test_a_post_is_sent_once(clients: Clients, world: World, call: str, kind: str) -> None:
    face, route, make = CALLS[call]
    fault = await world.fault(face, route, kind, method="POST")
    await make(clients)
    assert await fault.fired() == 1


async def test_a_lost_answer_stays_unknown_and_is_found_by_its_code(clients: Clients, world: World) -> None:
    code = unique("payin")
    await world.fault("airtm", "/payins$", "lose_response", times=1)
    assert isinstance(await clients.create_payin(code), Unknown)
    # The evidence is a read, which survives a burst of refusals by itself.
    burst = await world.fault("airtm", "/payins/by-code/", "rate_limit", times=3)
    found = await clients.airtm.payin_by_code(code)
    assert found is not None
    assert found.code == code
    assert await burst.fired() == 3
    assert clients.airtm_line.snapshot().retries == 3
    assert len(await world.airtm_payins(code)) == 1


async def test_an_open_breaker_is_certain_to_have_had_no_effect(world: World) -> None:
    async with HttpClient() as http:
        clients = Clients(world, http)
        clients.airtm_line._breaker._failures_max = 1
        fault = await world.fault("airtm", "/payins$", "error_before", status=503)
        assert isinstance(await clients.create_payin(unique("payin")), Unknown), "a 503 may be anything"
        code = unique("payin")
        outcome = await clients.create_payin(code)
        assert isinstance(outcome, Unavailable)
        assert outcome.refusal.details["heldBack"] == "breaker_open"
        assert await fault.fired() == 1
        assert await world.airtm_payins(code) == []
    await world.mend()


async def test_without_faults_the_lines_are_not_noticed(clients: Clients) -> None:
    assert isinstance(await clients.create_payin(unique("payin")), Done)
    assert await clients.airtm.payin_by_code("nobody") is None
    assert (await clients.horizon.latest_ledger()).sequence > 0
    await clients.trustless.reach()
    assert isinstance(await clients.trustless.send("AAAA"), SendUnknown) is False
    assert clients.airtm_line.snapshot().calls == {"answered": 1, "refused": 1}
