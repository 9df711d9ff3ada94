"""F10 to F13, F15, F22, F24: the network or the API will not, cannot or must not have a transaction of ours."""

import asyncio

import pytest

from faults.flows import FUND, RELEASE, SEND, SUBMIT, WITHDRAWAL, Flow, Stage
from support.outside import World, eventually
from support.product import Marketplace, Person, running

UNIT = 10_000_000


@pytest.fixture(scope="module")
async def stage(shop: Marketplace, pair: tuple[Person, Person], world: World) -> Stage:
    # Its own wallets are set up in the background, and must not meet the faults that are meant for what is tested.
    await shop.live.system_is_ready()
    return Stage(shop, world, *pair)


async def envelopes(stage: Stage, subject: str) -> list[tuple[str, int]]:
    """(status, how often it was sent) of the envelopes of a withdrawal or an order's latest saga, oldest first."""
    sql = """
        SELECT e.status, e.submissions FROM envelopes e JOIN sagas g ON g.id = e.saga_id
        WHERE g.subject_id = $1 ORDER BY e.created_at
    """
    return [(row["status"], row["submissions"]) for row in await stage.shop.live.rows(sql, subject)]


async def withdraw(stage: Stage, target: str) -> str:
    made = await WITHDRAWAL.during(stage, target)
    assert made is not None
    return str(made["id"])


# -- F10 ---------------------------------------------------------------------------------------------------------

CODES = ["tx_bad_seq", "tx_insufficient_fee", "tx_too_late", "tx_too_early", "tx_insufficient_balance", "tx_bad_auth"]


@pytest.mark.parametrize("code", CODES)
async def test_f10_the_network_says_no_and_then_takes_the_same_envelope(stage: Stage, code: str) -> None:
    target = await WITHDRAWAL.before(stage)
    fault = await stage.world.fault(*SUBMIT, "tx_error", method="POST", code=code, times=2)
    withdrawal = await withdraw(stage, target)
    await stage.becomes(f"/withdrawals/{withdrawal}", "WITHDRAWAL_COMPLETED")
    assert await fault.fired() == 2
    assert await envelopes(stage, withdrawal) == [("SUCCEEDED", 3)]
    assert await stage.shop.on_chain(target) == 5 * UNIT
    await stage.shop.live.assert_conserved(stage.world)


@pytest.mark.parametrize("code", ["tx_bad_seq", "tx_insufficient_fee", "tx_bad_auth"])
async def test_f10_f11_the_network_says_no_and_a_ledger_holds_it_all_the_same(stage: Stage, code: str) -> None:
    """The answer is a lie, or one node's: the look-up of the hash decides, and nothing is sent again."""
    target = await WITHDRAWAL.before(stage)
    fault = await stage.world.fault(*SUBMIT, "tx_error", method="POST", code=code, then="success", times=1)
    withdrawal = await withdraw(stage, target)
    await stage.becomes(f"/withdrawals/{withdrawal}", "WITHDRAWAL_COMPLETED")
    assert await fault.fired() == 1
    assert [status for status, _ in await envelopes(stage, withdrawal)] == ["SUCCEEDED"]
    assert await stage.shop.on_chain(target) == 5 * UNIT
    await stage.shop.live.assert_conserved(stage.world)


@pytest.mark.parametrize("code", ["tx_bad_seq", "tx_too_late"])
async def test_f10_trustless_work_passes_the_network_s_no_on(stage: Stage, code: str) -> None:
    order_id = await FUND.before(stage)
    fault = await stage.world.fault(*SEND, "tx_error", method="POST", code=code, times=2)
    await FUND.after(stage, order_id, await FUND.during(stage, order_id))
    assert await fault.fired() >= 1
    await stage.shop.live.assert_conserved(stage.world)


# -- F11 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "answer lost"])
async def test_f11_a_node_that_does_not_know_it_yet_is_asked_again(stage: Stage, lost: bool) -> None:
    """It is in a ledger, and the look-up says 404 for a while: nothing is built anew, and nothing is paid twice."""
    target = await WITHDRAWAL.before(stage)
    unknown = await stage.world.fault("horizon", "/transactions/[0-9a-f]{64}$", "not_found", method="GET", times=4)
    silent = await stage.world.fault(*SUBMIT, "lose_response", method="POST", times=1) if lost else None
    withdrawal = await withdraw(stage, target)
    await stage.becomes(f"/withdrawals/{withdrawal}", "WITHDRAWAL_COMPLETED")
    assert await unknown.fired() == 4
    assert silent is None or await silent.fired() == 1
    assert [status for status, _ in await envelopes(stage, withdrawal)] == ["SUCCEEDED"]
    assert await stage.shop.on_chain(target) == 5 * UNIT
    await stage.shop.live.assert_conserved(stage.world)


async def test_f11_a_node_that_does_not_know_a_funding_is_asked_again(stage: Stage) -> None:
    order_id = await FUND.before(stage)
    unknown = await stage.world.fault("horizon", "/transactions/[0-9a-f]{64}$", "not_found", method="GET", times=4)
    await FUND.after(stage, order_id, await FUND.during(stage, order_id))
    assert await unknown.fired() == 4
    assert {status for status, _ in await envelopes(stage, order_id)} == {"SUCCEEDED"}
    await stage.shop.live.assert_conserved(stage.world)


# -- F12 ---------------------------------------------------------------------------------------------------------


async def test_f12_a_504_and_then_it_is_in_a_ledger(stage: Stage) -> None:
    target = await WITHDRAWAL.before(stage)
    fault = await stage.world.fault(*SUBMIT, "submit_timeout", method="POST", then="success", times=1)
    withdrawal = await withdraw(stage, target)
    await stage.becomes(f"/withdrawals/{withdrawal}", "WITHDRAWAL_COMPLETED")
    assert await fault.fired() == 1
    assert [status for status, _ in await envelopes(stage, withdrawal)] == ["SUCCEEDED"]
    assert await stage.shop.on_chain(target) == 5 * UNIT
    await stage.shop.live.assert_conserved(stage.world)


async def test_f12_a_504_and_the_network_has_forgotten_it(stage: Stage) -> None:
    """Never taken: the same bytes are sent again, and only they."""
    target = await WITHDRAWAL.before(stage)
    fault = await stage.world.fault(*SUBMIT, "submit_timeout", method="POST", then="never", times=2)
    withdrawal = await withdraw(stage, target)
    await stage.becomes(f"/withdrawals/{withdrawal}", "WITHDRAWAL_COMPLETED")
    assert await fault.fired() == 2
    assert await envelopes(stage, withdrawal) == [("SUCCEEDED", 3)]
    assert await stage.shop.on_chain(target) == 5 * UNIT
    await stage.shop.live.assert_conserved(stage.world)


@pytest.mark.parametrize("then", ["success", "never"])
async def test_f12_a_504_of_trustless_work(stage: Stage, then: str) -> None:
    order_id = await RELEASE.before(stage)
    fault = await stage.world.fault(*SEND, "submit_timeout", method="POST", then=then, times=2)
    await RELEASE.after(stage, order_id, await RELEASE.during(stage, order_id))
    assert await fault.fired() == 2
    assert {status for status, _ in await envelopes(stage, order_id)} == {"SUCCEEDED"}
    await stage.shop.live.assert_conserved(stage.world)


# -- F13 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["freeze_line", "full_line"])
async def test_f13_a_payment_fails_in_a_ledger_and_is_given_back(stage: Stage, kind: str) -> None:
    """Between our look at the destination and the ledger its trustline is frozen, or filled up."""
    target = await WITHDRAWAL.before(stage)
    before = await stage.shop.units(stage.buyer.id)
    # The submission is held until the line has changed: what we saw of it before was fine.
    held = await stage.world.fault(*SUBMIT, "delay", method="POST", seconds=1, times=1)
    body = {"userId": stage.buyer.id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    asking = asyncio.create_task(stage.shop.post("/withdrawals", body))
    await eventually(held.fired, lambda count: count == 1)
    line = await stage.world.fault("chain", ".", kind, target=target)
    heard = await asking
    assert await line.fired() == 1
    assert heard.status >= 400, heard.body
    status = "SELECT status FROM withdrawals WHERE destination_ref = $1"
    assert await stage.shop.live.value(status, target) == "WITHDRAWAL_FAILED"
    assert await stage.shop.units(stage.buyer.id) == before
    assert await stage.shop.on_chain(target) == 0
    await stage.shop.live.assert_conserved(stage.world)


@pytest.mark.parametrize("kind", ["freeze_line", "full_line"])
async def test_f13_the_seller_s_line_takes_no_release(stage: Stage, kind: str) -> None:
    """The contract cannot pay: the money stays in it, and the release goes through once the line is open again."""
    shop, world = stage.shop, stage.world
    [seller] = await shop.people("1")
    order_id = await shop.order(stage.buyer, seller, "10.00", "IN_PROGRESS")
    line = await world.fault("chain", ".", kind, target=seller.address)
    path = f"/orders/{order_id}/resolution/release"
    await shop.refused("POST", path, status=502, code="PROVIDER_ERROR")
    assert await line.fired() == 1
    assert (await shop.done("GET", f"/orders/{order_id}"))["status"] == "IN_PROGRESS"
    assert await shop.units(order_id) == {"escrow": 10 * UNIT}
    await shop.live.assert_conserved(world)
    await world.fault("chain", ".", kind, target=seller.address, value="off" if kind == "freeze_line" else "1000")
    assert (await shop.done("POST", path))["finalStatus"] == "RELEASED"
    await shop.live.assert_conserved(world)


async def test_f13_the_buyer_s_frozen_line_funds_nothing(stage: Stage) -> None:
    shop, world = stage.shop, stage.world
    [buyer] = await shop.people("20")
    order_id = await shop.order(buyer, stage.seller, "10.00", "ESCROW_FUNDING")
    line = await world.fault("chain", ".", "freeze_line", target=buyer.address)
    heard = await shop.post(f"/orders/{order_id}/escrow/fund")
    assert (heard.status, heard.code) == (422, "ESCROW_FUNDING_FAILED"), heard.body
    assert await line.fired() == 1
    assert (await shop.done("GET", f"/orders/{order_id}"))["status"] == "ESCROW_FUNDING"
    assert await shop.units(buyer.id) == {"available": 10 * UNIT, "reserved": 10 * UNIT}
    await shop.live.assert_conserved(world)
    await world.fault("chain", ".", "freeze_line", target=buyer.address, value="off")
    assert (await shop.done("POST", f"/orders/{order_id}/escrow/fund"))["status"] == "IN_PROGRESS"
    await shop.live.assert_conserved(world)


# -- F15 ---------------------------------------------------------------------------------------------------------


async def test_f15_the_fee_is_a_hundred_times_as_high(stage: Stage) -> None:
    """The bid follows within the cap, on payments of our own and on the contract's."""
    surge = await stage.world.fault("chain", ".", "fee_surge", value=100)
    for flow in (RELEASE, WITHDRAWAL):
        about = await flow.before(stage)
        await flow.after(stage, about, await flow.during(stage, about))
    assert await surge.fired() == 1
    bids = "SELECT max(b.bid) FROM fee_bumps b JOIN envelopes e ON e.hash = b.inner_hash WHERE e.included_as = b.hash"
    assert await stage.shop.live.value(bids) >= 10_000
    await stage.shop.live.assert_conserved(stage.world)


async def test_f15_a_fee_beyond_the_cap_is_waited_for(stage: Stage) -> None:
    target = await WITHDRAWAL.before(stage)
    surge = await stage.world.fault("chain", ".", "fee_surge", value=100_000)
    body = {"userId": stage.buyer.id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    asking = asyncio.create_task(stage.shop.post("/withdrawals", body))
    code = """
        SELECT e.last_code FROM envelopes e JOIN sagas g ON g.id = e.saga_id JOIN withdrawals w ON w.id = g.subject_id
        WHERE w.destination_ref = $1
    """
    await eventually(lambda: stage.shop.live.value(code, target), lambda found: found == "tx_insufficient_fee")
    status = "SELECT status FROM withdrawals WHERE destination_ref = $1"
    assert await stage.shop.live.value(status, target) == "WITHDRAWAL_PENDING"
    assert await stage.shop.on_chain(target) == 0
    assert await surge.fired() == 1
    await stage.world.mend()
    await asking
    await eventually(lambda: stage.shop.live.value(status, target), lambda found: found == "WITHDRAWAL_COMPLETED")
    assert await stage.shop.on_chain(target) == 5 * UNIT
    await stage.shop.live.assert_conserved(stage.world)


# -- F24 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [FUND, RELEASE], ids=lambda flow: flow.name)
async def test_f24_an_archived_contract_is_restored_by_the_call_that_needs_it(stage: Stage, flow: Flow) -> None:
    """Its next call costs more, within the cap, and goes through."""
    order_id = await flow.before(stage)
    archived = await stage.world.fault("chain", ".", "archive", target=(await stage.contract(order_id))["address"])
    assert (await stage.contract(order_id))["archived"] is True
    await flow.after(stage, order_id, await flow.during(stage, order_id))
    assert await archived.fired() == 1
    assert (await stage.contract(order_id))["archived"] is False
    await stage.shop.live.assert_conserved(stage.world)


async def test_f24_a_restoring_that_costs_more_than_the_cap_is_not_signed(
    environ: dict[str, str], stage: Stage
) -> None:
    order_id = await RELEASE.before(stage)
    archived = await stage.world.fault("chain", ".", "archive", target=(await stage.contract(order_id))["address"])
    async with running({**environ, "STELLAR_FEE_MAX_STROOPS": "100000"}, jobs=False) as thrifty:
        details = await stage.shop.on(thrifty).refused(
            "POST", f"/orders/{order_id}/resolution/release", status=502, code="PROVIDER_ERROR"
        )
    assert await archived.fired() == 1
    assert details["field"] == "fee"
    await stage.shop.live.assert_conserved(stage.world)
    await stage.post(f"/orders/{order_id}/resolution/release")
    await stage.paid_out_once(order_id, "RELEASED")
    await stage.shop.live.assert_conserved(stage.world)


# -- F22 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["destination", "operation", "contract", "fee", "network"])
async def test_f22_what_the_api_bends_is_never_signed(stage: Stage, value: str) -> None:
    """The sandbox's own malice, one of each; `test_envelope_tampering` alters every field of every call."""
    shop, order_id = stage.shop, await stage.order("ESCROW_FUNDING")
    before = await envelopes(stage, order_id)
    fault = await stage.world.fault("trustless_work", "/escrow/", "malicious_build", value=value, times=1)
    path = f"/orders/{order_id}/escrow/fund"
    await shop.refused("POST", path, status=502, code="PROVIDER_ERROR")
    assert await fault.fired() == 1
    assert await envelopes(stage, order_id) == before, "nothing was signed"
    assert await shop.live.value("SELECT count(*) FROM refused_envelopes WHERE subject_id = $1", order_id) == 1
    await shop.live.assert_conserved(stage.world)
    assert (await shop.done("POST", path))["status"] == "IN_PROGRESS"
    await shop.live.assert_conserved(stage.world)
