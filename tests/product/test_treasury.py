"""The treasury: on the rail of Airtm it pays escrows in and is paid by them, and the books say where the money is."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
import pytest

from support.outside import World
from support.payers import top_up
from support.product import MASTER_KEY, Marketplace, Person, Running, fill_treasury, running, unique

UNIT: Final = 10_000_000
MILESTONE: Final = [{"ref": "m1", "title": "Logo"}]

pytestmark = pytest.mark.usefixtures("mended")


class Office:
    """Whoever runs the installation, with the master key."""

    def __init__(self, shop: Marketplace) -> None:
        self._client = Marketplace(shop.live, shop.world, shop.http, "", MASTER_KEY)
        self.world = shop.world
        self.live = shop.live

    async def position(self) -> dict[str, Any]:
        found: dict[str, Any] = await self._client.done("GET", "/admin/treasury")
        return found

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return await self._client.send(method, path, body, **more)

    async def fill(self, amount: str) -> None:
        """Put capital in."""
        await fill_treasury(self.live, self.world, amount)

    async def held(self) -> int:
        """What the chain says that the treasury holds, which the books must say as well."""
        found = (await self.position())["treasury"]
        assert found["difference"] == "0.0000000", found
        assert found["onChain"] == found["inBooks"]
        return round(float(found["onChain"]) * UNIT)


@pytest.fixture
async def office(airtm_shop: Marketplace) -> Office:
    office = Office(airtm_shop)
    await office.fill("1000")
    return office


@pytest.fixture
async def pair(airtm_shop: Marketplace) -> tuple[Person, Person]:
    """A buyer who has paid 100.00 in through Airtm, and a seller."""
    buyer, seller = await airtm_shop.people(None, None)
    await top_up(airtm_shop, buyer, "100.00")
    return buyer, seller


async def in_progress(shop: Marketplace, pair: tuple[Person, Person], amount: str = "80.00") -> str:
    return await shop.order(*pair, amount, "IN_PROGRESS", milestones=MILESTONE)


async def moved(shop: Marketplace, order_id: str) -> dict[str, int]:
    """Units that an order's entries have moved, by kind of account of the marketplace."""
    rows = await shop.live.rows(
        """
        SELECT a.kind, sum(p.amount)::bigint AS total FROM ledger.transactions t
        JOIN ledger.postings p ON p.transaction_id = t.id
        JOIN ledger.accounts a ON a.id = p.account_id AND a.owner = t.marketplace_id
        WHERE t.subject = $1 GROUP BY a.kind
        """,
        order_id,
    )
    return {row["kind"]: row["total"] for row in rows if row["total"]}


async def test_it_pays_the_escrow_in_and_is_paid_for_the_seller(
    airtm_shop: Marketplace, office: Office, pair: tuple[Person, Person]
) -> None:
    buyer, seller = pair
    before = await office.held()
    order_id = await in_progress(airtm_shop, pair)
    assert await office.held() == before - 80 * UNIT
    assert await airtm_shop.units(buyer.id) == {"available": 20 * UNIT}
    assert await airtm_shop.units(order_id) == {"escrow": 80 * UNIT}

    await airtm_shop.done("POST", f"/orders/{order_id}/milestones/m1/complete")
    done = await airtm_shop.done("POST", f"/orders/{order_id}/resolution/release")
    assert done["status"] == "CLOSED"
    # 0.3 % stays with Trustless Work; the rest is back in the treasury, and the seller has it in the books.
    assert await office.held() == before - 80 * UNIT + 797_600_000
    assert await airtm_shop.units(seller.id) == {"available": 797_600_000}
    assert await moved(airtm_shop, order_id) == {
        "world:treasury": 2_400_000,
        "world:stellar": -2_400_000,
        "fees:trustless_work": 2_400_000,
    }
    # Nobody's own wallet took part.
    assert await airtm_shop.on_chain(buyer.address) == await airtm_shop.on_chain(seller.address) == 0


async def test_a_refund_comes_back_to_the_treasury_for_the_buyer(
    airtm_shop: Marketplace, office: Office, pair: tuple[Person, Person]
) -> None:
    buyer, seller = pair
    before = await office.held()
    order_id = await in_progress(airtm_shop, pair)
    done = await airtm_shop.done("POST", f"/orders/{order_id}/resolution/refund", {"reason": "not needed"})
    assert done["status"] == "CLOSED"
    assert await office.held() == before - 2_400_000
    assert await airtm_shop.units(buyer.id) == {"available": 20 * UNIT + 797_600_000}
    assert await airtm_shop.units(seller.id) == {}


async def test_a_split_is_shared_as_the_contract_would_have_shared_it(
    airtm_shop: Marketplace, office: Office, pair: tuple[Person, Person]
) -> None:
    buyer, seller = pair
    before = await office.held()
    order_id, dispute_id = await airtm_shop.disputed(*pair, "80.00")
    body = {"decision": "SPLIT", "releaseAmount": "50.01", "refundAmount": "29.99"}
    resolved = await airtm_shop.done("POST", f"/disputes/{dispute_id}/resolve", body)
    assert resolved["status"] == "RESOLVED"
    got = (await airtm_shop.units(seller.id))["available"], (await airtm_shop.units(buyer.id))["available"]
    # Each bears 0.3 % of its own part: 50.01 and 29.99.
    assert got == (500_100_000 - 1_500_300, 20 * UNIT + 299_900_000 - 899_700)
    assert await office.held() == before - 2_400_000
    events = await airtm_shop.events(order_id)
    assert events[-2:] == ["order.released", "order.closed"]


async def test_a_short_treasury_leaves_the_reservation_and_a_filled_one_goes_on(
    airtm_shop: Marketplace, office: Office
) -> None:
    buyer, seller = await airtm_shop.people(None, None)
    amount = await office.held() // UNIT + 6000  # whatever other tests have left there is not enough
    paid, email = 0, None
    while paid < amount:
        email = await top_up(airtm_shop, buyer, "5000.00", email=email)
        paid += 5000
    order_id = await airtm_shop.order(buyer, seller, f"{amount}.00", "ESCROW_FUNDING")
    path = f"/orders/{order_id}/escrow/fund"
    details = await airtm_shop.refused("POST", path, status=422, code="INSUFFICIENT_FUNDS")
    assert details["address"] == (await office.position())["treasury"]["address"]
    assert (await airtm_shop.done("GET", f"/orders/{order_id}"))["status"] == "ESCROW_FUNDING"
    assert await airtm_shop.units(buyer.id) == {"available": (paid - amount) * UNIT, "reserved": amount * UNIT}
    await office.fill(str(amount))
    done = await airtm_shop.done("POST", path)
    assert done["status"] == "IN_PROGRESS"


async def test_two_orders_at_once_are_both_funded(airtm_shop: Marketplace, office: Office) -> None:
    """They share one account, and so wait for each other's ledger."""
    buyer, seller = await airtm_shop.people(None, None)
    await top_up(airtm_shop, buyer, "60.00")
    before = await office.held()
    orders = await asyncio.gather(*(airtm_shop.order(buyer, seller, "20.00", "IN_PROGRESS") for _ in range(3)))
    assert len(set(orders)) == 3
    assert await office.held() == before - 60 * UNIT


async def test_it_pays_withdrawals_to_stellar(
    airtm_shop: Marketplace, office: Office, pair: tuple[Person, Person], world: World
) -> None:
    buyer, _ = pair
    before = await office.held()
    target, _ = await world.outside_wallet()
    body = {"userId": buyer.id, "amount": "30.00", "destinationType": "crypto", "destinationRef": target}
    done = await airtm_shop.done("POST", "/withdrawals", body, status=201)
    assert done["status"] == "WITHDRAWAL_COMPLETED"
    assert await airtm_shop.on_chain(target) == 30 * UNIT
    assert await office.held() == before - 30 * UNIT
    assert await airtm_shop.units(buyer.id) == {"available": 70 * UNIT}
    own = (await office.position())["treasury"]["address"]
    body["destinationRef"] = own
    await airtm_shop.refused("POST", "/withdrawals", body, status=422, code="WITHDRAWAL_DESTINATION_INVALID")


async def test_the_position_names_what_is_advanced_and_what_airtm_owes(
    airtm_shop: Marketplace, office: Office, pair: tuple[Person, Person]
) -> None:
    before = await office.position()
    await in_progress(airtm_shop, pair, "40.00")
    after = await office.position()
    assert after["capital"] == before["capital"]
    assert float(after["advanced"]) - float(before["advanced"]) == pytest.approx(40)
    assert after["airtm"]["inBooks"] == before["airtm"]["inBooks"]
    # What users paid in is there; what the enterprise had before is its own.
    assert after["airtm"]["available"] != "unknown"
    assert after["isLow"] is False


async def test_the_position_is_told_when_nobody_answers(office: Office, world: World) -> None:
    await world.fault("airtm", "/me", "error_before")
    await world.fault("horizon", "/accounts", "error_before")
    found = await office.position()
    assert (found["treasury"]["onChain"], found["treasury"]["difference"], found["isLow"]) == ("unknown",) * 3
    assert (found["airtm"]["available"], found["airtm"]["difference"]) == ("unknown", "unknown")


async def test_capital_is_taken_out_through_a_user_once(airtm_shop: Marketplace, office: Office) -> None:
    made = await office.send("POST", "/users", {"externalUserId": unique("operator")})
    user_id, before = made.data["id"], await office.position()
    body = {"userId": user_id, "amount": "12.34", "reference": unique("capital")}
    first = await office.send("POST", "/admin/treasury/transfers", body)
    assert (first.status, first.data["amount"]) == (201, "-12.3400000")
    again = await office.send("POST", "/admin/treasury/transfers", body)
    assert (again.status, again.code) == (409, "INVALID_STATE")
    more = {**body, "amount": "9999999.00", "reference": unique("capital")}
    refused = await office.send("POST", "/admin/treasury/transfers", more)
    assert (refused.status, refused.code) == (422, "INSUFFICIENT_FUNDS")
    after = await office.position()
    assert float(before["capital"]) - float(after["capital"]) == pytest.approx(12.34)
    balance = await office.send("GET", f"/users/{user_id}/balance")
    assert balance.data["available"] == "12.34"


async def test_racing_transfers_never_take_more_than_the_capital(airtm_shop: Marketplace, office: Office) -> None:
    made = await office.send("POST", "/users", {"externalUserId": unique("operator")})
    capital = float((await office.position())["capital"])
    each = f"{capital * 0.4:.2f}"

    async def transfer() -> int:
        body = {"userId": made.data["id"], "amount": each, "reference": unique("race")}
        return int((await office.send("POST", "/admin/treasury/transfers", body)).status)

    assert sorted(await asyncio.gather(*(transfer() for _ in range(6)))) == [201, 201, 422, 422, 422, 422]


async def test_rebalancing_is_booked_once(airtm_shop: Marketplace, office: Office) -> None:
    before = await office.position()
    body = {"direction": "OUT_OF_AIRTM", "amount": "7.00", "reference": unique("airtm")}
    first = await office.send("POST", "/admin/treasury/rebalancings", body)
    assert (first.status, first.data["amount"]) == (201, "-7.0000000")
    assert (await office.send("POST", "/admin/treasury/rebalancings", body)).code == "INVALID_STATE"
    after = await office.position()
    assert float(before["airtm"]["inBooks"]) - float(after["airtm"]["inBooks"]) == pytest.approx(7)
    assert float(before["capital"]) - float(after["capital"]) == pytest.approx(7)
    back = {**body, "direction": "INTO_AIRTM", "reference": unique("airtm")}
    assert (await office.send("POST", "/admin/treasury/rebalancings", back)).status == 201
    assert (await office.position())["capital"] == before["capital"]


async def test_a_marketplace_among_many_does_not_see_it(airtm_shop: Marketplace) -> None:
    await airtm_shop.refused("GET", "/admin/treasury", status=403, code="INSUFFICIENT_SCOPE")


async def test_without_airtm_there_is_none(shop: Marketplace) -> None:
    office = Office(shop)
    heard = await office.send("GET", "/admin/treasury")
    assert (heard.status, heard.code) == (422, "PROVIDER_NOT_ENABLED")


@pytest.fixture
async def floored(airtm_environ: dict[str, str], airtm_live: Running) -> AsyncIterator[Running]:
    """Another process of the same product, which wants a treasury that nobody has."""
    async with running({**airtm_environ, "TREASURY_FLOOR": "1000000000.00"}, jobs=False) as found:
        yield found


async def test_a_low_treasury_degrades_the_health(floored: Running, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{floored.url}/api/v1/health/detailed") as answer:
        found = (await answer.json())["data"]
    assert found["status"] == "degraded"
    assert found["dependencies"]["treasury"]["status"] == "degraded"
    assert "less than its floor of 1000000000.00" in found["dependencies"]["treasury"]["error"]


async def test_milestones_of_a_multi_release_order_come_back_one_by_one(
    airtm_shop: Marketplace, office: Office, pair: tuple[Person, Person]
) -> None:
    """Released, split and refunded: the contract pays the treasury each time, and the books say for whom."""
    buyer, seller = pair
    before = await office.held()
    parts = [{"ref": ref, "title": ref, "amount": amount} for ref, amount in (("a", "30.00"), ("b", "50.00"))]
    order_id = await airtm_shop.order(*pair, "80.00", "IN_PROGRESS", milestones=parts, escrow_type="multi-release")
    one = f"/orders/{order_id}"
    await airtm_shop.done("POST", f"{one}/milestones/a/complete")
    order = await airtm_shop.done("POST", f"{one}/milestones/a/release")
    assert order["status"] == "IN_PROGRESS"
    assert await office.held() == before - 80 * UNIT + 299_100_000
    assert await airtm_shop.units(seller.id) == {"available": 299_100_000}
    assert await airtm_shop.units(order_id) == {"escrow": 50 * UNIT}
    opened = await airtm_shop.done(
        "POST", f"{one}/resolution/dispute", {"openedBy": "SELLER", "reason": "OTHER"}, status=201
    )
    await airtm_shop.done("POST", f"/disputes/{opened['id']}/assign", {"assignedTo": "agent-1"})
    split = {"decision": "SPLIT", "releaseAmount": "20.01", "refundAmount": "29.99"}
    resolved = await airtm_shop.done("POST", f"/disputes/{opened['id']}/resolve", split)
    [_, payout] = [part["payout"] for part in resolved["order"]["milestones"]]
    assert payout["status"] == "SPLIT"
    # Each bears 0.3 % of its own part.
    assert await airtm_shop.units(seller.id) == {"available": 299_100_000 + 200_100_000 - 600_300}
    assert await airtm_shop.units(buyer.id) == {"available": 20 * UNIT + 299_900_000 - 899_700}
    assert await office.held() == before - 2_400_000
    assert (await moved(airtm_shop, order_id))["world:treasury"] == 2_400_000
    assert await airtm_shop.on_chain(buyer.address) == await airtm_shop.on_chain(seller.address) == 0


async def test_the_metrics_tell_what_it_holds_and_its_floor(office: Office) -> None:
    heard = await office.send("GET", "/metrics")
    told = dict(line.rsplit(" ", 1) for line in heard.body.decode().splitlines() if not line.startswith("#"))
    assert float(told["offerhub_treasury_units"]) > 0
    assert float(told["offerhub_treasury_floor_units"]) == office.live.product.treasury.floor
