"""F20 and F21: the contract is not as we left it. Whatever lies or happens in it, each unit is placed by a rule."""

import asyncio
from typing import Any

import pytest

from support.outside import World, eventually
from support.payers import top_up
from support.product import Marketplace, Person, fill_treasury

UNIT = 10_000_000
BUILD = "/escrow/single-release"
SEND = "/helper/send-transaction"


async def contract_of(shop: Marketplace, order_id: str) -> str:
    return str((await shop.done("GET", f"/orders/{order_id}"))["escrow"]["contractId"])


async def intrude(world: World, contract: str, amount: str) -> None:
    """Somebody sends USDC to a contract."""
    _, secret = await world.outside_wallet("100")
    await world.control("POST", "pay", secret=secret, destination=contract, amount=amount)


async def surplus(shop: Marketplace, order_id: str) -> dict[str, Any]:
    """What the audit trail says of an order's surplus."""
    [row] = await shop.live.rows(
        """
        SELECT a.payload_after FROM audit_entries a JOIN escrows e ON e.id = a.resource_id
        WHERE e.order_id = $1 AND a.action = 'ESCROW_SURPLUS'
        """,
        order_id,
    )
    return {name: row["payload_after"][name] for name in ("paidOut", "leftInContract")}


async def gained(shop: Marketplace, person: Person, before: dict[str, int]) -> int:
    return (await shop.units(person.id)).get("available", 0) - before.get("available", 0)


@pytest.mark.parametrize("sent", ["3.21", "0.0000001", "0.0150001"])
async def test_f20_a_release_pays_the_order_and_leaves_the_surplus(
    shop: Marketplace, pair: tuple[Person, Person], world: World, sent: str
) -> None:
    buyer, seller = pair
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    contract = await contract_of(shop, order_id)
    await intrude(world, contract, sent)
    before = await shop.units(seller.id)
    released = await shop.done("POST", f"/orders/{order_id}/resolution/release")
    assert released["finalStatus"] == "RELEASED"
    assert await gained(shop, seller, before) == 99_700_000
    units = round(float(sent) * UNIT)
    assert await surplus(shop, order_id) == {"paidOut": "0.0000000", "leftInContract": f"{units / UNIT:.7f}"}
    found = """
        SELECT f.kind, f.status, f.amount FROM findings f JOIN escrows e ON e.id = f.subject_id WHERE e.order_id = $1
    """
    assert [tuple(row) for row in await shop.live.rows(found, order_id)] == [("SURPLUS_LEFT", "OPEN", units)]
    await shop.live.assert_conserved(world)


SPLIT = {"decision": "SPLIT", "releaseAmount": "6.00", "refundAmount": "4.00"}


@pytest.mark.parametrize(
    ("sent", "decision", "to_seller", "to_buyer"),
    [
        # 0.3 % of each part stays with Trustless Work. A surplus is the buyer's …
        ("10.00", {"decision": "FULL_REFUND"}, 0, 199_400_000),
        ("10.00", {"decision": "FULL_RELEASE"}, 99_700_000, 99_700_000),
        ("2.50", SPLIT, 59_820_000, 64_805_000),
        # … but for dust beside a part that is the seller's alone.
        ("0.0000001", {"decision": "FULL_REFUND"}, 0, 99_700_001),
        ("0.0000001", {"decision": "FULL_RELEASE"}, 99_700_001, 0),
    ],
    ids=["twice, refunded", "twice, released", "more, split", "dust, refunded", "dust, released"],
)
async def test_f20_a_resolution_shares_out_all_that_the_contract_holds(
    shop: Marketplace,
    pair: tuple[Person, Person],
    world: World,
    sent: str,
    decision: dict[str, str],
    to_seller: int,
    to_buyer: int,
) -> None:
    buyer, seller = pair
    order_id, dispute_id = await shop.disputed(buyer, seller, "10.00")
    contract = await contract_of(shop, order_id)
    await intrude(world, contract, sent)
    before = await shop.units(seller.id), await shop.units(buyer.id)
    resolved = await shop.done("POST", f"/disputes/{dispute_id}/resolve", decision)
    assert resolved["order"]["status"] == "CLOSED"
    assert await gained(shop, seller, before[0]) == to_seller
    assert await gained(shop, buyer, before[1]) == to_buyer
    units = round(float(sent) * UNIT)
    assert await surplus(shop, order_id) == {"paidOut": f"{units / UNIT:.7f}", "leftInContract": "0.0000000"}
    await shop.live.assert_conserved(world)


async def test_f20_a_refund_brings_the_surplus_back_with_it(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    buyer, seller = pair
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    await intrude(world, await contract_of(shop, order_id), "0.0000003")
    before = await shop.units(buyer.id)
    done = await shop.done("POST", f"/orders/{order_id}/resolution/refund", {"reason": "not delivered"})
    assert done["finalStatus"] == "REFUNDED"
    assert await gained(shop, buyer, before) == 99_700_003
    await shop.live.assert_conserved(world)


@pytest.mark.parametrize("amount", ["4.00", "10.00", "25.00"], ids=["less", "all", "more"])
async def test_f20_a_contract_that_somebody_else_has_funded_is_funded_in_full_by_us(
    shop: Marketplace, pair: tuple[Person, Person], world: World, amount: str
) -> None:
    """Under- and over-funded from outside: our funding neither stops short nor trusts what it finds."""
    buyer, seller = pair
    order_id = await shop.order(buyer, seller, "10.00", "ESCROW_FUNDING")
    contract = await contract_of(shop, order_id)
    await intrude(world, contract, amount)
    await shop.live.assert_conserved(world)
    funded = await shop.done("POST", f"/orders/{order_id}/escrow/fund")
    assert funded["status"] == "IN_PROGRESS"
    await shop.live.assert_conserved(world)
    await shop.done("POST", f"/orders/{order_id}/resolution/refund", {"reason": "not delivered"})
    await shop.live.assert_conserved(world)


async def test_f20_the_treasury_s_surplus_is_the_buyer_s(airtm_shop: Marketplace, world: World) -> None:
    buyer, seller = await airtm_shop.people(None, None)
    await fill_treasury(airtm_shop.live, world, "100")
    await top_up(airtm_shop, buyer, "10.00")
    order_id, dispute_id = await airtm_shop.disputed(buyer, seller, "10.00")
    await intrude(world, await contract_of(airtm_shop, order_id), "2.50")
    await airtm_shop.done("POST", f"/disputes/{dispute_id}/resolve", SPLIT)
    # As on the other rail: 0.3 % of 6.00, and of 4.00 and 2.50.
    assert await airtm_shop.units(seller.id) == {"available": 59_820_000}
    assert await airtm_shop.units(buyer.id) == {"available": 64_805_000}
    await airtm_shop.live.assert_conserved(world)


async def test_f20_f21_dust_under_a_split_needs_topping_up(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """The contract's arithmetic reverts (providers 5.6): nothing moves, and the refusal says what is missing."""
    buyer, seller = pair
    mode = await world.fault("chain", ".", "fee_mode", value="floor_total")
    order_id, dispute_id = await shop.disputed(buyer, seller, "10.00")
    contract = await contract_of(shop, order_id)
    await intrude(world, contract, "0.0000001")
    before = await shop.units(seller.id)
    path = f"/disputes/{dispute_id}/resolve"
    details = await shop.refused("POST", path, SPLIT, status=502, code="PROVIDER_ERROR")
    assert (details["topUp"], details["contract"]) == ("0.0099999", contract)
    assert await mode.fired() == 1
    order = await shop.done("GET", f"/orders/{order_id}")
    assert (order["status"], order["escrow"]["status"]) == ("DISPUTED", "DISPUTED")
    await shop.live.assert_conserved(world)
    await intrude(world, contract, details["topUp"])
    assert (await shop.done("POST", path, SPLIT))["status"] == "RESOLVED"
    assert await gained(shop, seller, before) == 59_820_000
    await shop.live.assert_conserved(world)


async def test_f21_the_balance_changes_while_a_resolution_is_on_its_way(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """The parts do not add up to the balance any more: the contract refuses in the ledger, and nothing is booked."""
    order_id, dispute_id = await shop.disputed(*pair, "10.00")
    contract = await contract_of(shop, order_id)
    fault = await world.fault("trustless_work", SEND, "delay", seconds=1.5, nth=2, times=1)
    path = f"/disputes/{dispute_id}/resolve"
    resolving = asyncio.create_task(shop.send("POST", path, SPLIT))
    await eventually(fault.fired, lambda count: count == 1)
    await intrude(world, contract, "5.00")
    heard = await resolving
    assert (heard.status, heard.code) == (502, "PROVIDER_ERROR")
    assert heard.details["operationCodes"], heard.details
    order = await shop.done("GET", f"/orders/{order_id}")
    assert order["status"] == "DISPUTED"
    assert await shop.postings(order_id) == ["hold", "fund_escrow"]
    await shop.live.assert_conserved(world)
    assert (await shop.done("POST", path, SPLIT))["status"] == "RESOLVED"
    await shop.live.assert_conserved(world)


@pytest.mark.parametrize(("move", "held_transaction"), [("release", 1), ("release", 3), ("refund", 1)])
async def test_f21_the_seller_disputes_on_the_contract_while_a_payout_is_on_its_way(
    shop: Marketplace, pair: tuple[Person, Person], world: World, move: str, held_transaction: int
) -> None:
    """One of the payout's transactions is held on its way while the seller raises a dispute."""
    buyer, seller = pair
    order_id = await shop.order(buyer, seller, "10.00", "IN_PROGRESS")
    contract = await contract_of(shop, order_id)
    held = await world.fault("trustless_work", SEND, "delay", seconds=1, nth=held_transaction, times=1)
    path, body = f"/orders/{order_id}/resolution/{move}", {"reason": "enough"}
    paying = asyncio.create_task(shop.send("POST", path, body, key=f"{move}-{order_id}"))
    await eventually(held.fired, lambda count: count == 1)
    raised = await world.fault("chain", ".", "dispute", target=contract)
    heard = await paying
    assert await raised.fired() == 1
    assert (heard.status, heard.code) == (502, "PROVIDER_ERROR")
    assert heard.details["contractState"]["disputed"] is True
    order = await shop.done("GET", f"/orders/{order_id}")
    assert (order["status"], order["escrow"]["status"]) == ("DISPUTED", "DISPUTED")
    assert (order["dispute"]["openedBy"], order["dispute"]["status"]) == ("SELLER", "OPEN")
    assert (await shop.events(order_id))[-1] == "order.disputed"
    assert await shop.postings(order_id) == ["hold", "fund_escrow"]
    await shop.live.assert_conserved(world)
    # Whoever asks again is told that support has it now; and support's decision goes through.
    await shop.refused("POST", path, body, status=409, code="INVALID_STATE")
    dispute_id = order["dispute"]["id"]
    await shop.done("POST", f"/disputes/{dispute_id}/assign", {"assignedTo": "agent-1"})
    resolved = await shop.done("POST", f"/disputes/{dispute_id}/resolve", SPLIT)
    assert (resolved["status"], resolved["order"]["finalStatus"]) == ("RESOLVED", "RELEASED")
    await shop.live.assert_conserved(world)


async def test_f21_a_dispute_that_both_have_raised_is_resolved(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """Support decides about a dispute of ours, and finds that the contract has one already."""
    order_id, dispute_id = await shop.disputed(*pair, "10.00")
    raised = await world.fault("chain", ".", "dispute", target=await contract_of(shop, order_id))
    path = f"/disputes/{dispute_id}/resolve"
    details = await shop.refused("POST", path, SPLIT, status=502, code="PROVIDER_ERROR")
    assert (await raised.fired(), details["contractState"]["disputed"]) == (1, True)
    await shop.live.assert_conserved(world)
    assert (await shop.done("POST", path, SPLIT))["status"] == "RESOLVED"
    await shop.live.assert_conserved(world)


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "SPLIT", "releaseAmount": "6.00", "refundAmount": "4.01"},
        {"decision": "SPLIT", "releaseAmount": "6.00", "refundAmount": "3.99"},
        {"decision": "SPLIT", "releaseAmount": "6.00"},
    ],
    ids=["more", "less", "one part"],
)
async def test_f21_a_split_that_does_not_add_up_reaches_no_contract(
    shop: Marketplace, pair: tuple[Person, Person], world: World, body: dict[str, str]
) -> None:
    order_id, dispute_id = await shop.disputed(*pair, "10.00")
    wire = await world.fault("trustless_work", ".", "delay", seconds=0)
    heard = await shop.post(f"/disputes/{dispute_id}/resolve", body)
    assert heard.status in {400, 422}, heard.body
    assert await wire.fired() == 0, "it is refused before anybody is asked"
    assert (await shop.done("GET", f"/orders/{order_id}"))["status"] == "DISPUTED"
    await shop.live.assert_conserved(world)
