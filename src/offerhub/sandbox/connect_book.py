"""The books of Connect: wallets, quotes and transactions, and how they follow from what the ledger holds.

Explicit rules where Airtm publishes none. A receive is completed by one payment of exactly the amount expected, with
the memo as text, in a ledger that closes before it expires; any other payment is a stray, and credits nobody. A send
takes the money out of the wallet when it is made and puts it back when it fails.
"""

from collections.abc import Callable
from typing import Any, Final

from offerhub.sandbox.airtm_model import Person
from offerhub.sandbox.connect_bodies import TransactionBody, transfer_json
from offerhub.sandbox.connect_custody import Arrival, Custody
from offerhub.sandbox.connect_model import (
    RESEND_SECONDS,
    ConnectRefused,
    Gift,
    KycStatus,
    Quote,
    Status,
    Stray,
    StrayReason,
    Transfer,
    Wallet,
)
from offerhub.sandbox.connect_store import ConnectStore
from offerhub.sandbox.schedule import Schedule
from offerhub.sandbox.state import ConservationError

_EVENTS: Final = {
    "created": "oidc.transaction.created",
    "pending_user_confirmation": "oidc.transaction.created",
    "pending_settlement": "oidc.transaction.pendingSettlement",
    "completed": "oidc.transaction.completed",
    "failed": "oidc.transaction.failed",
}


class ConnectBook:
    """Wallets and transactions. `start` must be called once somebody listens to `announce`."""

    def __init__(self, store: ConnectStore, custody: Custody, schedule: Schedule) -> None:
        self._store = store
        self._custody = custody
        self._schedule = schedule
        self._epoch = 0
        self._strays: list[Stray] = []
        self._hidden: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self.announce: Callable[[str, dict[str, Any]], float] = lambda event, body: 0
        """Told each event with the body; answers for how many seconds it is not to be readable yet."""

    def start(self) -> None:
        """Go on from what is remembered, and from what the ledger holds."""
        self.ledger_closed()
        for transfer in self._store.all(Transfer):
            self._watch(transfer)

    # -- wallets -------------------------------------------------------------------------------------------------

    def balance(self, email: str) -> int:
        """What a user can dispose of, in units."""
        email = email.lower()
        gifts = sum(one.amount for one in self._gifts() if one.email == email)
        own = [one for one in self.transfers(email) if one.epoch == self._epoch]
        came = sum(one.amount_to_receive for one in own if not one.is_send and one.status == "completed")
        gone = sum(one.amount_to_send for one in own if one.is_send and one.status != "failed")
        if gone > gifts + came:
            raise ConservationError(f"the wallet of {email} at Airtm is {gone - gifts - came} units short")
        return gifts + came - gone

    async def give(self, email: str, amount: int) -> None:
        """Give USDC to a user; a ledger brings it. Raises HouseRefused."""
        memo = self._store.new_secret(Gift, "gift")[:28]
        self._store.keep(Gift(memo, email.lower(), amount, self._custody.epoch))
        await self._custody.give(amount, memo)

    def wallet(self, email: str) -> Wallet:
        """What is known of a user."""
        found = self._store.find(Wallet, email.lower())
        if found is not None:
            return found
        is_verified = "unverified" not in Person(email).tags
        return Wallet(email.lower(), "verified" if is_verified else "unverified", 0)

    def set_kyc(self, email: str, status: KycStatus) -> Wallet:
        """Let Airtm's check of a user have this result."""
        return self._store.keep(Wallet(email.lower(), status, self._custody.now()))

    def wallets(self) -> list[str]:
        """The addresses of everybody who has or had money or a check of their own."""
        known = [one.email for one in self._store.all(Gift)] + [one.email for one in self._store.all(Transfer)]
        return sorted({*known, *(one.id for one in self._store.all(Wallet))})

    def strays(self) -> list[Stray]:
        """Every payment that credited nobody, oldest first."""
        return list(self._strays)

    # -- transactions --------------------------------------------------------------------------------------------

    def transfers(self, email: str | None = None) -> list[Transfer]:
        """The transactions of a user, or of all, oldest first."""
        found = self._store.all(Transfer)
        return [self._advanced(one) for one in found if email is None or one.email == email.lower()]

    def transfer(self, transfer_id: str, email: str | None = None) -> Transfer:
        """The transaction with this id, if it is this user's. Raises ConnectRefused."""
        found = self._store.find(Transfer, transfer_id)
        if found is None or email not in (None, found.email):
            raise ConnectRefused(404, "Transaction not found", code="415902")
        return self._advanced(found)

    def shown(self, transfer: Transfer) -> dict[str, Any] | None:
        """As the API shows it now: what it was before while a change is not readable yet."""
        until, before = self._hidden.get(transfer.id, (0, None))
        if self._schedule.clock.now() < until:
            return before
        self._hidden.pop(transfer.id, None)
        return transfer_json(transfer)

    def create(self, quote: Quote, body: TransactionBody, key: str | None, digest: str) -> Transfer:
        """A new transaction of a quote that is good. Raises ConnectRefused."""
        reference = body.partnerReference
        if reference is not None and any(one.partner_reference == reference for one in self._store.all(Transfer)):
            raise ConnectRefused(409, "partnerReference was used before")
        is_send = body.destination is not None
        if is_send and quote.amount_to_send > self.balance(quote.email):
            raise ConnectRefused(400, "The user does not have enough balance", code="415034")
        now, transfer_id = self._custody.now(), self._store.new_id(Transfer)
        transfer = Transfer(
            transfer_id,
            quote.email,
            quote.scope,
            quote.id,
            reference,
            quote.amount_to_send,
            quote.amount_to_receive,
            quote.fee,
            quote.partner_fee,
            body.destination.stellarAddress if body.destination else self._custody.address,
            body.destination.memo if body.destination else self._store.new_secret(Transfer, "airtm")[:28],
            "pending_user_confirmation" if is_send else "created",
            now,
            now,
            self._epoch,
            key,
            digest,
        )
        if is_send:
            self._send_code(transfer, now)
        return self._tell(transfer, None)

    def confirm(self, transfer: Transfer, code: str) -> Transfer:
        """The user's code for a send: the money goes. Raises ConnectRefused."""
        self._wants_code(transfer)
        if code != transfer.two_factor:
            raise ConnectRefused(400, "The code is wrong", code="415123")
        if "declined" in Person(transfer.email).tags:
            return self._move(transfer, "failed", "The transaction was declined")
        self._move(transfer, "pending_settlement")
        return self._settle(transfer)

    def resend(self, transfer: Transfer) -> Transfer:
        """Send another code, in place of the one before. Raises ConnectRefused."""
        self._wants_code(transfer)
        now = self._custody.now()
        if now < transfer.code_sent_at + RESEND_SECONDS:
            raise ConnectRefused(429, f"A code can be asked for every {RESEND_SECONDS} seconds")
        self._send_code(transfer, now)
        return self._store.keep(transfer)

    def fail(self, transfer: Transfer) -> Transfer:
        """Let a transaction fail of which no money is under way. Raises ConnectRefused."""
        if not transfer.is_open or transfer.envelope is not None:
            raise ConnectRefused(409, f"a transaction that is {transfer.status} can not fail any more")
        return self._move(transfer, "failed", "The transaction was declined")

    def _wants_code(self, transfer: Transfer) -> None:
        if transfer.status != "pending_user_confirmation":
            raise ConnectRefused(409, "The transaction does not wait for a code", code="415122")

    def _send_code(self, transfer: Transfer, now: int) -> None:
        transfer.codes_sent += 1
        transfer.code_sent_at = now
        transfer.two_factor = self._store.digits(f"2fa:{transfer.id}:{transfer.codes_sent}")

    # -- what follows from the clock and the ledger --------------------------------------------------------------

    def ledger_closed(self) -> None:
        """See what a ledger has brought. Raises ConservationError when the account holds anything else."""
        if self._epoch != self._custody.epoch:
            self._begin_anew()
        self._custody.open()
        for arrival in self._custody.arrivals():
            self._arrived(arrival)
        for transfer in self._store.all(Transfer):
            if transfer.status == "pending_settlement":
                self._settle(transfer)
        self._check_books()

    def _begin_anew(self) -> None:
        """The network was reset, and Airtm's account with it: wallets are empty, and what was open has failed."""
        self._epoch = self._custody.epoch
        self._custody.rewind()
        self._strays.clear()
        for transfer in self._store.all(Transfer):
            if transfer.is_open and transfer.epoch != self._epoch:
                self._move(transfer, "failed", "The network was reset")

    def _arrived(self, arrival: Arrival) -> None:
        gift = self._store.find(Gift, arrival.memo or "")
        if gift is not None and (gift.epoch, gift.amount) == (self._epoch, arrival.amount):
            if gift.operation is None:
                gift.operation = arrival.operation
                self._store.keep(gift)
            if gift.operation == arrival.operation:
                return
        receives = (one for one in self._store.all(Transfer) if not one.is_send and one.epoch == self._epoch)
        transfer = next((one for one in receives if one.memo == arrival.memo), None)
        if transfer is not None and transfer.operation == arrival.operation:
            return
        if reason := _reason(transfer, arrival):
            self._strays.append(
                Stray(arrival.operation, arrival.hash, arrival.sender, arrival.amount, arrival.memo, reason)
            )
        elif transfer is not None:
            transfer.operation, transfer.hash = arrival.operation, arrival.hash
            self._move(transfer, "completed")

    def _settle(self, transfer: Transfer) -> Transfer:
        """Bring a confirmed send to the ledger: always the same payment, until no ledger can take it any more."""
        if transfer.envelope is not None:
            fate = self._custody.offer(transfer.envelope)
            if fate.state == "waiting":
                return transfer
            if fate.state == "paid":
                return self._move(transfer, "completed")
            if fate.state == "failed":
                return self._move(transfer, "failed", f"The payment failed on Stellar: {fate.words}")
        transfer.envelope = self._custody.prepare(transfer.address, transfer.amount_to_receive, transfer.memo)
        if transfer.envelope is not None:
            transfer.hash = self._custody.hash_of(transfer.envelope)
            self._store.keep(transfer)
            self._custody.offer(transfer.envelope)
        return transfer

    def _advanced(self, transfer: Transfer) -> Transfer:
        if not transfer.waits or self._custody.now() < transfer.expires_at:
            return transfer
        words = "The user did not confirm in time" if transfer.is_send else "The payment did not come in time"
        return self._move(transfer, "failed", words)

    def _watch(self, transfer: Transfer) -> None:
        """Look again when it fails unless somebody does something."""
        if not transfer.waits:
            return

        def due() -> None:
            self._advanced(transfer)

        self._schedule.at(transfer.expires_at, due)

    def _move(self, transfer: Transfer, status: Status, reason: str | None = None) -> Transfer:
        before = self.shown(transfer)
        transfer.status, transfer.failure_reason = status, reason
        transfer.updated_at = self._custody.now()
        return self._tell(transfer, before)

    def _tell(self, transfer: Transfer, before: dict[str, Any] | None) -> Transfer:
        """Keep a change, announce it, and see to what will follow from it."""
        self._store.keep(transfer)
        self._watch(transfer)
        hidden_seconds = self.announce(_EVENTS[transfer.status], transfer_json(transfer))
        if hidden_seconds:
            self._hidden[transfer.id] = (self._schedule.clock.now() + hidden_seconds, before)
        return transfer

    def _gifts(self) -> list[Gift]:
        found = self._store.all(Gift)
        return [one for one in found if one.operation is not None and one.epoch == self._epoch]

    def _check_books(self) -> None:
        own = [one for one in self._store.all(Transfer) if one.epoch == self._epoch and one.status == "completed"]
        came = sum(one.amount for one in self._gifts()) + sum(one.amount for one in self._strays)
        came += sum(one.amount_to_send for one in own if not one.is_send)
        gone = sum(one.amount_to_receive for one in own if one.is_send)
        if came - gone != self._custody.balance:
            raise ConservationError(f"Airtm holds {self._custody.balance} units for Connect, not {came - gone}")


def _reason(transfer: Transfer | None, arrival: Arrival) -> StrayReason | None:
    """Why a payment credits nobody; None when it completes the receive."""
    if transfer is None:
        return "unknown_memo"
    if arrival.closed_at >= transfer.expires_at:
        return "expired"
    if arrival.amount != transfer.amount_to_send:
        return "wrong_amount"
    if transfer.status == "completed":
        return "already_paid"
    return "failed" if transfer.status == "failed" else None
