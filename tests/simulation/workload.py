"""What people do: the stories of one seed, each a coroutine that ends when its money has come to rest."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

from simulation.client import Client
from simulation.outside import Outside

ORDER_MOVES: Final = ("release", "refund", "dispute", "race", "release", "cancel", "leave")
TOPUP_ENDS: Final = {"TOPUP_SUCCEEDED", "TOPUP_FAILED", "TOPUP_CANCELED"}
WITHDRAWAL_ENDS: Final = {"WITHDRAWAL_COMPLETED", "WITHDRAWAL_FAILED", "WITHDRAWAL_CANCELED"}


@dataclass(frozen=True, slots=True)
class Person:
    """A user and its wallet; on Airtm's rail, its account there."""

    id: str
    address: str
    email: str = ""


def amount(cents: int) -> str:
    """Two decimals."""
    return f"{cents // 100}.{cents % 100:02d}"


class Stories:
    """All of one marketplace."""

    def __init__(self, client: Client, outside: Outside, drawn: Any, *, airtm: bool) -> None:
        self._client = client
        self._outside = outside
        self._drawn = drawn
        self._airtm = airtm
        self._people = 0
        self.people: list[Person] = []
        self.wallet_outside = ""

    # -- people ----------------------------------------------------------------------------------------------

    async def person(self) -> Person:
        """A new user, whose wallet is set up or will be."""
        self._people += 1
        number = self._people
        told = await self._client.post("/users", {"externalUserId": f"{self._client.name}-{number}"})
        made = told.data
        self._client.keep("users", told)
        email = ""
        if self._airtm:
            tags = self._drawn.choice(("", "", "+fee"))
            email = f"user{number}{tags}@example.com"
            await self._client.post(f"/users/{made['id']}/airtm/link", {"email": email})
        return Person(made["id"], made["wallet"]["publicKey"], email)

    async def begin(self, count: int) -> None:
        """The first users, with money, before anything goes wrong."""
        self.wallet_outside = (await self._outside.control("account", {}))["public_key"]
        self.people = [await self.person() for _ in range(count)]

    async def deposit(self, person: Person) -> None:
        """Somebody sends USDC to a user's wallet; the chain takes odd amounts as well."""
        units = self._drawn.choice(("250.00", "1000.00", "37.1234567", "0.0000001", "4200.5"))
        await self._outside.control("mint", {"address": person.address, "amount": units})

    # -- orders ----------------------------------------------------------------------------------------------

    async def order(self) -> None:
        """An order, from its making to one of its ends, or left where it is."""
        drawn, client = self._drawn, self._client
        buyer, seller = drawn.sample(self.people, 2)
        cents = drawn.choice((1000, 2500, 9999, 12345, 50000))
        multi = drawn.random() < 0.3
        body: dict[str, Any] = {
            "buyer_id": buyer.id,
            "seller_id": seller.id,
            "amount": amount(cents),
            "title": "Work",
        }
        refs: list[str] = []
        if multi or drawn.random() < 0.3:
            first = cents * drawn.randrange(20, 60) // 100
            refs = ["m1", "m2"]
            parts = zip(refs, (first, cents - first), strict=True)
            body["milestones"] = [{"milestone_ref": ref, "title": ref, "amount": amount(part)} for ref, part in parts]
        if multi:
            body["escrow_type"] = "multi-release"
        told = await client.post("/orders", body)
        if not told.ok:
            return
        order = client.keep("orders", told)
        move = drawn.choice(ORDER_MOVES)
        if not await self._fund(order, stop_early=move == "cancel"):
            return
        if refs and multi and drawn.random() < 0.7:
            await self._pay_parts(order, refs)
        elif refs and move in ("release", "race"):
            for ref in refs:
                await client.post(f"/orders/{order}/milestones/{ref}/complete")
        await self._end(order, move, refs, cents)

    async def _fund(self, order: str, *, stop_early: bool) -> bool:
        """Reserve, deploy, fund; False when it ended on the way."""
        client, drawn = self._client, self._drawn
        one = f"/orders/{order}"
        stop = drawn.choice(("ORDER_CREATED", "FUNDS_RESERVED", "ESCROW_FUNDING")) if stop_early else ""
        while True:
            found = await client.until(one, lambda order: order["status"] != "ESCROW_CREATING")
            status, escrow = found["status"], (found.get("escrow") or {}).get("status")
            if status == "IN_PROGRESS":
                return True
            if status == "CLOSED":
                client.end("order", order, found["finalStatus"])
                return False
            if status == stop and escrow in (None, "CREATED"):
                await client.post(f"{one}/cancel", {"reason": "changed my mind"})
                stop = ""
            elif status == "ORDER_CREATED":
                told = await client.post(f"{one}/reserve")
                if told.code == "INSUFFICIENT_FUNDS":
                    await client.post(f"{one}/cancel")
            elif status == "FUNDS_RESERVED":
                await client.post(f"{one}/escrow")
            elif status == "ESCROW_FUNDING" and escrow == "CREATED":
                await client.post(f"{one}/escrow/fund")
            await asyncio.sleep(drawn.uniform(0.2, 2.0))

    async def _pay_parts(self, order: str, refs: list[str]) -> None:
        """Pay milestones one by one, some of them back."""
        for ref in refs[: self._drawn.randrange(1, len(refs) + 1)]:
            one = f"/orders/{order}/milestones/{ref}"
            if self._drawn.random() < 0.6:
                await self._client.post(f"{one}/complete")
                await self._client.post(f"{one}/release", {"reason": "done"})
            else:
                await self._client.post(f"{one}/refund", {"reason": "not needed"})

    async def _end(self, order: str, move: str, refs: list[str], cents: int) -> None:
        """Ask for an end until there is one."""
        client, drawn = self._client, self._drawn
        one = f"/orders/{order}"
        if move == "leave":
            return
        while True:
            found = await client.until(one, lambda order: not order["status"].endswith("_REQUESTED"))
            if found["status"] == "CLOSED":
                client.end("order", order, found["finalStatus"])
                return
            if found["status"] == "DISPUTED":
                await self._resolve(found, cents)
            elif move == "release":
                for ref in refs:
                    await client.post(f"{one}/milestones/{ref}/complete")
                await client.post(f"{one}/resolution/release", {"reason": "done"})
            elif move == "dispute":
                body = {"openedBy": drawn.choice(("BUYER", "SELLER")), "reason": "QUALITY_ISSUE"}
                await client.post(f"{one}/resolution/dispute", body)
            elif move == "race":
                await asyncio.gather(
                    client.post(f"{one}/resolution/release", {"reason": "done"}),
                    client.post(f"{one}/resolution/refund", {"reason": "not done"}),
                    client.post(f"{one}/resolution/dispute", {"openedBy": "BUYER", "reason": "OTHER"}),
                )
                move = "refund"
            else:
                await client.post(f"{one}/resolution/refund", {"reason": "no longer wanted"})
            await asyncio.sleep(drawn.uniform(0.2, 3.0))

    async def _resolve(self, order: dict[str, Any], cents: int) -> None:
        drawn, client = self._drawn, self._client
        dispute = order["dispute"]["id"]
        await client.post(f"/disputes/{dispute}/assign", {"assignedTo": "agent"})
        decision = drawn.choice(("FULL_RELEASE", "FULL_REFUND", "SPLIT"))
        body: dict[str, Any] = {"decision": decision, "note": "so be it"}
        if decision == "SPLIT":
            left = sum(
                round(float(one["amount"]) * 100)
                for one in order.get("milestones") or []
                if (one.get("payout") or {}).get("status") == "UNPAID"
            )
            whole = left or cents
            part = whole * drawn.randrange(10, 90) // 100
            body |= {"releaseAmount": amount(part), "refundAmount": amount(whole - part)}
        await client.post(f"/disputes/{dispute}/resolve", body)

    # -- money in and out ------------------------------------------------------------------------------------

    async def withdrawal(self) -> None:
        """Money to a wallet outside, or to Airtm."""
        drawn, client = self._drawn, self._client
        person = drawn.choice(self.people)
        cents = drawn.choice((500, 1000, 7777, 40000))
        body: dict[str, Any] = {"userId": person.id, "amount": amount(cents)}
        if self._airtm:
            body |= {"destinationType": drawn.choice(("airtm_balance", "bank")), "destinationRef": "mine"}
            body["commit"] = drawn.random() < 0.5
        else:
            body |= {"destinationType": "crypto", "destinationRef": self.wallet_outside}
        told = await client.post("/withdrawals", body)
        if not told.ok:
            return
        one = f"/withdrawals/{client.keep('withdrawals', told)}"
        while True:
            found = await client.until(
                one,
                lambda found: found["status"] in WITHDRAWAL_ENDS or found["status"] == "WITHDRAWAL_CREATED",
                refresh=self._airtm,
            )
            if found["status"] in WITHDRAWAL_ENDS:
                client.end("withdrawal", found["id"], found["status"])
                return
            await client.post(f"{one}/{drawn.choice(('commit', 'commit', 'cancel'))}")
            await asyncio.sleep(drawn.uniform(0.2, 2.0))

    async def topup(self) -> None:
        """Money in through Airtm: paid, declined, given up."""
        drawn, client = self._drawn, self._client
        person = drawn.choice(self.people)
        told = await client.post("/topups", {"userId": person.id, "amount": amount(drawn.choice((2500, 10050)))})
        if not told.ok:
            return
        one = f"/topups/{client.keep('topups', told)}"
        found = await client.until(one, lambda found: found["status"] != "TOPUP_CREATED", refresh=True)
        what = drawn.choice(("pay", "pay", "pay", "cancel"))
        if found["status"] == "TOPUP_AWAITING_USER_CONFIRMATION":
            if what == "pay":
                form = f"action=pay&email={quote_plus(person.email)}"
                await self._outside.browse(found["confirmationUri"], form)
            else:
                await client.post(f"{one}/cancel")
        found = await client.until(one, lambda found: found["status"] in TOPUP_ENDS, refresh=True)
        client.end("topup", found["id"], found["status"])

    async def arrival(self) -> None:
        """A deposit, or a new user on the way."""
        if self._drawn.random() < 0.2:
            await self.person()
        else:
            await self.deposit(self._drawn.choice(self.people))

    def draw(self, count: int) -> list[Callable[[], Awaitable[None]]]:
        """The stories of a seed."""
        kinds = [self.order, self.order, self.order, self.withdrawal, self.withdrawal]
        kinds += [self.topup, self.topup] if self._airtm else [self.arrival]
        return [self._drawn.choice(kinds) for _ in range(count)]
