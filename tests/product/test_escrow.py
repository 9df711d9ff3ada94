"""From the reservation into the contract: deploy, fund, and a wallet that does not hold what the books say."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from support.outside import World, eventually
from support.product import Marketplace, Person, Running, running, unique

UNIT = 10_000_000


async def contract(world: World, address: str) -> dict[str, object]:
    """What the sandbox knows of a contract."""
    contracts = (await world.control("GET", "state"))["contracts"]
    return next(dict(one) for one in contracts if one["address"] == address)


async def test_the_money_goes_from_the_wallet_into_the_contract(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    buyer, seller = pair
    before = await shop.units(buyer.id)
    order_id = await shop.order(buyer, seller, "80.00", "FUNDS_RESERVED")
    deployed = await shop.done("POST", f"/orders/{order_id}/escrow")
    assert deployed["status"] == "ESCROW_FUNDING"
    escrow = deployed["escrow"]
    assert (escrow["status"], escrow["amount"], escrow["currency"]) == ("CREATED", "80.00", "USD")
    assert escrow["contractId"] == escrow["trustlessContractId"]
    assert escrow["contractId"].startswith("C")
    assert escrow["fundedAt"] is None
    known = await contract(world, escrow["contractId"])
    assert (known["engagement_id"], known["amount"], known["usdc"]) == (order_id, "80.0000000", "0.0000000")

    funded = await shop.done("POST", f"/orders/{order_id}/escrow/fund")
    assert funded["status"] == "IN_PROGRESS"
    assert funded["escrow"]["status"] == "FUNDED"
    assert funded["escrow"]["fundedAt"] is not None
    assert len(funded["escrow"]["txHash"]) == 64
    assert (await contract(world, escrow["contractId"]))["usdc"] == "80.0000000"
    assert await shop.units(buyer.id) == {"available": before["available"] - 80 * UNIT}
    assert await shop.units(order_id) == {"escrow": 80 * UNIT}
    await shop.assert_backed(buyer)
    assert await shop.events(order_id) == [
        "order.created",
        "order.funds_reserved",
        "order.escrow_creating",
        "order.escrow_funding",
        "order.escrow_funded",
        "order.in_progress",
    ]
    assert {"ESCROW_CREATED", "ESCROW_FUNDED"} <= set(await shop.audit(order_id))
    assert await shop.sagas(order_id) == [("escrow.deploy", "SUCCEEDED"), ("escrow.fund", "SUCCEEDED")]

    await shop.refused("POST", f"/orders/{order_id}/escrow", status=409, code="ESCROW_ALREADY_EXISTS")
    await shop.refused("POST", f"/orders/{order_id}/escrow/fund", status=409, code="INVALID_STATE")
    await shop.refused("POST", f"/orders/{order_id}/cancel", status=409, code="INVALID_STATE")
    await shop.refused("POST", f"/orders/{order_id}/reserve", status=409, code="INVALID_STATE")
    assert await shop.units(order_id) == {"escrow": 80 * UNIT}


async def test_an_order_whose_contract_is_empty_can_still_be_cancelled(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    buyer, seller = pair
    before = await shop.units(buyer.id)
    order_id = await shop.order(buyer, seller, "5.00", "ESCROW_FUNDING")
    await shop.refused("POST", f"/orders/{order_id}/escrow", status=409, code="ESCROW_ALREADY_EXISTS")
    closed = await shop.done("POST", f"/orders/{order_id}/cancel")
    assert (closed["status"], closed["finalStatus"]) == ("CLOSED", "CANCELED")
    assert await shop.units(buyer.id) == before
    assert (await contract(world, closed["escrow"]["contractId"]))["usdc"] == "0.0000000"
    for move in ("escrow/fund", "cancel", "reserve"):
        await shop.refused("POST", f"/orders/{order_id}/{move}", status=409, code="INVALID_STATE")
    await shop.assert_backed(buyer)


async def test_a_manual_credit_does_not_fund_an_escrow_until_the_money_is_there(
    shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    [buyer] = await shop.people("30")
    await shop.credit(buyer, "70.00")
    order_id = await shop.order(buyer, pair[1], "80.00", "ESCROW_FUNDING")
    for _ in range(2):
        details = await shop.refused("POST", f"/orders/{order_id}/escrow/fund", status=422, code="INSUFFICIENT_FUNDS")
        assert (details["requested"], details["available"], details["shortfall"]) == ("80.00", "30.00", "50.00")
        assert details["address"] == buyer.address
        order = await shop.done("GET", f"/orders/{order_id}")
        assert (order["status"], order["escrow"]["status"]) == ("ESCROW_FUNDING", "CREATED")
        assert await shop.units(buyer.id) == {"available": 20 * UNIT, "reserved": 80 * UNIT}
    await shop.deposit(buyer, "50")
    funded = await shop.done("POST", f"/orders/{order_id}/escrow/fund")
    assert funded["status"] == "IN_PROGRESS"
    assert await shop.units(buyer.id) == {"available": 70 * UNIT}
    assert await shop.on_chain(buyer.address) == 0
    assert await shop.sagas(order_id) == [
        ("escrow.deploy", "SUCCEEDED"),
        ("escrow.fund", "REFUSED"),
        ("escrow.fund", "REFUSED"),
        ("escrow.fund", "SUCCEEDED"),
    ]


async def test_milestones_are_completed_once_and_only_in_progress(
    shop: Marketplace, pair: tuple[Person, Person]
) -> None:
    milestones = [{"ref": "a/b c", "title": "A", "amount": "6.00"}, {"ref": "b", "title": "B"}]
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS", milestones=milestones[1:])
    done = await shop.done("POST", f"/orders/{order_id}/milestones/b/complete")
    assert (done["ref"], done["status"]) == ("b", "COMPLETED")
    assert done["completedAt"] is not None
    await shop.refused("POST", f"/orders/{order_id}/milestones/b/complete", status=409, code="INVALID_STATE")
    await shop.refused("POST", f"/orders/{order_id}/milestones/c/complete", status=404, code="MILESTONE_NOT_FOUND")
    assert (await shop.events(order_id)).count("escrow.milestone_completed") == 1
    await shop.done("POST", f"/orders/{order_id}/resolution/release")


@pytest.mark.usefixtures("mended")
async def test_a_party_without_a_wallet_on_the_chain_has_to_wait(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    fault = await world.fault("horizon", "/transactions$", "error_before", method="POST")
    made = await shop.done("POST", "/users", {"externalUserId": unique("pending")}, status=201)
    pending = Person(made["id"], made["wallet"]["publicKey"])
    assert made["wallet"]["status"] == "PENDING"
    order_id = await shop.order(pair[0], pending, "5.00", "FUNDS_RESERVED")
    before = await shop.counts()
    await shop.refused("POST", f"/orders/{order_id}/escrow", status=422, code="WALLET_NOT_READY")
    await shop.credit(pending, "5.00")
    body = {"userId": pending.id, "amount": "5.00", "destinationType": "crypto", "destinationRef": pair[0].address}
    await shop.refused("POST", "/withdrawals", body, status=422, code="WALLET_NOT_READY")
    after = await shop.counts()
    assert {table for table, count in after.items() if count != before[table]} == {
        *("ledger.transactions", "events", "audit_entries")  # the credit
    }
    assert await shop.balance(pending) == ("5.00", "0.00")
    assert (await shop.done("GET", f"/orders/{order_id}"))["status"] == "FUNDS_RESERVED"
    await eventually(fault.fired, lambda fired: fired >= 1)
    await world.mend()
    await shop.ready(pending)
    assert (await shop.done("POST", f"/orders/{order_id}/escrow"))["status"] == "ESCROW_FUNDING"


@pytest.fixture(scope="module")
async def with_fee(environ: dict[str, str]) -> AsyncIterator[Running]:
    """A second process of the product whose platform takes 5 %; the first one's jobs serve both."""
    async with running({**environ, "PLATFORM_FEE_PERCENT": "5.00"}, jobs=False) as found:
        yield found


@pytest.mark.parametrize(("how", "seller_gets", "buyer_gets"), [("release", "75.76", "0"), ("refund", "0", "75.76")])
async def test_the_platform_s_fee_comes_out_of_the_payout(
    shop: Marketplace, with_fee: Running, http: aiohttp.ClientSession, how: str, seller_gets: str, buyer_gets: str
) -> None:
    """80.00: 0.24 for Trustless Work, 4.00 for the platform."""
    taxed = (await Marketplace.found(shop.live, shop.world, http)).on(with_fee)
    buyer, seller = await taxed.people("80", None)
    order_id = await taxed.order(buyer, seller, "80.00", "IN_PROGRESS")
    platform = await taxed.live.value("SELECT public_key FROM wallets WHERE purpose = 'platform'")
    before = await taxed.on_chain(platform)
    await taxed.done("POST", f"/orders/{order_id}/resolution/{how}", {"reason": "because"})
    assert (await taxed.balance(seller))[0] == f"{float(seller_gets):.2f}"
    assert (await taxed.balance(buyer))[0] == f"{float(buyer_gets):.2f}"
    assert await taxed.fees() == {"platform": 4 * UNIT, "trustless_work": 2_400_000}
    assert await taxed.on_chain(platform) - before == 4 * UNIT
    assert await taxed.units(order_id) == {}
    await taxed.assert_backed(buyer, seller)
