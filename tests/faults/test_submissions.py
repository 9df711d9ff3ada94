"""Submissions on a bad day: the same bytes are sent again, and only the chain says what became of them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.outside import World, eventually
from support.product import Marketplace, Person, Running, running

UNIT = 10_000_000
SEND = "/helper/send-transaction"


async def envelopes(shop: Marketplace, subject: str) -> list[tuple[str, str]]:
    """(step, status) of every envelope that was ever signed for a subject, in order."""
    sql = """
        SELECT s.name, e.status FROM envelopes e JOIN sagas g ON g.id = e.saga_id
        JOIN saga_steps s ON s.saga_id = e.saga_id AND s.position = e.position
        WHERE g.subject_id = $1 ORDER BY e.created_at
    """
    return [(row["name"], row["status"]) for row in await shop.live.rows(sql, subject)]


async def submissions(shop: Marketplace, subject: str, step: str) -> int:
    """How often the envelope of a step was sent."""
    sql = """
        SELECT sum(e.submissions)::integer FROM envelopes e JOIN sagas g ON g.id = e.saga_id
        JOIN saga_steps s ON s.saga_id = e.saga_id AND s.position = e.position
        WHERE g.subject_id = $1 AND s.name = $2
    """
    return int(await shop.live.value(sql, subject, step))


WIRE_FAULTS = [("lose_response", 1), ("error_after", 1), ("error_before", 2), ("rate_limit", 2)]
"""A fault on sending, and how often the same bytes must then have been sent."""


@pytest.mark.parametrize(("kind", "sent"), WIRE_FAULTS)
async def test_f01_f02_f03_a_funding_is_sent_no_more_often_than_needed(
    shop: Marketplace, pair: tuple[Person, Person], world: World, kind: str, sent: int
) -> None:
    buyer, seller = pair
    before = await shop.on_chain(buyer.address)
    order_id = await shop.order(buyer, seller, "10.00", "ESCROW_FUNDING")
    fault = await world.fault("trustless_work", SEND, kind, times=1)
    funded = await shop.done("POST", f"/orders/{order_id}/escrow/fund")
    assert await fault.fired() == 1
    assert (funded["status"], funded["escrow"]["status"]) == ("IN_PROGRESS", "FUNDED")
    assert await submissions(shop, order_id, "fund_escrow") == sent
    assert await envelopes(shop, order_id) == [("deploy_escrow", "SUCCEEDED"), ("fund_escrow", "SUCCEEDED")]
    assert before - await shop.on_chain(buyer.address) == 10 * UNIT
    assert await shop.units(order_id) == {"escrow": 10 * UNIT}
    assert (await shop.sagas(order_id))[-1] == ("escrow.fund", "SUCCEEDED")
    await shop.live.assert_conserved(world)


async def test_f02_an_envelope_that_the_api_will_not_have_goes_straight_to_the_network(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    order_id = await shop.order(*pair, "10.00", "ESCROW_FUNDING")
    fault = await world.fault("trustless_work", SEND, "error_before", status=400)
    index = await world.fault("trustless_work", "/indexer/update-from-txHash$", "delay", seconds=0)
    funded = await shop.done("POST", f"/orders/{order_id}/escrow/fund")
    assert (await fault.fired(), await index.fired()) == (1, 1), "and its index is told"
    assert funded["escrow"]["status"] == "FUNDED"
    assert await submissions(shop, order_id, "fund_escrow") == 1
    await shop.live.assert_conserved(world)


@pytest.mark.parametrize(("kind", "sent"), WIRE_FAULTS)
async def test_f01_f02_f03_a_withdrawal_is_sent_no_more_often_than_needed(
    shop: Marketplace, pair: tuple[Person, Person], world: World, kind: str, sent: int
) -> None:
    buyer, _ = pair
    target, _ = await world.outside_wallet()
    fault = await world.fault("horizon", "/transactions$", kind, times=1, method="POST")
    body = {"userId": buyer.id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    done = await shop.done("POST", "/withdrawals", body, status=201)
    assert await fault.fired() == 1
    assert done["status"] == "WITHDRAWAL_COMPLETED"
    assert await submissions(shop, done["id"], "pay") == sent
    assert await envelopes(shop, done["id"]) == [("pay", "SUCCEEDED")]
    assert await shop.on_chain(target) == 5 * UNIT
    assert await shop.postings(done["id"]) == ["withdrawal", "withdrawal_completed"]
    await shop.live.assert_conserved(world)


async def test_what_reaches_the_network_has_been_stored_before(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """I18: while the first byte is on its way, the envelope and its wrapper stand in the database already."""
    target, _ = await world.outside_wallet()
    held = await world.fault("horizon", "/transactions$", "delay", seconds=3, times=1, method="POST")
    body = {"userId": pair[0].id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    asking = asyncio.create_task(shop.done("POST", "/withdrawals", body, status=201))
    await eventually(held.fired, lambda count: count == 1)
    sql = """
        SELECT e.status, e.xdr, g.subject_id FROM envelopes e JOIN sagas g ON g.id = e.saga_id
        WHERE g.marketplace_id = $1 AND g.kind = 'withdrawal.payout' AND e.status IN ('SIGNED', 'SUBMITTED')
    """
    stored = await shop.live.rows(sql, shop.id)
    done = await asking
    assert [(row["status"], row["subject_id"]) for row in stored] == [("SUBMITTED", done["id"])]
    kept = "SELECT xdr FROM envelopes e JOIN sagas g ON g.id = e.saga_id WHERE g.subject_id = $1"
    assert [row["xdr"] for row in await shop.live.rows(kept, done["id"])] == [stored[0]["xdr"]]
    assert await shop.on_chain(target) == 5 * UNIT


async def test_f02_the_evidence_cannot_be_read_for_a_while(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """Unknown is a state: the money stays where it is held until the chain answers."""
    buyer, _ = pair
    target, _ = await world.outside_wallet()
    fault = await world.fault("horizon", "/transactions/[0-9a-f]{64}$", "error_before", times=3, method="GET")
    body = {"userId": buyer.id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    done = await shop.done("POST", "/withdrawals", body, status=201)
    assert await fault.fired() == 3
    assert done["status"] == "WITHDRAWAL_COMPLETED"
    assert await shop.on_chain(target) == 5 * UNIT
    assert await envelopes(shop, done["id"]) == [("pay", "SUCCEEDED")]
    await shop.live.assert_conserved(world)


async def test_f02_the_providers_are_down_at_the_first_step(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """Nothing was done yet, so a deployment and a withdrawal give up and give everything back."""
    target, _ = await world.outside_wallet()
    order_id = await shop.order(*pair, "10.00", "FUNDS_RESERVED")
    before = await shop.units(pair[0].id)
    deployer = await world.fault("trustless_work", "/deployer/", "error_before", status=503)
    accounts = await world.fault("horizon", f"/accounts/{target}$", "error_before")
    body = {"userId": pair[0].id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    deploying = shop.post(f"/orders/{order_id}/escrow", key="deploy")
    heard, refused = await asyncio.gather(deploying, shop.post("/withdrawals", body, key="withdraw"))
    assert (heard.status, heard.code) == (503, "PROVIDER_UNAVAILABLE")
    assert "retry-after" in heard.headers
    assert (refused.status, refused.code) == (502, "STELLAR_NETWORK_ERROR")
    assert await deployer.fired() >= 1
    assert await accounts.fired() >= 1
    order = await shop.done("GET", f"/orders/{order_id}")
    assert (order["status"], order["escrow"]) == ("FUNDS_RESERVED", None)
    assert await shop.units(pair[0].id) == before
    assert await envelopes(shop, order_id) == []
    assert "ESCROW_CREATE_FAILED" in await shop.audit(order_id)
    await world.mend()
    # The same keys may try again: a failure of the providers is not the answer for good.
    assert (await shop.done("POST", f"/orders/{order_id}/escrow", key="deploy"))["status"] == "ESCROW_FUNDING"
    assert await shop.sagas(order_id) == [("escrow.deploy", "REFUSED"), ("escrow.deploy", "SUCCEEDED")]
    done = await shop.done("POST", "/withdrawals", body, key="withdraw", status=201)
    assert done["status"] == "WITHDRAWAL_COMPLETED"
    assert await shop.on_chain(target) == 5 * UNIT
    await shop.live.assert_conserved(world)


@pytest.mark.parametrize("kind", ["error_before", "lose_response", "rate_limit"])
async def test_f01_f02_f03_deposits_while_horizon_stumbles(shop: Marketplace, world: World, kind: str) -> None:
    [person] = await shop.people(None)
    fault = await world.fault("horizon", "/payments$", kind, times=2)
    await shop.deposit(person, "3.21")
    await shop.deposit(person, "0.01")
    assert await fault.fired() == 2
    await shop.live.deposits_caught_up()
    assert await shop.balance(person) == ("3.22", "0.00")
    await shop.live.assert_conserved(world)


@pytest.fixture(scope="module")
async def impatient(environ: dict[str, str]) -> AsyncIterator[Running]:
    """A process that answers with the state reached at once, and has no jobs of its own."""
    async with running({**environ, "SAGA_INLINE_WAIT_SECONDS": "0"}, jobs=False) as found:
        yield found


async def test_f01_what_a_request_does_not_wait_for_is_finished_by_a_worker(
    shop: Marketplace, impatient: Running, pair: tuple[Person, Person], world: World
) -> None:
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS")
    hasty = shop.on(impatient)
    fault = await world.fault("trustless_work", SEND, "lose_response", times=1)
    begun = await hasty.done("POST", f"/orders/{order_id}/resolution/release", key="hasty")
    assert (begun["status"], begun["escrow"]["status"]) == ("RELEASE_REQUESTED", "RELEASING")
    await hasty.refused(
        "POST", f"/orders/{order_id}/resolution/refund", {"reason": "x"}, status=409, code="INVALID_STATE"
    )

    async def status() -> str:
        return str((await hasty.done("GET", f"/orders/{order_id}"))["status"])

    await eventually(status, lambda found: found == "CLOSED")
    assert await fault.fired() == 1
    path = f"/orders/{order_id}/resolution/release"
    again = await hasty.post(path, key="hasty")
    assert again.data["status"] == "CLOSED", "whoever comes back with the key is told how far it has got"
    assert (await hasty.post(path, key="hasty")).body == again.body, "and from then on always the same"
    assert (await shop.postings(order_id)).count("released") == 1
    await shop.live.assert_conserved(world)
