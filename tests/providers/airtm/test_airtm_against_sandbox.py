"""Our client of Airtm against the sandbox, over HTTP: every call, what is refused, and answers that get lost."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from offerhub.cli.development import sandbox_process
from offerhub.errors import ProviderError, ProviderRateLimited
from offerhub.kernel.money import UNITS_PER_CENT, Units
from offerhub.providers.airtm.client import Airtm
from offerhub.providers.airtm.model import Done, Exists, Payin, Payout, Rejected, Unavailable, Unknown
from offerhub.runtime.http import HttpClient
from support.outside import World

AMOUNT = Units(25_50 * UNITS_PER_CENT)
MAGIC = Units(77_77 * UNITS_PER_CENT)


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    with sandbox_process(ledger_seconds=0, airtm_settle_seconds=0) as environ:
        async with aiohttp.ClientSession() as http:
            yield World(environ, http)


@pytest.fixture
async def airtm(world: World) -> AsyncIterator[Airtm]:
    http = HttpClient()
    yield client(world, http)
    await http.close()
    await world.mend()


def client(world: World, http: HttpClient, secret: str | None = None) -> Airtm:
    environ = world.environ
    return Airtm(
        http,
        environ["AIRTM_API_URL"],
        environ["AIRTM_CHECKOUT_URL"],
        environ["AIRTM_API_KEY"],
        secret or environ["AIRTM_API_SECRET"],
        timeout_seconds=2,
    )


async def payin(airtm: Airtm, code: str) -> Any:
    return await airtm.create_payin(
        code=code,
        amount=AMOUNT,
        description="Top-up",
        confirmation_uri="https://shop.example/done",
        cancel_uri="https://shop.example/cancelled",
    )


async def payout(airtm: Airtm, code: str, email: str = "ana@example.com", amount: Units = AMOUNT) -> Any:
    return await airtm.create_payout(code=code, email=email, amount=amount, notes="Payout")


async def test_users(airtm: Airtm) -> None:
    found = await airtm.find_user("ana@example.com")
    assert found is not None
    assert (found.is_active, found.is_verified, found.country) == (True, True, "MEX")
    inactive = await airtm.find_user("ana+inactive@example.com")
    unverified = await airtm.find_user("ana+unverified@example.com")
    assert inactive is not None
    assert unverified is not None
    assert (inactive.is_active, unverified.is_verified) == (False, False)
    assert await airtm.find_user("ana+unknown@example.com") is None
    await airtm.reach()


async def test_a_wrong_secret_is_told_without_repeating_it(world: World) -> None:
    http = HttpClient()
    try:
        with pytest.raises(ProviderError) as refused:
            await client(world, http, "not-the-secret").balance()
        assert "not-the-secret" not in str(refused.value.details)
    finally:
        await http.close()


async def test_a_payin_to_its_end(airtm: Airtm, world: World) -> None:
    before = await airtm.balance()
    made = await payin(airtm, "c-in")
    assert isinstance(made, Done)
    found: Payin = made.value
    assert (found.status, found.amount, found.code) == ("CREATED", AMOUNT, "c-in")
    async with world.http.get(found.checkout_url) as page:
        assert page.status == 200, "the payer's browser goes there"
    assert isinstance(await payin(airtm, "c-in"), Exists)
    await world.airtm_payin(found.id, "confirm", fee="0.31")
    read = await airtm.payin(found.id)
    assert read is not None
    assert (read.status, read.net_amount) == ("CONFIRMED", AMOUNT - 31 * UNITS_PER_CENT)
    assert await airtm.payin_by_code("c-in") == read
    assert (await airtm.balance()).available == before.available + read.net_amount
    assert isinstance(await airtm.cancel_payin(found.id), Exists)
    assert await airtm.payin_by_code("c-never") is None


async def test_a_payin_is_cancelled_once(airtm: Airtm) -> None:
    made = await payin(airtm, "c-cancelled")
    assert isinstance(made, Done)
    assert await airtm.cancel_payin(made.value.id) == Done(None)
    again = await airtm.cancel_payin(made.value.id)
    assert isinstance(again, Rejected)
    assert again.reason_code == "415030"
    read = await airtm.payin(made.value.id)
    assert read is not None
    assert read.status == "CANCELED"


async def test_a_payout_to_its_end(airtm: Airtm, world: World) -> None:
    made = await payout(airtm, "c-out", "ana+fee@example.com")
    assert isinstance(made, Done)
    found: Payout = made.value
    assert (found.status, found.amount, found.fee) == ("CREATED", AMOUNT, 25 * UNITS_PER_CENT)
    assert await airtm.commit_payout(found.id) == Done(None)
    assert isinstance(await airtm.commit_payout(found.id), Exists)
    for action, status in (("wait", "WAITING_FOR_USER"), ("odd", "UNRECOGNISED"), ("complete", "COMPLETED")):
        await world.airtm_payout(found.id, action)
        read = await airtm.payout(found.id)
        assert read is not None
        assert read.status == status
    assert await airtm.payout_by_code("c-out") == read
    late = await airtm.cancel_payout(found.id)
    assert isinstance(late, Rejected)
    assert late.reason_code == "415055"


async def test_what_is_given_back_is_in_the_list_of_deposits(airtm: Airtm, world: World) -> None:
    before = await airtm.deposits()
    made = []
    for number in range(11):
        done = await payout(airtm, f"c-back-{number}")
        assert isinstance(done, Done)
        await airtm.commit_payout(done.value.id)
        await world.airtm_payout(done.value.id, "complete")
        await world.airtm_payout(done.value.id, "refund")
        made.append(done.value.id)
    first = await airtm.deposits(per_page=10)
    assert [one.payout_id for one in first.refunds] == list(reversed(made[1:]))
    assert {one.amount for one in first.refunds} == {AMOUNT}
    rest = await airtm.deposits(per_page=10, after=first.end_cursor)
    assert rest.ids == (rest.refunds[0].id, *before.ids)
    assert (await airtm.deposits(per_page=10, before=rest.ids[0])).ids == first.ids
    assert (await airtm.deposits(after=rest.end_cursor)).ids == ()


async def test_a_payout_that_is_refused(airtm: Airtm) -> None:
    nobody = await payout(airtm, "c-nobody", "ana+unknown@example.com")
    assert isinstance(nobody, Rejected)
    assert nobody.refusal.details["failureReason"] == "USER_NOT_FOUND"
    poor = await payout(airtm, "c-poor", amount=MAGIC)
    assert isinstance(poor, Done)
    refused = await airtm.commit_payout(poor.value.id)
    assert isinstance(refused, Rejected)
    assert refused.reason_code == "415016"
    assert await airtm.cancel_payout(poor.value.id) == Done(None)


async def test_an_answer_that_is_lost_is_read_back_by_code(airtm: Airtm, world: World) -> None:
    fault = await world.fault("airtm", "/pay(ins|outs)$", "lose_response", method="POST", times=2)
    assert isinstance(await payin(airtm, "c-lost"), Unknown)
    assert isinstance(await payout(airtm, "c-lost"), Unknown)
    assert await fault.fired() == 2
    kept_payin, kept_payout = await airtm.payin_by_code("c-lost"), await airtm.payout_by_code("c-lost")
    assert kept_payin is not None
    assert kept_payout is not None
    await world.fault("airtm", "/payouts/.*/commit", "lose_response", times=1)
    assert isinstance(await airtm.commit_payout(kept_payout.id), Unknown)
    committed = await airtm.payout(kept_payout.id)
    assert committed is not None
    assert committed.status == "PROCESSING"


async def test_faults_that_leave_nothing_behind(airtm: Airtm, world: World) -> None:
    await world.fault("airtm", "/payins$", "rate_limit", times=1)
    assert isinstance(await payin(airtm, "c-limited"), Unavailable)
    await world.fault("airtm", "/payins$", "error_before", method="POST", times=1)
    assert isinstance(await payin(airtm, "c-broken"), Unknown), "a 502 may come from behind the effect"
    await world.fault("airtm", "/me/balance", "rate_limit", times=1)
    with pytest.raises(ProviderRateLimited):
        await airtm.balance()
    assert await world.airtm_payins("c-limited") == await world.airtm_payins("c-broken") == []
