"""Orders as the contract has them: each method is a request, says what must be answered and moves what must move."""

from collections.abc import Callable
from typing import Any, Final

from market_oracle import Dispute, Market, Milestone, Order
from market_words import Said, User, net, refused, wire

Shape = tuple[str, ...]
SHAPES: Final[dict[str, Shape]] = {
    "plain": (),
    "parts": ("a", "b"),
    "multi": ("a", "b"),
    "multi three": ("a", "b", "c"),
    "multi none": (),
    "wrong sum": ("a", "b"),
}


def parts_of(shape: str, amount: int) -> list[Milestone]:
    """The milestones of an order of this shape: a cent, and as much as is left."""
    refs = SHAPES[shape]
    cents = amount // 100_000
    if len(refs) > cents:
        refs = refs[:1]
    shares = [cents // len(refs)] * len(refs) if refs else []
    if shares:
        shares[-1] += cents - sum(shares)
    return [Milestone(ref, share * 100_000) for ref, share in zip(refs, shares, strict=True)]


class Orders:
    """The requests about orders of a market."""

    def __init__(self, market: Market) -> None:
        self.market = market

    def create(self, buyer: User, seller: User, amount: int, shape: str) -> tuple[Said, Order | None]:
        """POST /orders."""
        milestones = parts_of(shape, amount)
        multi = shape.startswith("multi")
        if multi and not milestones:
            return refused(400, "VALIDATION_ERROR"), None
        if shape == "wrong sum":
            return refused(400, "INVALID_AMOUNT", field="milestones"), None
        if buyer is seller:
            return refused(400, "INVALID_REQUEST", userId=buyer.id), None
        order = Order(len(self.market.orders), buyer, seller, amount, multi, milestones)
        self.market.orders.append(order)
        facts = {"buyerId": buyer.id, "sellerId": seller.id, "amount": wire(amount), "status": "ORDER_CREATED"}
        return Said(201, None, facts), order

    def reserve(self, order: Order) -> Said:
        """POST …/reserve."""
        if order.status == "FUNDS_RESERVED":
            return refused(409, "FUNDS_ALREADY_RESERVED", orderId=order.id)
        if order.status != "ORDER_CREATED":
            return order.wrong_state("ORDER_CREATED")
        buyer = order.buyer
        if buyer.available < order.amount:
            return buyer.short(order.amount)
        buyer.available -= order.amount
        buyer.held[order.hold] = order.amount
        order.status = "FUNDS_RESERVED"
        return Said(200, None, order.facts)

    def cancel(self, order: Order) -> Said:
        """POST …/cancel."""
        if order.status not in ("ORDER_CREATED", "FUNDS_RESERVED", "ESCROW_FUNDING"):
            return order.wrong_state()
        order.buyer.available += order.buyer.held.pop(order.hold, 0)
        order.status, order.final = "CLOSED", "CANCELED"
        return Said(200, None, order.facts)

    def escrow(self, order: Order) -> Said:
        """POST …/escrow."""
        if order.escrow is not None:
            return refused(409, "ESCROW_ALREADY_EXISTS", orderId=order.id)
        if order.status != "FUNDS_RESERVED":
            return order.wrong_state("FUNDS_RESERVED")
        order.status, order.escrow = "ESCROW_FUNDING", "CREATED"
        return Said(200, None, order.facts)

    def fund(self, order: Order) -> Said:
        """POST …/escrow/fund: a manual credit alone backs no escrow."""
        if order.status != "ESCROW_FUNDING":
            return order.wrong_state("ESCROW_FUNDING")
        buyer = order.buyer
        if self.market.rail == "crypto":
            if buyer.chain < order.amount:
                short = {"requested": wire(order.amount), "available": wire(buyer.chain), "address": buyer.address}
                return refused(422, "INSUFFICIENT_FUNDS", **short)
            buyer.chain -= order.amount
        del buyer.held[order.hold]
        order.status, order.escrow = "IN_PROGRESS", "FUNDED"
        return Said(200, None, order.facts)

    def complete(self, order: Order, ref: str) -> Said:
        """POST …/milestones/{ref}/complete."""
        milestone = next((one for one in order.milestones if one.ref == ref), None)
        if milestone is None:
            return refused(404, "MILESTONE_NOT_FOUND", orderId=order.id, milestoneRef=ref)
        if order.status != "IN_PROGRESS":
            return order.wrong_state("IN_PROGRESS")
        if milestone.paid != "UNPAID" or milestone.status != "OPEN":
            return refused(409, "INVALID_STATE", milestoneRef=ref)
        milestone.status = "COMPLETED"
        return Said(200, None, {"ref": ref, "status": "COMPLETED", "amount": wire(milestone.amount)})

    def release(self, order: Order) -> Said:
        """POST …/resolution/release."""
        if order.status != "IN_PROGRESS":
            return order.wrong_state("IN_PROGRESS")
        if any(one.status == "OPEN" and (one.paid == "UNPAID" or not order.multi) for one in order.milestones):
            return refused(409, "INVALID_STATE", orderId=order.id, currentState="IN_PROGRESS")
        self._end(order, order.unpaid, "RELEASED")
        return Said(200, None, order.facts)

    def refund(self, order: Order) -> Said:
        """POST …/resolution/refund."""
        if order.status != "IN_PROGRESS":
            return order.wrong_state("IN_PROGRESS")
        self._end(order, 0, "RELEASED" if order.seller_was_paid else "REFUNDED")
        return Said(200, None, order.facts)

    def release_milestone(self, order: Order, ref: str) -> Said:
        """POST …/milestones/{ref}/release."""
        return self._milestone(order, ref, "RELEASED")

    def refund_milestone(self, order: Order, ref: str) -> Said:
        """POST …/milestones/{ref}/refund."""
        return self._milestone(order, ref, "REFUNDED")

    def _milestone(self, order: Order, ref: str, how: str) -> Said:
        milestone = next((one for one in order.milestones if one.ref == ref), None)
        if milestone is None:
            return refused(404, "MILESTONE_NOT_FOUND", orderId=order.id, milestoneRef=ref)
        if order.status != "IN_PROGRESS":
            return order.wrong_state("IN_PROGRESS")
        open_one = how == "RELEASED" and milestone.status != "COMPLETED"
        if not order.multi or milestone.paid != "UNPAID" or open_one:
            return refused(409, "INVALID_STATE", milestoneRef=ref)
        self._pay(order, milestone, milestone.amount if how == "RELEASED" else 0)
        if all(one.paid != "UNPAID" for one in order.milestones):
            self._close(order, "RELEASED" if order.seller_was_paid else "REFUNDED")
        return Said(200, None, order.facts)

    def dispute(self, order: Order) -> Said:
        """POST …/resolution/dispute."""
        if order.dispute is not None:
            found = {"orderId": order.id, "disputeId": order.dispute.id, "status": order.dispute.status}
            return refused(409, "DISPUTE_ALREADY_OPEN", **found)
        if order.status != "IN_PROGRESS":
            return order.wrong_state("IN_PROGRESS")
        order.dispute = Dispute()
        order.status, order.escrow = "DISPUTED", "DISPUTED"
        return Said(201, None, {"status": "OPEN", "order": order.facts})

    def assign(self, order: Order) -> Said:
        """POST /disputes/{id}/assign."""
        assert order.dispute is not None
        if order.dispute.status != "OPEN":
            return refused(409, "INVALID_STATE", currentState=order.dispute.status, allowedStates=["OPEN"])
        order.dispute.status = "UNDER_REVIEW"
        return Said(200, None, {"status": "UNDER_REVIEW", "order": order.facts})

    def resolve(self, order: Order, decision: str, seller: int, buyer: int) -> Said:
        """POST /disputes/{id}/resolve; `seller` and `buyer` are the parts of a SPLIT."""
        dispute = order.dispute
        assert dispute is not None
        if dispute.status != "UNDER_REVIEW":
            return refused(409, "INVALID_STATE", currentState=dispute.status, allowedStates=["UNDER_REVIEW"])
        whole = order.unpaid
        if decision == "SPLIT" and seller + buyer != whole:
            return refused(422, "INVALID_AMOUNT", orderAmount=wire(whole))
        share = {"FULL_RELEASE": whole, "FULL_REFUND": 0, "SPLIT": seller}[decision]
        dispute.status, dispute.decision = "RESOLVED", decision
        refunds = decision == "FULL_REFUND" and not order.seller_was_paid
        self._end(order, share, "REFUNDED" if refunds else "RELEASED")
        return Said(200, None, {"status": "RESOLVED", "resolutionDecision": decision, "order": order.facts})

    def _end(self, order: Order, seller: int, final: str) -> None:
        """The contract pays everything out, `seller` of it to the seller, before fees."""
        if order.multi:
            # Completed ones first: whole milestones go to one side, and one at most is shared.
            left = seller
            for one in sorted(order.milestones, key=lambda one: one.status != "COMPLETED"):
                if one.paid == "UNPAID":
                    part = min(left, one.amount)
                    left -= part
                    self._pay(order, one, part)
        else:
            self._credit(order, seller, order.amount - seller)
        self._close(order, final)

    def _close(self, order: Order, final: str) -> None:
        order.status, order.final, order.escrow = "CLOSED", final, final

    def _pay(self, order: Order, milestone: Milestone, seller: int) -> None:
        buyer = milestone.amount - seller
        milestone.paid = "SPLIT" if seller and buyer else "RELEASED" if seller else "REFUNDED"
        self._credit(order, seller, buyer)

    def _credit(self, order: Order, seller: int, buyer: int) -> None:
        order.seller_was_paid = order.seller_was_paid or seller > 0
        for user, gross in ((order.seller, seller), (order.buyer, buyer)):
            user.available += net(gross)
            if self.market.rail == "crypto":
                user.chain += net(gross)

    # -- time ----------------------------------------------------------------------------------------------------

    def days_pass(self, days: float) -> None:
        """What the marketplace's policies let happen by themselves: see `POLICIES`."""
        due: list[tuple[float, Callable[[], Any]]] = []
        for order in self.market.orders:
            if order.status in ("ORDER_CREATED", "FUNDS_RESERVED", "ESCROW_FUNDING"):
                due.append((1, lambda order=order: self.cancel(order)))
            if order.dispute is not None and order.dispute.status != "RESOLVED":
                due.append((10, lambda order=order: self._deadline(order)))
            waits = any(one.status == "OPEN" for one in order.milestones)
            if order.status == "IN_PROGRESS" and order.dispute is None and not waits:
                due.append((14, lambda order=order: self.release(order)))
        waiting = [one for one in self.market.topups if one.status == "TOPUP_AWAITING_USER_CONFIRMATION"]
        due += [(2, topup.cancel) for topup in waiting]
        for after, happen in due:
            if days > after:
                happen()

    def _deadline(self, order: Order) -> None:
        assert order.dispute is not None
        if order.dispute.status == "OPEN":
            self.assign(order)
        self.resolve(order, "FULL_REFUND", 0, 0)


POLICIES: Final = {
    "autoCancelUnfundedAfterHours": 24,
    "topupExpiryHours": 48,
    "disputeDeadlineDays": 10,
    "onDisputeDeadline": "REFUND",
    "autoReleaseAfterDays": 14,
}
