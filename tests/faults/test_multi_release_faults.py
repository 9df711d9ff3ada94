"""F18 to F21 for multi-release orders: what is paid stays paid, and what is not paid is not lost."""

from typing import Any

import pytest

from support.outside import World
from support.product import Marketplace, Person

UNIT = 10_000_000
PARTS = [("m1", "30.00"), ("m2", "50.00"), ("m3", "20.00")]


async def order_of(shop: Marketplace, pair: tuple[Person, Person], stage: str = "IN_PROGRESS") -> str:
    milestones = [{"ref": ref, "title": f"Part {ref}", "amount": amount} for ref, amount in PARTS]
    return await shop.order(*pair, "100.00", stage, milestones=milestones, escrow_type="multi-release")


async def complete(shop: Marketplace, order_id: str, *refs: str) -> None:
    for ref in refs:
        await shop.done("POST", f"/orders/{order_id}/milestones/{ref}/complete")


def payouts(order: dict[str, Any]) -> dict[str, str]:
    return {one["ref"]: one["payout"]["status"] for one in order["milestones"]}


async def in_contract(shop: Marketplace, order: dict[str, Any]) -> str:
    """What the chain says that the order's contract holds."""
    contracts = (await shop.world.control("GET", "state"))["contracts"]
    return next(str(one["usdc"]) for one in contracts if one["address"] == order["escrow"]["contractId"])


async def available(shop: Marketplace, person: Person) -> int:
    return (await shop.units(person.id)).get("available", 0)


async def test_f18_a_deployment_that_does_not_say_what_it_made_is_read_from_the_chain(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    order_id = await order_of(shop, pair, "FUNDS_RESERVED")
    await world.fault("trustless_work", "/helper/send-transaction", "no_contract_id", times=1)
    await world.fault("trustless_work", "/helper/get-escrow", "index_blind")
    deployed = await shop.done("POST", f"/orders/{order_id}/escrow")
    assert deployed["escrow"]["contractId"] is not None
    await shop.done("POST", f"/orders/{order_id}/escrow/fund")
    await complete(shop, order_id, "m1")
    order = await shop.done("POST", f"/orders/{order_id}/milestones/m1/release")
    assert payouts(order) == {"m1": "RELEASED", "m2": "UNPAID", "m3": "UNPAID"}
    await shop.live.assert_conserved(world)


@pytest.mark.parametrize("move", ["resolution/release", "milestones/m2/release"])
async def test_f21_a_contract_that_refuses_half_way_keeps_what_it_has_not_paid(
    shop: Marketplace, pair: tuple[Person, Person], world: World, move: str
) -> None:
    """The seller disputes the second milestone on the chain behind our back: the first is paid, support decides."""
    buyer, seller = pair
    earned, spent = await available(shop, seller), await available(shop, buyer)
    order_id = await order_of(shop, pair)
    one = f"/orders/{order_id}"
    await complete(shop, order_id, "m1", "m2", "m3")
    if move != "resolution/release":
        await shop.done("POST", f"{one}/milestones/m1/release")
    contract = (await shop.done("GET", one))["escrow"]["contractId"]
    await world.fault("chain", "", "dispute", target=contract, value=1)
    refused = await shop.refused("POST", f"{one}/{move}", status=502, code="PROVIDER_ERROR")
    assert refused["contract_error_name"] == "CannotReleaseInDispute"
    order = await shop.done("GET", one)
    assert (order["status"], order["escrow"]["status"]) == ("DISPUTED", "DISPUTED")
    assert (order["dispute"]["openedBy"], order["dispute"]["status"]) == ("SELLER", "OPEN")
    assert payouts(order) == {"m1": "RELEASED", "m2": "UNPAID", "m3": "UNPAID"}
    assert await available(shop, seller) - earned == 299_100_000
    assert await shop.units(order_id) == {"escrow": 70 * UNIT}
    assert await in_contract(shop, order) == "70.0000000"
    await shop.live.assert_books_hold()

    dispute = order["dispute"]["id"]
    await shop.done("POST", f"/disputes/{dispute}/assign", {"assignedTo": "agent-1"})
    resolved = await shop.done("POST", f"/disputes/{dispute}/resolve", {"decision": "FULL_REFUND"})
    assert payouts(resolved["order"]) == {"m1": "RELEASED", "m2": "REFUNDED", "m3": "REFUNDED"}
    assert spent - await available(shop, buyer) == 300_000_000 + 2_100_000
    # m2 was disputed already; that is not tried again.
    steps = await shop.live.rows(
        "SELECT s.name FROM saga_steps s JOIN sagas g ON g.id = s.saga_id "
        "WHERE g.subject_id = $1 AND g.kind = 'dispute.resolve' ORDER BY s.position",
        order_id,
    )
    assert [row["name"] for row in steps] == [
        *("resolve_milestone_dispute", "dispute_milestone", "resolve_milestone_dispute")
    ]
    await shop.live.assert_conserved(world)


async def test_f19_a_refusal_half_way_is_gone_on_with(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """Approved, and then the release is not built: the next try asks for what is left, and for nothing twice."""
    _, seller = pair
    earned = await available(shop, seller)
    order_id = await order_of(shop, pair)
    await complete(shop, order_id, "m1", "m2", "m3")
    route = "/escrow/multi-release/release-milestone-funds"
    await world.fault("trustless_work", route, "error_before", status=400, nth=2, times=1)
    path = f"/orders/{order_id}/resolution/release"
    await shop.refused("POST", path, status=502, code="PROVIDER_ERROR")
    order = await shop.done("GET", f"/orders/{order_id}")
    assert order["status"] == "IN_PROGRESS"
    assert payouts(order) == {"m1": "RELEASED", "m2": "UNPAID", "m3": "UNPAID"}
    assert (await shop.done("POST", path))["status"] == "CLOSED"
    steps = await shop.live.rows(
        "SELECT s.name, s.status FROM saga_steps s JOIN sagas g ON g.id = s.saga_id "
        "WHERE g.subject_id = $1 AND g.kind = 'order.release' AND s.status = 'SETTLED' ORDER BY g.id, s.position",
        order_id,
    )
    each = ["change_milestone_status", "approve_milestone", "release_milestone_funds"]
    assert [row["name"] for row in steps] == each * 3
    assert await available(shop, seller) - earned == 997_000_000
    await shop.live.assert_conserved(world)


async def test_f20_what_strangers_send_stays_in_the_contract(
    shop: Marketplace, pair: tuple[Person, Person], world: World
) -> None:
    """A stroop, and the whole amount once more (F20): milestones are paid and shared out all the same."""
    order_id = await order_of(shop, pair)
    one = f"/orders/{order_id}"
    contract = (await shop.done("GET", one))["escrow"]["contractId"]
    for amount in ("0.0000001", "100.00"):
        _, secret = await world.outside_wallet("200")
        await world.control("POST", "pay", secret=secret, destination=contract, amount=amount)
    await complete(shop, order_id, "m1")
    await shop.done("POST", f"{one}/milestones/m1/release")
    opened = await shop.done(
        "POST", f"{one}/resolution/dispute", {"openedBy": "BUYER", "reason": "OTHER"}, status=201
    )
    await shop.done("POST", f"/disputes/{opened['id']}/assign", {"assignedTo": "agent-1"})
    split = {"decision": "SPLIT", "releaseAmount": "33.33", "refundAmount": "36.67"}
    resolved = await shop.done("POST", f"/disputes/{opened['id']}/resolve", split)
    assert resolved["order"]["status"] == "CLOSED"
    assert await in_contract(shop, resolved["order"]) == "100.0000001"
    assert await shop.units(order_id) == {}
    await shop.live.assert_conserved(world)
