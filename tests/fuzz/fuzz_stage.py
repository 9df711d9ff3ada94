"""What a fuzzed marketplace holds: people with money, and for each operation something that is in the right state."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from support.outside import eventually
from support.product import Marketplace, Person, unique

MOVES: Final = (("reserve", "FUNDS_RESERVED"), ("escrow", "ESCROW_FUNDING"), ("escrow/fund", "IN_PROGRESS"))
REFERENCES: Final = ("job-4711", "job-4712")
"""Reservations by hand; the document's example names the first."""
MILESTONES: Final = [{"ref": "design", "title": "Design"}]
MOVES_BEFORE: Final[Mapping[str, int]] = {
    "orders.reserve": 0,
    "orders.cancel": 1,
    "orders.escrow": 1,
    "orders.fund": 2,
    "orders.complete_milestone": 3,
    "orders.refund": 3,
    "orders.release": 3,
    "disputes.open": 3,
    "disputes.assign": 3,
    "disputes.resolve": 3,
}
"""How far an order must be before the operation."""


@dataclass(frozen=True)
class Furnished:
    """The ids of what is there, by the operation that each is ready for, and an address that may be withdrawn to."""

    people: Sequence[str]
    ready: Mapping[str, list[str]]
    address: str


async def furnish(shop: Marketplace, rounds: int) -> Furnished:
    """Fill a marketplace on the rail of Airtm. Each round adds something for every operation."""
    people = await shop.people("5000", "5000", None)
    await asyncio.gather(*(_link(shop, person) for person in people))
    buyer, seller = people[0], people[1]
    for person, reference in itertools.product(people[:2], REFERENCES):
        body = {"amount": "500.00", "orderId": reference}
        await shop.done("POST", f"/users/{person.id}/balance/reserve", body)
    address, _ = await shop.world.outside_wallet("1")
    ready: dict[str, list[str]] = {}
    for _ in range(rounds):
        for operation, moves in MOVES_BEFORE.items():
            ready.setdefault(operation, []).append(await _for(shop, operation, buyer, seller, moves))
        for operation in ("withdrawals.commit", "withdrawals.cancel", "withdrawals.delete"):
            ready.setdefault(operation, []).append(await _withdrawal(shop, seller))
        ready.setdefault("topups.cancel", []).append(await _topup(shop, buyer))
        ready.setdefault("api_keys.issue_token", []).append(await _key(shop))
    return Furnished([person.id for person in people], ready, address)


async def _link(shop: Marketplace, person: Person) -> None:
    await shop.done("POST", f"/users/{person.id}/airtm/link", {"email": f"{unique('payer')}@example.com"})


async def _for(shop: Marketplace, operation: str, buyer: Person, seller: Person, moves: int) -> str:
    """An order after so many moves, or its dispute. The product answers before a chain has: each move is awaited."""
    order_id = await shop.order(buyer, seller, "10.00", milestones=MILESTONES)
    path = f"/orders/{order_id}"
    for move, reached in MOVES[:moves]:
        await shop.done("POST", f"{path}/{move}")
        await eventually(lambda: shop.done("GET", path), lambda found, status=reached: found["status"] == status)
    if operation == "orders.release":
        await shop.done("POST", f"{path}/milestones/design/complete")
    if operation not in ("disputes.assign", "disputes.resolve"):
        return order_id
    body = {"openedBy": "BUYER", "reason": "QUALITY_ISSUE"}
    dispute = str((await shop.done("POST", f"{path}/resolution/dispute", body, status=201))["id"])
    if operation == "disputes.resolve":
        await shop.done("POST", f"/disputes/{dispute}/assign", {"assignedTo": "agent-1"})
    return dispute


async def _withdrawal(shop: Marketplace, person: Person) -> str:
    """A withdrawal that waits to be committed, once Airtm has told of its payout."""
    body = {"userId": person.id, "amount": "5.00", "destinationType": "bank", "destinationRef": "IBAN-1"}
    made: dict[str, Any] = await shop.done("POST", "/withdrawals", body, status=201)
    read = f"/withdrawals/{made['id']}"
    await eventually(lambda: shop.done("GET", read), lambda found: "airtmPayoutId" in found)
    return str(made["id"])


async def _topup(shop: Marketplace, person: Person) -> str:
    made: dict[str, Any] = await shop.done("POST", "/topups", {"userId": person.id, "amount": "25.00"}, status=201)
    return str(made["id"])


async def _key(shop: Marketplace) -> str:
    made = await shop.done("POST", "/auth/api-keys", {"name": unique("key"), "scopes": ["read"]}, status=201)
    return str(made["id"])
