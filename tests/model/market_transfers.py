"""Top-ups and withdrawals of the model. Their `truth` is what Airtm knows, which we learn when we look."""

from dataclasses import dataclass
from typing import Any, Final

from market_words import Said, User, refused, wire

TOPUP_ENDS: Final = {"TOPUP_SUCCEEDED", "TOPUP_FAILED", "TOPUP_CANCELED"}
WITHDRAWAL_ENDS: Final = {"WITHDRAWAL_COMPLETED", "WITHDRAWAL_FAILED", "WITHDRAWAL_CANCELED"}
OF_PAYIN: Final = {
    "CREATED": "TOPUP_AWAITING_USER_CONFIRMATION",
    "PROCESSING": "TOPUP_PROCESSING",
    "CONFIRMED": "TOPUP_SUCCEEDED",
    "FAILED": "TOPUP_FAILED",
    "CANCELED": "TOPUP_CANCELED",
}
OF_PAYOUT: Final = {
    "COMMITTED": "WITHDRAWAL_PENDING",
    "PROCESSING": "WITHDRAWAL_PENDING",
    "PENDING_USER_ACTION": "WITHDRAWAL_PENDING_USER_ACTION",
    "COMPLETED": "WITHDRAWAL_COMPLETED",
    "FAILED": "WITHDRAWAL_FAILED",
    "CANCELED": "WITHDRAWAL_CANCELED",
}

_PAYIN_MOVES: Final = {
    "process": ("PROCESSING", {"CREATED"}),
    "confirm": ("CONFIRMED", {"CREATED", "PROCESSING"}),
    "fail": ("FAILED", {"CREATED", "PROCESSING"}),
    "cancel": ("CANCELED", {"CREATED", "PROCESSING"}),
}
_PAYOUT_MOVES: Final = {
    "process": "PROCESSING",
    "wait": "PENDING_USER_ACTION",
    "complete": "COMPLETED",
    "fail": "FAILED",
    "cancel": "CANCELED",
}


@dataclass
class TopUp:
    """A payin; `truth` and `fee` are what Airtm knows of it."""

    user: User
    amount: int
    id: str = ""
    payin: str = ""
    status: str = "TOPUP_AWAITING_USER_CONFIRMATION"
    truth: str = "CREATED"
    fee: int = 0

    @property
    def facts(self) -> dict[str, Any]:
        """As the wire shows it."""
        shown = {"id": self.id, "userId": self.user.id, "amount": wire(self.amount), "status": self.status}
        arrived = {"netAmount": wire(self.amount - self.fee), "fee": wire(self.fee)}
        return shown | (arrived if self.status == "TOPUP_SUCCEEDED" else {})

    def learn(self) -> None:
        """Somebody looks at Airtm: forward only, and what arrived is credited once."""
        if self.status in TOPUP_ENDS or self.status == OF_PAYIN[self.truth]:
            return
        self.status = OF_PAYIN[self.truth]
        if self.status == "TOPUP_SUCCEEDED":
            self.user.available += self.amount - self.fee

    def airtm_does(self, action: str, fee: int) -> bool:
        """What Airtm does to the payin; False where it cannot."""
        target, sources = _PAYIN_MOVES[action]
        if self.truth not in sources:
            return False
        self.truth, self.fee = target, fee
        return True

    def cancel(self) -> Said:
        """Cancelled at Airtm while nobody has paid; otherwise what has become of it is taken over."""
        asked = self.status
        if asked == "TOPUP_AWAITING_USER_CONFIRMATION":
            if self.truth == "CREATED":
                self.truth = "CANCELED"
            self.learn()
            if self.status == "TOPUP_CANCELED":
                return Said(200, None, self.facts)
        return refused(409, "INVALID_STATE", currentStatus=self.status)


@dataclass
class Withdrawal:
    """Money on its way out; `truth` is what Airtm knows of its payout, `reversed` what came back in the end."""

    user: User
    amount: int
    by: str
    id: str = ""
    payout: str = ""
    status: str = "WITHDRAWAL_CREATED"
    truth: str = "CREATED"
    refunded: bool = False
    reversed: bool = False

    @property
    def facts(self) -> dict[str, Any]:
        """As the wire shows it."""
        shown = {"id": self.id, "userId": self.user.id, "amount": wire(self.amount), "status": self.status}
        return shown | ({"reversal": {"amount": wire(self.amount)}} if self.reversed else {})

    def learn(self) -> None:
        """Somebody looks at Airtm: what it has ended, ends here."""
        if self.status in WITHDRAWAL_ENDS or self.truth not in OF_PAYOUT:
            return
        self.status = OF_PAYOUT[self.truth]
        if self.status in WITHDRAWAL_ENDS:
            self.user.withdrawing -= self.amount
            if self.status != "WITHDRAWAL_COMPLETED":
                self.user.available += self.amount

    def airtm_does(self, action: str) -> bool:
        """What Airtm does to the payout; False where it cannot."""
        if action == "refund":
            possible = self.status == "WITHDRAWAL_COMPLETED" and not self.refunded
            self.refunded = self.refunded or possible
            return possible
        if self.truth not in ("COMMITTED", "PROCESSING", "PENDING_USER_ACTION"):
            return False
        self.truth = _PAYOUT_MOVES[action]
        return True

    def learn_of_refund(self) -> None:
        """What Airtm gave back of a completed payout is credited, once."""
        if self.refunded and not self.reversed and self.status == "WITHDRAWAL_COMPLETED":
            self.reversed = True
            self.user.available += self.amount

    def commit(self) -> Said:
        """Let it go, unless Airtm has ended it."""
        if self.status != "WITHDRAWAL_CREATED":
            return refused(409, "WITHDRAWAL_NOT_COMMITTABLE", currentStatus=self.status)
        if self.truth == "CREATED":
            self.truth = "COMMITTED"
        self.learn()
        return Said(200, None, self.facts)

    def cancel(self) -> Said:
        """Take it back before it was committed."""
        if self.status != "WITHDRAWAL_CREATED":
            return refused(409, "INVALID_STATE", currentStatus=self.status, allowedStates=["WITHDRAWAL_CREATED"])
        self.truth = "CANCELED"
        self.learn()
        return Said(200, None, self.facts)

    def refresh(self) -> Said:
        """Look at Airtm."""
        self.learn()
        return Said(200, None, self.facts)
