"""The judge of every scenario in this folder, judged: it finds a single unit, and says where."""

import pytest

from support.conservation import asking, assert_conserved, compare
from support.outside import World
from support.payers import top_up
from support.product import Marketplace, Person, fill_treasury

UNIT = 10_000_000


async def test_a_life_on_the_rail_of_stellar(shop: Marketplace, pair: tuple[Person, Person], world: World) -> None:
    buyer, seller = pair
    order_id = await shop.order(buyer, seller, "12.34", "IN_PROGRESS")
    await shop.order(buyer, seller, "3.00", "FUNDS_RESERVED")
    await shop.credit(seller, "7.77")
    assert (await shop.live.assert_conserved(world)).in_transit == 0
    _, dispute_id = await shop.disputed(buyer, seller, "10.00")
    split = {"decision": "SPLIT", "releaseAmount": "3.33", "refundAmount": "6.67"}
    await shop.done("POST", f"/disputes/{dispute_id}/resolve", split)
    await shop.done("POST", f"/orders/{order_id}/resolution/release")
    target, _ = await world.outside_wallet()
    body = {"userId": buyer.id, "amount": "5.00", "destinationType": "crypto", "destinationRef": target}
    await shop.done("POST", "/withdrawals", body, status=201)
    conserved = await shop.live.assert_conserved(world)
    places = [line.place for line in conserved.lines]
    assert [any(place.startswith(f"fee of Trustless Work for {order_id}") for place in places)] == [True]
    assert next(line for line in conserved.lines if buyer.address in line.place).outside > 0


async def test_a_life_on_the_rail_of_airtm(airtm_shop: Marketplace, world: World) -> None:
    buyer, seller = await airtm_shop.people("20", None)
    await fill_treasury(airtm_shop.live, world, "100")
    email = await top_up(airtm_shop, buyer, "50.00", fee="0.25")
    order_id = await airtm_shop.order(buyer, seller, "60.00", "IN_PROGRESS")
    await airtm_shop.live.assert_conserved(world)
    await airtm_shop.done("POST", f"/orders/{order_id}/resolution/release")
    body = {"userId": buyer.id, "amount": "4.00", "destinationType": "airtm_balance", "destinationRef": email}
    made = await airtm_shop.done("POST", "/withdrawals", body | {"commit": True}, status=201)
    await airtm_shop.live.assert_conserved(world)
    [payout] = await world.airtm_payouts(made["id"])
    await world.airtm_payout(payout["id"], "complete")
    # Nobody has told us yet: neither side counts it, and it is named.
    assert (await airtm_shop.live.assert_conserved(world)).in_transit == -4 * UNIT
    await airtm_shop.done("POST", f"/withdrawals/{made['id']}/refresh")
    assert (await airtm_shop.live.assert_conserved(world)).in_transit == 0


async def test_a_single_unit_is_found(shop: Marketplace, pair: tuple[Person, Person], world: World) -> None:
    order_id = await shop.order(*pair, "10.00", "IN_PROGRESS")
    contract = (await shop.done("GET", f"/orders/{order_id}"))["escrow"]["contractId"]
    database, url = shop.live.product.database, world.url
    await assert_conserved(database, url)
    found = (await compare(database, asking(world.http, url), {contract: 1})).differences
    assert len(found) == 2, found
    assert contract in found[0]
    assert "books 10.0000001, there 10.0000000, difference -0.0000001" in found[0]
    assert found[1].startswith("in all: ")
    with pytest.raises(AssertionError, match="money appeared or vanished"):
        await assert_conserved(database, url, unbooked={pair[1].address: 1}, patience=0)
    # What a stranger sends into a contract is known for what it is.
    _, secret = await world.outside_wallet("1")
    await world.control("POST", "pay", secret=secret, destination=contract, amount="0.0000001")
    await assert_conserved(database, url)
    await shop.done("POST", f"/orders/{order_id}/resolution/release")
    conserved = await assert_conserved(database, url)
    assert next(line for line in conserved.lines if contract in line.place).outside == 1
