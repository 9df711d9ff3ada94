"""What the product must answer, said once more in plain Python from its contract. No line of the product runs here.

Amounts are integers of 10^-7. A method is a request: it says what must be answered, and moves what must move. Orders
are in `market_orders`, what Airtm has a word in is in `market_transfers`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from market_transfers import TopUp, Withdrawal
from market_words import Said, User, refused, wire

Rail = Literal["crypto", "airtm"]


@dataclass
class Milestone:
    """A part of an order; `paid` tells how, in an order that pays milestone by milestone."""

    ref: str
    amount: int
    status: str = "OPEN"
    paid: str = "UNPAID"


@dataclass
class Dispute:
    """What is disputed about an order, and how it was decided."""

    id: str = ""
    status: str = "OPEN"
    decision: str | None = None


@dataclass
class Order:
    """An order. `escrow` is the state of its escrow, if it has one."""

    number: int
    buyer: User
    seller: User
    amount: int
    multi: bool
    milestones: list[Milestone]
    id: str = ""
    status: str = "ORDER_CREATED"
    final: str | None = None
    escrow: str | None = None
    dispute: Dispute | None = None
    seller_was_paid: bool = False

    @property
    def hold(self) -> str:
        """The reference of what its buyer has set aside."""
        return f"order {self.number}"

    @property
    def unpaid(self) -> int:
        """What its contract holds."""
        if self.multi:
            return sum(one.amount for one in self.milestones if one.paid == "UNPAID")
        return self.amount

    @property
    def facts(self) -> dict[str, Any]:
        """As the wire shows it."""
        dispute = self.dispute
        return {
            "id": self.id,
            "status": self.status,
            "finalStatus": self.final,
            "amount": wire(self.amount),
            "escrow": None if self.escrow is None else {"status": self.escrow, "amount": wire(self.amount)},
            "dispute": None
            if dispute is None
            else {"status": dispute.status, "resolutionDecision": dispute.decision},
            "milestones": [
                {"ref": one.ref, "amount": wire(one.amount), "status": one.status}
                | ({"payout": {"status": one.paid}} if self.multi and self.escrow else {"payout": None})
                for one in self.milestones
            ],
        }

    def wrong_state(self, *allowed: str) -> Said:
        """The refusal of a move from where it is."""
        facts: dict[str, Any] = {"orderId": self.id, "currentState": self.status}
        return refused(409, "INVALID_STATE", **facts | ({"allowedStates": list(allowed)} if allowed else {}))


@dataclass
class Market:
    """One marketplace."""

    rail: Rail
    users: list[User] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    topups: list[TopUp] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)

    # -- balances by hand ----------------------------------------------------------------------------------------

    def _operation(self, user: User, name: str, amount: int, change: Callable[[], None]) -> Said:
        before = {part: user.balance[part] for part in ("available", "reserved")}
        change()
        after = {part: user.balance[part] for part in ("available", "reserved")}
        told = {"operation": name, "amount": wire(amount), "previousBalance": before, "newBalance": after}
        return Said(200, None, {**told, **user.balance})

    def credit(self, user: User, amount: int) -> Said:
        """POST /balance/credit."""

        def change() -> None:
            user.available += amount

        return self._operation(user, "CREDIT_AVAILABLE", amount, change)

    def debit(self, user: User, amount: int) -> Said:
        """POST /balance/debit."""

        def change() -> None:
            user.available -= amount

        return (
            user.short(amount)
            if user.available < amount
            else self._operation(user, "DEBIT_AVAILABLE", amount, change)
        )

    def hold(self, user: User, reference: str, amount: int) -> Said:
        """POST /balance/reserve."""

        def change() -> None:
            user.available -= amount
            user.held[reference] = user.held.get(reference, 0) + amount

        return user.short(amount) if user.available < amount else self._operation(user, "RESERVE", amount, change)

    def _take(self, user: User, reference: str, amount: int) -> Said | None:
        held = user.held.get(reference, 0)
        if held < amount:
            facts = {"requested": wire(amount), "reserved": wire(held), "currency": "USD"}
            return refused(422, "RESERVE_NOT_FOUND", **facts)
        return None

    def give_back(self, user: User, reference: str, amount: int) -> Said:
        """POST /balance/cancel-reservation."""

        def change() -> None:
            user.held[reference] -= amount
            user.available += amount

        return self._take(user, reference, amount) or self._operation(user, "CANCEL_RESERVATION", amount, change)

    def deduct(self, user: User, reference: str, amount: int) -> Said:
        """POST /balance/deduct-reserved."""

        def change() -> None:
            user.held[reference] -= amount

        return self._take(user, reference, amount) or self._operation(user, "DEDUCT_RESERVED", amount, change)

    def pay(self, user: User, reference: str, amount: int, payee: User) -> Said:
        """POST /balance/release; it answers the payee's balance."""

        def change() -> None:
            user.held[reference] -= amount
            payee.available += amount

        if payee is user:
            return refused(400, "INVALID_REQUEST", userId=user.id)
        return self._take(user, reference, amount) or self._operation(payee, "RELEASE", amount, change)

    # -- in and out ----------------------------------------------------------------------------------------------

    def deposit(self, user: User, amount: int) -> None:
        """USDC arrives at the user's address."""
        user.available += amount
        user.chain += amount

    def top_up(self, user: User, amount: int) -> tuple[Said, TopUp | None]:
        """POST /topups."""
        if self.rail == "crypto":
            return refused(422, "PROVIDER_NOT_ENABLED", provider="airtm"), None
        if not user.linked:
            return refused(422, "AIRTM_USER_NOT_LINKED"), None
        made = TopUp(user, amount)
        self.topups.append(made)
        return Said(201, None, {"status": made.status, "amount": wire(amount), "userId": user.id}), made

    def withdraw(
        self, user: User, amount: int, to: Literal["trusting", "untrusting", "nonsense"]
    ) -> tuple[Said, Withdrawal | None]:
        """POST /withdrawals to a Stellar address."""
        if to == "nonsense":
            return refused(422, "WITHDRAWAL_DESTINATION_INVALID"), None
        if user.available < amount:
            return user.short(amount), None
        made = Withdrawal(user, amount, "crypto")
        self.withdrawals.append(made)
        made.status = "WITHDRAWAL_FAILED"
        if to == "untrusting":
            return refused(422, "WITHDRAWAL_DESTINATION_INVALID"), made
        if self.rail == "crypto":
            if user.chain < amount:
                short = {"requested": wire(amount), "available": wire(user.chain), "address": user.address}
                return refused(422, "INSUFFICIENT_FUNDS", **short), made
            user.chain -= amount
        user.available -= amount
        made.status = "WITHDRAWAL_COMPLETED"
        return Said(201, None, {"status": made.status, "amount": wire(amount), "userId": user.id}), made

    def pay_out(self, user: User, amount: int, *, commit: bool) -> tuple[Said, Withdrawal | None]:
        """POST /withdrawals through Airtm."""
        if self.rail == "crypto":
            return refused(422, "PROVIDER_NOT_ENABLED", destinationType="airtm_balance"), None
        if user.available < amount:
            return user.short(amount), None
        if not user.linked:
            return refused(422, "AIRTM_USER_NOT_LINKED"), None
        made = Withdrawal(user, amount, "airtm")
        self.withdrawals.append(made)
        user.available -= amount
        user.withdrawing += amount
        if commit:
            made.truth = "COMMITTED"
            made.learn()
        return Said(201, None, {"status": made.status, "committed": commit, "amount": wire(amount)}), made

    def holds(self) -> list[tuple[User, str]]:
        """What is set aside by hand: whose it is, and under which reference."""
        references = ("job", "other")
        return [(user, ref) for user in self.users for ref in references if user.held.get(ref, 0)]

    # -- what is there -------------------------------------------------------------------------------------------

    def things(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every resource's path, and what reading it must show."""
        for user in self.users:
            yield f"/users/{user.id}/balance", user.balance
        for order in self.orders:
            yield f"/orders/{order.id}", order.facts
        for topup in self.topups:
            yield f"/topups/{topup.id}", topup.facts
        for withdrawal in self.withdrawals:
            yield f"/withdrawals/{withdrawal.id}", withdrawal.facts
